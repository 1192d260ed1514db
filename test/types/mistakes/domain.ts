// What the mistakes are made with. There is none in here.
import {
  aggregateFromClass,
  defineAggregate,
  defineCommand,
  event,
  reject,
  ofType,
  type EventStore,
} from 'mneme'

export const BankAccount = defineAggregate({
  name: 'BankAccount',
  events: {
    Opened: event<{ owner: string }>(),
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
    Noted: event(),
  },
  initial: () => ({ balance: 0, open: false }),
  apply: {
    Opened: (state) => ({ ...state, open: true }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Noted: (state) => state,
  },
})
export const { Opened, Deposited, Withdrawn, Noted } = BankAccount.events

export const Seat = defineAggregate({
  name: 'Seat',
  id: (id: { row: number }) => String(id.row),
  events: { Taken: event() },
  initial: () => ({ taken: false }),
  apply: { Taken: () => ({ taken: true }) },
})

export type CustomerId = string & { readonly __brand: 'CustomerId' }
export const Customer = defineAggregate({
  name: 'Customer',
  id: ofType<CustomerId>(),
  events: { Blocked: event() },
  initial: () => ({ blocked: false }),
  apply: { Blocked: () => ({ blocked: true }) },
})

export class CounterState {
  count = 0
  apply(event: { type: 'Counter.Counted'; data: { by: number } }) {
    this.count += event.data.by
  }
  clone(): CounterState {
    return Object.assign(new CounterState(), this)
  }
}
export const Counter = aggregateFromClass({
  name: 'Counter',
  state: CounterState,
  events: { Counted: event<{ by: number }>() },
})

export const withdraw = defineCommand({
  reads: (input: { account: string; amount: number }) => BankAccount(input.account),
  handle: (account, { amount }) => {
    if (!account.open) return reject('not-open')
    if (amount > account.balance) return reject('insufficient-funds', { balance: account.balance })
    return Withdrawn({ amount })
  },
})

export const transfer = defineCommand({
  reads: (input: { from: string; to: string }) => ({
    from: BankAccount(input.from),
    to: BankAccount(input.to),
  }),
  handle: ({ to }, _, { on }) => {
    if (!to.open) return reject('unknown-payee')
    return [on.from(Withdrawn({ amount: 1 })), on.to(Deposited({ amount: 1 }))]
  },
})

export const convert = defineCommand({
  needs: ofType<{ rate: (currency: string) => number; now: () => Date }>(),
  reads: (input: { account: string }) => BankAccount(input.account),
  handle: (_, __, { rate }) => Deposited({ amount: rate('USD') }),
})

export const store = {} as EventStore
