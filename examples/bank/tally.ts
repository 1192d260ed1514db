import { money } from './format.ts'
import type { Balance, Result } from './teller.ts'
import type { Transaction } from './transactions.ts'

/** Something to tell about a line of the file. */
export interface Remark {
  readonly line: number
  readonly text: string
}

/** Adds up what a run comes to. */
export class Tally {
  readonly outcomes = { done: 0, 'done before': 0, declined: 0 }
  /** How many were declined for each reason. */
  readonly reasons = new Map<string, number>()
  /** Lines that make no sense. */
  readonly nonsense: Remark[] = []
  /** How many lines said what the account holds afterwards. */
  compared = 0
  /** Those of them after which it held something else. */
  readonly differences: Remark[] = []
  events = 0
  /** How many conflicts were met; each was retried. */
  conflicts = 0
  /** Each account as the last of its transactions left it. */
  readonly balances = new Map<string, Balance>()

  get lines(): number {
    const { done, 'done before': before, declined } = this.outcomes
    return done + before + declined + this.nonsense.length
  }

  add(line: number, transaction: Transaction, result: Result): void {
    const { outcome, reason } = result
    this.events += result.events
    this.conflicts += result.decidedAgain
    if (outcome === 'altered') {
      const text = `transaction ${transaction.id} was done before, but as something else`
      this.nonsense.push({ line, text })
      return
    }
    this.outcomes[outcome]++
    if (reason !== undefined) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1)
    for (const balance of result.balances) {
      // Transfers to one account are reported in any order: the highest revision is the last.
      const known = this.balances.get(balance.account)
      if (!known || known.revision < balance.revision) this.balances.set(balance.account, balance)
    }
    if (transaction.balance !== undefined) this.#compare(line, transaction.balance, result)
  }

  #compare(line: number, expected: number, { balances, reason }: Result): void {
    this.compared++
    const actual = balances[0]?.balance
    if (actual === expected) return
    const found = actual === undefined ? `it was declined (${reason})` : `it is ${money(actual)}`
    this.differences.push({ line, text: `the balance should be ${money(expected)}, but ${found}` })
  }
}
