import { defineAggregate, event } from 'mneme'

export const Account = defineAggregate({
  name: 'Account',
  events: { Opened: event<{ owner: string }>(), Paid: event<{ amount: number }>() },
  initial: () => ({ balance: 0 }),
  apply: {
    Opened: (state) => state,
    Paid: ({ balance }, { amount }) => ({ balance: balance + amount }),
  },
})
