import { expectTypeOf, test } from 'vitest'
import { load, type EventStore, type LoadedStreams, type Revision } from 'mneme'
import { BankAccount } from '../programs/bank.ts'
import { Account } from '../programs/classes.ts'

declare const store: EventStore

test('load gives the state of a stream, or the states of several in their shape', async () => {
  const { state, revision } = await load(store, BankAccount('a'))
  expectTypeOf(state).toEqualTypeOf<Readonly<{ balance: number; open: boolean }>>()
  expectTypeOf(revision).toEqualTypeOf<Revision>()
  expectTypeOf((await load(store, Account('a'))).state.clone).toBeFunction()
  const several = await load(store, { from: BankAccount('a'), all: [BankAccount('b')] })
  expectTypeOf(several.state.from.balance).toEqualTypeOf<number>()
  expectTypeOf(several.state.all[0]!.open).toEqualTypeOf<boolean>()
  expectTypeOf(several.revisions).toEqualTypeOf<ReadonlyMap<string, Revision>>()
  expectTypeOf(several).toExtend<LoadedStreams<unknown>>()
  // @ts-expect-error -- a name has no state
  void load(store, 'BankAccount-a')
  // @ts-expect-error -- an aggregate without an id is no stream
  void load(store, BankAccount)
  // @ts-expect-error -- unknown option
  void load(store, BankAccount('a'), { timeout: 1 })
})
