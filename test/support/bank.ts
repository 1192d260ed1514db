import * as z from 'zod'
import { defineAggregate, defineCommand, event, reject } from 'mneme'

/** The aggregate that most tests use. */
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
  reads: (account: string) => BankAccount(account),
  handle: (account, owner) => (account.open ? reject('already-open') : Opened({ owner })),
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

export const transfer = defineCommand({
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: BankAccount(input.from),
    to: BankAccount(input.to),
  }),
  handle: ({ from, to }, { amount }, { on }) => {
    if (!to.open) return reject('unknown-payee')
    if (amount > from.balance) return reject('insufficient-funds', { balance: from.balance })
    return [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))]
  },
})
