import { expectTypeOf, test } from 'vitest'
import {
  defineAggregate,
  event,
  type Aggregate,
  type AggregateStream,
  type AnyAggregate,
  type EventsOf,
  type Metadata,
  type NoData,
  type Recorded,
  type RecordedIn,
  type StateOf,
  type Stream,
  type StreamEvent,
} from 'mneme'
import { BankAccount } from '../programs/bank.ts'
import { Customer, Order, type OrderId, Seat, type AccountId } from '../programs/boundaries.ts'
import { Account, type AccountState } from '../programs/classes.ts'
import { Loan } from '../programs/evolution.ts'

type BankState = { balance: number; open: boolean }

test('an aggregate is its name, its state and the data of its events, and nothing of a schema library', () => {
  expectTypeOf(BankAccount).toEqualTypeOf<
    Aggregate<
      'BankAccount',
      BankState,
      {
        Opened: { owner: string }
        Deposited: { amount: number }
        Withdrawn: { amount: number }
        Closed: NoData
      }
    >
  >()
  expectTypeOf(BankAccount.category).toEqualTypeOf<'BankAccount'>()
  expectTypeOf(BankAccount).toExtend<AnyAggregate>()
  expectTypeOf(Loan).toExtend<AnyAggregate>()
  expectTypeOf(Account).toExtend<AnyAggregate>()
})

test('StateOf and EventsOf, of aggregates and streams', () => {
  expectTypeOf<StateOf<typeof BankAccount>>().toEqualTypeOf<BankState>()
  expectTypeOf<StateOf<typeof Account>>().toEqualTypeOf<AccountState>()
  expectTypeOf<StateOf<ReturnType<typeof BankAccount>>>().toEqualTypeOf<BankState>()
  expectTypeOf<EventsOf<typeof BankAccount>>().toEqualTypeOf<
    | Recorded<'BankAccount.Opened', { owner: string }>
    | Recorded<'BankAccount.Deposited', { amount: number }>
    | Recorded<'BankAccount.Withdrawn', { amount: number }>
    | Recorded<'BankAccount.Closed', NoData>
  >()
  expectTypeOf<EventsOf<ReturnType<typeof BankAccount>>>().toEqualTypeOf<EventsOf<typeof BankAccount>>()
  expectTypeOf<EventsOf<Stream<BankState>>>().toEqualTypeOf<Recorded>()
  expectTypeOf<EventsOf<'BankAccount-a'>>().toEqualTypeOf<Recorded>()
  expectTypeOf<EventsOf<typeof Loan>['type']>().toEqualTypeOf<
    'Loan.Granted' | 'Audit.Flagged' | 'BankAccount.Withdrawn'
  >()
})

test('a stream takes its own events by prefix, and those it borrows by name', () => {
  expectTypeOf(BankAccount('a')).toExtend<Stream<BankState, `BankAccount.${string}`>>()
  expectTypeOf(BankAccount('a').types).toEqualTypeOf<readonly `BankAccount.${string}`[]>()
  expectTypeOf(Loan('a').types).toEqualTypeOf<
    readonly (`Loan.${string}` | 'Audit.Flagged' | 'BankAccount.Withdrawn')[]
  >()
  expectTypeOf(Loan('a')).toEqualTypeOf<
    typeof Loan extends Aggregate<infer Name, infer State, infer Events>
      ? AggregateStream<Name, State, Events>
      : never
  >()
})

test('ids: a string, a branded one, a schema, a function', () => {
  expectTypeOf(BankAccount).parameters.toEqualTypeOf<[id: string]>()
  expectTypeOf(Customer).parameters.toEqualTypeOf<[id: AccountId]>()
  expectTypeOf(Order).parameters.toEqualTypeOf<[id: OrderId]>()
  expectTypeOf(Seat).parameters.toEqualTypeOf<[id: { show: string; row: number }]>()
})

test('idOf gives an id of the same type, or the text that a function made of it', () => {
  expectTypeOf(BankAccount.idOf('BankAccount-a')).toEqualTypeOf<string | undefined>()
  expectTypeOf(Customer.idOf('Customer-a')).toEqualTypeOf<AccountId | undefined>()
  expectTypeOf(Order.idOf(Order('o' as OrderId))).toEqualTypeOf<OrderId | undefined>()
  expectTypeOf(Seat.idOf('Seat-a')).toEqualTypeOf<string | undefined>()
})

test('apply sees the state, the data, and the event in its stream', () => {
  defineAggregate({
    name: 'Sample',
    events: { Happened: event<{ n: number }>(), Ended: event() },
    initial: () => ({ total: 0, list: [] as string[] }),
    apply: {
      Happened: (state, data, event) => {
        expectTypeOf(state).toEqualTypeOf<Readonly<{ total: number; list: string[] }>>()
        expectTypeOf(data).toEqualTypeOf<{ n: number }>()
        expectTypeOf(event).toEqualTypeOf<StreamEvent<'Sample.Happened', { n: number }>>()
        expectTypeOf(event.revision).toEqualTypeOf<number>()
        expectTypeOf(event.metadata).toEqualTypeOf<Metadata>()
        expectTypeOf(event).not.toHaveProperty('position')
        expectTypeOf(event).not.toHaveProperty('time')
        return state
      },
      Ended: (state, data) => {
        expectTypeOf(data).toEqualTypeOf<NoData>()
        return { ...state, total: 0 }
      },
    },
  })
})

test('literals survive apply, and a union state narrows in it', () => {
  type Status = { status: 'none' } | { status: 'open'; since: number }
  const Sample = defineAggregate({
    name: 'Sample',
    events: { Opened: event<{ at: number }>(), Moved: event<{ at: number }>() },
    initial: (): Status => ({ status: 'none' }),
    apply: {
      Opened: (_, { at }) => ({ status: 'open', since: at }),
      Moved: (state, { at }) => (state.status === 'none' ? state : { ...state, since: at }),
    },
  })
  expectTypeOf<StateOf<typeof Sample>>().toEqualTypeOf<Status>()
})

test('evolve folds by hand: one step on an event of the aggregate', () => {
  expectTypeOf(BankAccount.evolve).parameter(0).toEqualTypeOf<BankState>()
  expectTypeOf(BankAccount.evolve).returns.toEqualTypeOf<BankState>()
  expectTypeOf<EventsOf<typeof BankAccount>>().toExtend<Parameters<typeof BankAccount.evolve>[1]>()
})

// What projections will stand on: handlers by type name, completed from the aggregates they read.
type ByType<E> = { readonly [X in E as X extends { readonly type: infer T extends string } ? T : never]: X }
type Handlers<Map> = { readonly [T in keyof Map]?: (event: Map[T]) => void }
type EventsFrom<F> = F extends Aggregate<infer Name, infer _, infer E, never> ? RecordedIn<Name, E> : never
declare function project<const F extends readonly unknown[]>(
  from: F,
  on: Handlers<ByType<EventsFrom<F[number]>>>,
): void

test('a projection over several aggregates gets each event by its type', () => {
  project([BankAccount, Order], {
    'BankAccount.Opened': (event) => expectTypeOf(event.data).toEqualTypeOf<{ owner: string }>(),
    'Order.Placed': (event) =>
      expectTypeOf(event).toEqualTypeOf<Recorded<'Order.Placed', { customers: AccountId[] }>>(),
  })
  // @ts-expect-error -- not read from
  project([Order], { 'BankAccount.Opened': () => undefined })
})

test('snapshots change nothing of the type of an aggregate, and fromJson takes what toJson gives', () => {
  const Kept = defineAggregate({
    name: 'Kept',
    events: { Happened: event<{ n: number }>() },
    initial: () => ({ at: new Map<string, number>() }),
    apply: { Happened: ({ at }, { n }) => ({ at: new Map(at).set('n', n) }) },
    snapshot: {
      version: 1,
      every: 500,
      toJson: (state) => {
        expectTypeOf(state.at).toEqualTypeOf<Map<string, number>>()
        return [...state.at]
      },
      fromJson: (entries) => {
        expectTypeOf(entries).toEqualTypeOf<[string, number][]>()
        return { at: new Map(entries) }
      },
    },
  })
  expectTypeOf<StateOf<typeof Kept>>().toEqualTypeOf<{ at: Map<string, number> }>()
})
