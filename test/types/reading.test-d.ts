import { expectTypeOf, test } from 'vitest'
import {
  load,
  type AnyStream,
  type EventPage,
  type EventsOf,
  type EventStore,
  type LoadedStreams,
  type Position,
  type Recorded,
  type Revision,
} from 'mneme'
import { BankAccount } from '../programs/bank.ts'
import { Account, type AccountState } from '../programs/classes.ts'

declare const store: EventStore

test('reading a stream of an aggregate gives its events, narrowed by type; reading a name gives any', async () => {
  for await (const event of store.read(BankAccount('a'), { limit: 1 })) {
    expectTypeOf(event).toEqualTypeOf<EventsOf<typeof BankAccount>>()
    if (event.type === 'BankAccount.Deposited') expectTypeOf(event.data).toEqualTypeOf<{ amount: number }>()
    // @ts-expect-error -- not one of its events
    if (event.type === 'BankAccount.Deposit') break
  }
  expectTypeOf(store.read('BankAccount-a')).toEqualTypeOf<AsyncIterableIterator<Recorded>>()
  expectTypeOf(store.read({} as AnyStream)).toEqualTypeOf<AsyncIterableIterator<Recorded>>()
  expectTypeOf(store.read({} as string | AnyStream)).toEqualTypeOf<AsyncIterableIterator<Recorded>>()
  type Other = AsyncIterableIterator<Recorded<'Other', { n: number }>>
  // @ts-expect-error -- the type of the events is not the caller's to say
  const wrong = (): Other => store.read('BankAccount-a')
  expectTypeOf(wrong).toBeFunction()
})

test('a page has the events typed as read has them, and the head', async () => {
  const page = await store.readPage(BankAccount('a'))
  expectTypeOf(page).toEqualTypeOf<EventPage<EventsOf<typeof BankAccount>>>()
  expectTypeOf((await store.readPage('a')).events).toEqualTypeOf<readonly Recorded[]>()
  expectTypeOf((await store.readAllPage()).head).toEqualTypeOf<Position | undefined>()
  for await (const { stream, revision, events } of store.streams({ category: 'BankAccount' })) {
    expectTypeOf({ stream, revision, events }).toEqualTypeOf<{
      stream: string
      revision: number
      events: number
    }>()
  }
})

test('load gives the state of a stream, or the states of several in their shape', async () => {
  const { state, revision } = await load(store, BankAccount('a'))
  expectTypeOf(state).toEqualTypeOf<Readonly<{ balance: number; open: boolean }>>()
  expectTypeOf(revision).toEqualTypeOf<Revision>()
  expectTypeOf((await load(store, Account('a'))).state).toEqualTypeOf<AccountState>()
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
