import { execute, isMnemeError, tryExecute, type EventStore } from 'mneme'

import { CurrentAccount, decline, deposit, open, transfer, withdraw } from './account.ts'
import type { Transaction } from './transactions.ts'

/** Carries transactions out: in this process, or in another one. */
export type Teller = (transaction: Transaction) => Promise<Result>

/** What came of a transaction. Plain data, so that another process can send it. */
export interface Result {
  readonly outcome: 'done' | 'done before' | 'declined' | 'altered'
  /** Why it was declined. */
  readonly reason?: string
  /** How many events were written. */
  readonly events: number
  /** How often it was decided again, because another command came first. */
  readonly decidedAgain: number
  /** The accounts that it changed, as they stood right after it. */
  readonly balances: readonly Balance[]
}

/** What an account holds at a revision of its stream. */
export interface Balance {
  readonly account: string
  readonly balance: number
  readonly revision: number
}

/** A teller that works on a store. */
export function tellerAt(store: EventStore): Teller {
  return async (transaction) => {
    const { id, account } = transaction
    try {
      const decided = await decide(store, transaction)
      const decidedAgain = decided.attempts - 1
      if (!decided.ok) {
        const { reason } = decided.rejection
        await execute(store, decline({ account, transaction: id, reason }), { key: `decline ${id}` })
        return { outcome: 'declined', reason, events: 1, decidedAgain, balances: [] }
      }
      const { state, revisions, events, repeated } = decided
      const accounts = transaction.kind === 'transfer' ? [account, transaction.payee] : [account]
      const states = 'from' in state ? [state.from, state.to] : [state]
      return {
        outcome: repeated ? 'done before' : 'done',
        events: repeated ? 0 : events.length,
        decidedAgain,
        balances: accounts.map((account, i) => ({
          account,
          balance: states[i]!.balance,
          revision: Number(revisions.get(CurrentAccount(account).stream)),
        })),
      }
    } catch (error) {
      // The key was used with another input: somebody changed the line after it was done.
      if (isMnemeError(error) && error.code === 'KEY_REUSED') {
        return { outcome: 'altered', events: 0, decidedAgain: 0, balances: [] }
      }
      throw error
    }
  }
}

function decide(store: EventStore, transaction: Transaction) {
  // The key is kept with the events: executed again, in a later run too, the command appends nothing.
  const options = { key: `transaction ${transaction.id}` }
  switch (transaction.kind) {
    case 'open':
      return tryExecute(store, open(transaction), options)
    case 'deposit':
      return tryExecute(store, deposit(transaction), options)
    case 'withdrawal':
      return tryExecute(store, withdraw(transaction), options)
    case 'transfer':
      return tryExecute(store, transfer(transaction), options)
  }
}
