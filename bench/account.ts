import { defineAggregate, defineCommand, event } from 'mneme'

/** What the benchmarks append and fold. */
export const Account = defineAggregate({
  name: 'Account',
  events: { Deposited: event<{ amount: number; note: string }>() },
  initial: () => ({ balance: 0, deposits: 0 }),
  apply: {
    Deposited: (state, { amount }) => ({ balance: state.balance + amount, deposits: state.deposits + 1 }),
  },
})

export const deposit = defineCommand({
  reads: (input: { account: string; amount: number }) => Account(input.account),
  handle: (_, { amount }) => Account.events.Deposited({ amount, note: NOTE }),
})

export const NOTE = 'a deposit of the benchmark'
