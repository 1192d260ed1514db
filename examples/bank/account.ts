import { defineAggregate, defineCommand, event, reject } from 'mneme'

/** What the bank knows of an account. Amounts are in hundredths: whole numbers do not round. */
export interface Account {
  isOpen: boolean
  balance: number
  /** How far the balance may fall below zero. */
  overdraft: number | 'unlimited'
}

export const BankAccount = defineAggregate({
  name: 'BankAccount',
  events: {
    Opened: event<{ overdraft: Account['overdraft'] }>(),
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
    Declined: event<{ transaction: string; reason: string }>(),
  },
  initial: (): Account => ({ isOpen: false, balance: 0, overdraft: 0 }),
  apply: {
    Opened: (account, { overdraft }) => ({ ...account, isOpen: true, overdraft }),
    Deposited: (account, { amount }) => ({ ...account, balance: account.balance + amount }),
    Withdrawn: (account, { amount }) => ({ ...account, balance: account.balance - amount }),
    Declined: (account) => account,
  },
})

const { Opened, Deposited, Withdrawn, Declined } = BankAccount.events

type Movement = { account: string; amount: number }

/** An account is opened with its first deposit: two events, kept together or not at all. */
export const open = defineCommand({
  reads: ({ account }: Movement & { overdraft: Account['overdraft'] }) => BankAccount(account),
  handle: ({ isOpen }, { amount, overdraft }) =>
    isOpen ? reject('already-open') : [Opened({ overdraft }), Deposited({ amount })],
})

export const deposit = defineCommand({
  reads: ({ account }: Movement) => BankAccount(account),
  handle: ({ isOpen }, { amount }) => (isOpen ? Deposited({ amount }) : reject('not-open')),
})

export const withdraw = defineCommand({
  reads: ({ account }: Movement) => BankAccount(account),
  handle: (account, { amount }) => {
    if (!account.isOpen) return reject('not-open')
    if (!covers(account, amount)) return reject('insufficient-funds', { balance: account.balance })
    return Withdrawn({ amount })
  },
})

/** Two streams, one decision: it stands only if neither account has changed since both were read. */
export const transfer = defineCommand({
  reads: ({ account, payee }: Movement & { payee: string }) => ({
    from: BankAccount(account),
    to: BankAccount(payee),
  }),
  handle: ({ from, to }, { amount }, { on }) => {
    if (!from.isOpen) return reject('not-open')
    if (!to.isOpen) return reject('unknown-payee')
    if (!covers(from, amount)) return reject('insufficient-funds', { balance: from.balance })
    return [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))]
  },
})

/**
 * A rejection leaves no event, so a transaction that was rejected would be decided anew in the next run, on
 * what the account holds by then. The bank keeps its word: it writes down what it declined.
 */
export const decline = defineCommand({
  reads: ({ account }: { account: string; transaction: string; reason: string }) => BankAccount(account),
  handle: (_account, { transaction, reason }) => Declined({ transaction, reason }),
})

function covers({ balance, overdraft }: Account, amount: number): boolean {
  return overdraft === 'unlimited' || amount <= balance + overdraft
}
