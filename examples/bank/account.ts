import { defineAggregate, defineCommand, event, reject } from 'mneme'

/** What the bank knows of an account. Amounts are in hundredths: whole numbers do not round. */
export interface Account {
  isOpen: boolean
  balance: number
  /** How far the balance may fall below zero. */
  overdraft: number | 'unlimited'
}

/** By which kind of operation money moved, and on which day, where the file says so. */
export type Occasion = { operation: string; date?: string }

export const CurrentAccount = defineAggregate({
  name: 'CurrentAccount',
  events: {
    Opened: event<{ overdraft: Account['overdraft'] }>(),
    Deposited: event<{ amount: number } & Occasion>(),
    Withdrawn: event<{ amount: number } & Occasion>(),
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

const { Opened, Deposited, Withdrawn, Declined } = CurrentAccount.events

type Movement = { account: string; amount: number } & Occasion

/** An account is opened with its first deposit: two events, kept together or not at all. */
export const open = defineCommand({
  reads: ({ account }: Movement & { overdraft: Account['overdraft'] }) => CurrentAccount(account),
  handle: ({ isOpen }, { overdraft, ...movement }) =>
    isOpen ? reject('already-open') : [Opened({ overdraft }), Deposited(moved(movement))],
})

export const deposit = defineCommand({
  reads: ({ account }: Movement) => CurrentAccount(account),
  handle: ({ isOpen }, movement) => (isOpen ? Deposited(moved(movement)) : reject('not-open')),
})

export const withdraw = defineCommand({
  reads: ({ account }: Movement) => CurrentAccount(account),
  handle: (account, movement) => {
    if (!account.isOpen) return reject('not-open')
    if (!covers(account, movement.amount)) return reject('insufficient-funds', { balance: account.balance })
    return Withdrawn(moved(movement))
  },
})

/** Two streams, one decision: it stands only if neither account has changed since both were read. */
export const transfer = defineCommand({
  reads: ({ account, payee }: Movement & { payee: string }) => ({
    from: CurrentAccount(account),
    to: CurrentAccount(payee),
  }),
  handle: ({ from, to }, movement, { on }) => {
    if (!from.isOpen) return reject('not-open')
    if (!to.isOpen) return reject('unknown-payee')
    if (!covers(from, movement.amount)) return reject('insufficient-funds', { balance: from.balance })
    return [on.from(Withdrawn(moved(movement))), on.to(Deposited(moved(movement)))]
  },
})

/**
 * A rejection leaves no event, so a transaction that was rejected would be decided anew in the next run, on
 * what the account holds by then. The bank keeps its word: it writes down what it declined.
 */
export const decline = defineCommand({
  reads: ({ account }: { account: string; transaction: string; reason: string }) => CurrentAccount(account),
  handle: (_account, { transaction, reason }) => Declined({ transaction, reason }),
})

function covers({ balance, overdraft }: Account, amount: number): boolean {
  return overdraft === 'unlimited' || amount <= balance + overdraft
}

/** What an event says of a movement: a date that is not known is left out. */
function moved({ amount, operation, date }: Omit<Movement, 'account'>) {
  return { amount, operation, ...(date !== undefined && { date }) }
}
