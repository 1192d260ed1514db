import * as z from 'zod'
import { defineAggregate, defineCommand, event, reject } from 'mneme'

export const BankAccount = defineAggregate({
  name: 'BankAccount',
  events: {
    Opened: event<{ owner: string }>(),
    Deposited: z.object({ amount: z.int().positive() }),
    Withdrawn: event<{ amount: number }>(),
    Closed: event(),
  },
  initial: () => ({ balance: 0, open: false }),
  apply: {
    Opened: (state) => ({ ...state, open: true }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Closed: (state) => ({ ...state, open: false }),
  },
})
export const { Opened, Deposited, Withdrawn, Closed } = BankAccount.events

export const open = defineCommand({
  reads: (input: { account: string; owner: string }) => BankAccount(input.account),
  handle: (account, { owner }) => (account.open ? reject('already-open') : Opened({ owner })),
})

export const deposit = defineCommand({
  reads: (input: { account: string; amount: number }) => BankAccount(input.account),
  handle: (account, { amount }) => (account.open ? Deposited({ amount }) : reject('not-open')),
})

export const withdraw = defineCommand({
  reads: (input: { account: string; amount: number }) => BankAccount(input.account),
  handle: (account, { amount }) => {
    if (!account.open) return reject('not-open')
    if (amount > account.balance) return reject('insufficient-funds', { balance: account.balance })
    return Withdrawn({ amount })
  },
})

export const close = defineCommand({
  reads: (input: { account: string }) => BankAccount(input.account),
  handle: (account) => (account.open ? [Closed()] : []),
})
