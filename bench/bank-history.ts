import type { EventStore, StreamWrite } from 'mneme'

import { CurrentAccount } from '../examples/bank/account.ts'
import { openTransactions } from '../examples/bank/transactions.ts'

const { Opened, Deposited, Withdrawn } = CurrentAccount.events

/** Appends what the transactions of a bank's statement come to, in their order. @returns how many events. */
export async function importStatement(store: EventStore, path: string): Promise<number> {
  let events = 0
  let writes: StreamWrite[] = []
  const append = async () => {
    await store.append(writes)
    writes = []
  }
  for await (const line of await openTransactions(path)) {
    if ('problem' in line) throw new Error(`line ${String(line.number)}: ${line.problem}`)
    const { kind, account, amount, operation, date } = line.transaction
    const data = { amount, operation, ...(date !== undefined && { date }) }
    const movement = kind === 'withdrawal' ? Withdrawn(data) : Deposited(data)
    const added = kind === 'open' ? [Opened({ overdraft: 'unlimited' }), movement] : [movement]
    events += added.length
    writes.push({ stream: CurrentAccount(account), events: added })
    if (writes.length === WRITES_PER_APPEND) await append()
  }
  await append()
  return events
}

/** An append takes 256 streams at most. */
const WRITES_PER_APPEND = 250
