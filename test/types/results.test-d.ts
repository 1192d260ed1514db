import { expectTypeOf, test } from 'vitest'
import {
  execute,
  executor,
  tryExecute,
  type EventStore,
  type ExecuteOptions,
  type Executed,
  type NoData,
  type NotExecuted,
  type Position,
  type Recorded,
  type Revision,
} from 'mneme'
import { close, withdraw } from '../programs/bank.ts'
import { pay, type OrderId } from '../programs/boundaries.ts'
import { type AccountState, AddBoth, type CopiedState, Transfer, Withdraw } from '../programs/classes.ts'
import { convert } from '../programs/needs.ts'
import { charge, collect, split } from '../programs/streams.ts'

const store = {} as EventStore
type BankState = Readonly<{ balance: number; open: boolean }>
type WithdrawnEvent = Recorded<'BankAccount.Withdrawn', { amount: number }>

test('execute resolves with the events, the state and the revisions', async () => {
  const done = await execute(store, withdraw({ account: 'a', amount: 1 }))
  expectTypeOf(done.events).toEqualTypeOf<readonly WithdrawnEvent[]>()
  expectTypeOf(done.state).toEqualTypeOf<BankState>()
  expectTypeOf(done.revisions).toEqualTypeOf<ReadonlyMap<string, Revision>>()
  expectTypeOf(done.position).toEqualTypeOf<Position | undefined>()
  expectTypeOf(done.attempts).toEqualTypeOf<number>()
  expectTypeOf(done.repeated).toEqualTypeOf<boolean>()
  expectTypeOf((await execute(store, close({ account: 'a' }))).events).toEqualTypeOf<
    readonly Recorded<'BankAccount.Closed', NoData>[]
  >()
})

test('tryExecute resolves with one member for each rejection', async () => {
  const result = await tryExecute(store, withdraw({ account: 'a', amount: 1 }))
  if (result.ok) expectTypeOf(result.state).toEqualTypeOf<BankState>()
  else {
    switch (result.rejection.reason) {
      case 'not-open':
        expectTypeOf(result.rejection).toEqualTypeOf<{ readonly reason: 'not-open' }>()
        break
      case 'insufficient-funds':
        expectTypeOf(result.rejection.balance).toBeNumber()
        break
      default:
        result.rejection satisfies never
    }
  }
  expectTypeOf(result).exclude<Executed<unknown, unknown>>().toExtend<NotExecuted<unknown>>()
})

test('a command that never rejects has a result that is always ok', async () => {
  const result = await tryExecute(store, close({ account: 'a' }))
  expectTypeOf(result.ok).toEqualTypeOf<true>()
})

test('the states of several streams come in the shape of reads', async () => {
  const { state, events } = await execute(store, split({ payee: 'a', shares: [] }))
  expectTypeOf(state.limits).toEqualTypeOf<Readonly<{ max: number }>>()
  expectTypeOf(state.payers).toEqualTypeOf<readonly BankState[]>()
  expectTypeOf(events).toEqualTypeOf<
    readonly (WithdrawnEvent | Recorded<'BankAccount.Deposited', { amount: number }>)[]
  >()
  const named = await execute(store, collect({ accounts: [] }))
  expectTypeOf(named.state.all).toEqualTypeOf<{ readonly [x: string]: BankState }>()
  const optional = await execute(store, charge({ account: 'a' }))
  expectTypeOf(optional.state.limits).toEqualTypeOf<Readonly<{ max: number }> | undefined>()
  const followed = await execute(store, pay({ order: '' as OrderId }))
  expectTypeOf(followed.state.customers).toEqualTypeOf<
    readonly Readonly<{ blocked: boolean; points: number }>[]
  >()
  expectTypeOf(followed.events[0]!.type).toEqualTypeOf<'Order.Paid' | 'Customer.Credited'>()
})

test('a state class stays itself', async () => {
  const one = await tryExecute(store, new Withdraw('a', 1))
  if (one.ok) expectTypeOf(one.state).toEqualTypeOf<AccountState>()
  else expectTypeOf(one.rejection).toEqualTypeOf<{ readonly reason: 'insufficient-funds'; balance: number }>()
  const several = await execute(store, new Transfer('a', 'b', 1))
  expectTypeOf(several.state).toEqualTypeOf<{ readonly from: AccountState; readonly to: AccountState }>()
  expectTypeOf(several.events[0]!.type).toEqualTypeOf<'Account.Withdrawn' | 'Account.Deposited'>()
  expectTypeOf((await execute(store, new AddBoth('l'))).state).toEqualTypeOf<CopiedState>()
})

test('needs are asked for where the command has some, and only there', () => {
  const input = { wallet: 'w', from: 'EUR', to: 'USD', amount: 1 }
  const needs = { rates: { rate: async () => 1 }, clock: { now: () => new Date(0) } }
  expectTypeOf(execute(store, convert(input), { needs, key: 'k' })).resolves.toHaveProperty('state')
  // @ts-expect-error -- no options
  void execute(store, convert(input))
  // @ts-expect-error -- options without needs
  void execute(store, convert(input), { key: 'k' })
  // @ts-expect-error -- one of them is missing
  void tryExecute(store, convert(input), { needs: { clock: needs.clock } })
  const options: ExecuteOptions = { metadata: { actor: 'Ann' }, retry: { maxRetries: 1 } }
  void execute(store, close({ account: 'a' }), options)
  // @ts-expect-error -- nothing is needed
  void execute(store, close({ account: 'a' }), { needs })
  void execute(store, new Transfer('a', 'b', 1))
})

test('an executor asks only for the needs that it lacks', () => {
  const input = { wallet: 'w', from: 'EUR', to: 'USD', amount: 1 }
  const rates = { rate: async () => 1 }
  const clock = { now: () => new Date(0) }
  const some = executor(store, { needs: { clock, other: 1 }, metadata: () => ({ actor: 'Ann' }) })
  const { execute: run } = some
  expectTypeOf(run(convert(input), { needs: { rates } })).resolves.toHaveProperty('state')
  void some.tryExecute(convert(input), { needs: { rates, clock }, key: 'k' })
  // @ts-expect-error -- the rates are missing
  void some.execute(convert(input))
  // @ts-expect-error -- as before
  void some.execute(convert(input), { needs: { clock } })
  // @ts-expect-error -- nothing else is needed
  void some.execute(convert(input), { needs: { rates, more: 1 } })
  const all = executor(store, { needs: { clock, rates } })
  void all.execute(convert(input))
  void all.execute(convert(input), { needs: { clock } })
  const wrong = executor(store, { needs: { clock: 'noon', rates } })
  // @ts-expect-error -- the clock is of another type
  void wrong.execute(convert(input))
  void wrong.execute(convert(input), { needs: { clock } })
  const none = executor(store, { around: (call, next) => (call.command.name === 'x' ? next() : next()) })
  void none.execute(close({ account: 'a' }), { key: 'k' })
  // @ts-expect-error -- nothing is needed
  void none.execute(close({ account: 'a' }), { needs: {} })
  // @ts-expect-error -- all is needed
  void none.execute(convert(input))
})

test('an executor has the results of execute', async () => {
  const bank = executor(store)
  const done = await bank.execute(withdraw({ account: 'a', amount: 1 }))
  expectTypeOf(done.events).toEqualTypeOf<readonly WithdrawnEvent[]>()
  expectTypeOf(done.state).toEqualTypeOf<BankState>()
  const result = await bank.tryExecute(withdraw({ account: 'a', amount: 1 }))
  if (!result.ok && result.rejection.reason === 'insufficient-funds')
    expectTypeOf(result.rejection.balance).toBeNumber()
  const several = await bank.execute(new Transfer('a', 'b', 1))
  expectTypeOf(several.state).toEqualTypeOf<{ readonly from: AccountState; readonly to: AccountState }>()
})
