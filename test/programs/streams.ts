import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { BankAccount, Deposited, Withdrawn } from './bank.ts'

export const Limits = defineAggregate({
  name: 'Limits',
  events: { Set: event<{ max: number }>() },
  initial: () => ({ max: 1000 }),
  apply: { Set: (_, { max }) => ({ max }) },
})

/** Two streams. */
export const transfer = defineCommand({
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: BankAccount(input.from),
    to: BankAccount(input.to),
  }),
  handle: ({ from, to }, { amount }, { on }) => {
    if (!to.open) return reject('unknown-payee')
    if (amount > from.balance) return reject('insufficient-funds', { short: amount - from.balance })
    return [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))]
  },
})

/** A variable number of streams, and one that is only read. */
export const split = defineCommand({
  reads: (input: { payee: string; shares: { account: string; amount: number }[] }) => ({
    limits: Limits('global'),
    payee: BankAccount(input.payee),
    payers: input.shares.map((share) => BankAccount(share.account)),
  }),
  handle: ({ limits, payers }, { shares }, { on }) => {
    const total = shares.reduce((sum, share) => sum + share.amount, 0)
    if (total > limits.max) return reject('over-limit')
    const poor = shares.filter((share, i) => share.amount > payers[i]!.balance).map((share) => share.account)
    if (poor.length > 0) return reject('insufficient-funds', { accounts: poor })
    const payments = shares.map(({ amount }, i) => on.payers(i, Withdrawn({ amount })))
    return [...payments, on.payee(Deposited({ amount: total }))]
  },
})

/** Streams by name. */
export const collect = defineCommand({
  reads: (input: { accounts: string[] }) => ({
    all: Object.fromEntries(input.accounts.map((account) => [account, BankAccount(account)])),
  }),
  handle: ({ all }, _, { on }) =>
    Object.entries(all)
      .filter(([, account]) => account.balance > 0)
      .map(([name, account]) => on.all(name, Withdrawn({ amount: account.balance }))),
})

/** A stream that is read only if it is named. */
export const charge = defineCommand({
  reads: (input: { account: string; limits?: string }) => ({
    account: BankAccount(input.account),
    ...(input.limits ? { limits: Limits(input.limits) } : {}),
  }),
  handle: ({ account, limits }, _, { on }) =>
    account.balance > (limits?.max ?? 100) ? on.account(Withdrawn({ amount: 1 })) : [],
})
