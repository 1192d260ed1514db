import { postgresStore } from 'mneme/postgres'

import { RawPostgres } from './raw-postgres.ts'
import { appendAlone, callers } from './work.ts'

/** Who appends. */
export type Side = 'ours' | 'raw' | 'locked'

/** What a worker is told: each of its callers is to append so many events, one by one. */
export interface Order {
  readonly side: Side
  readonly count: number
}

/** Run as a process of its own, with a URL and a number of callers: does as it is told, and says when it is done. */
const [url = '', callersEach = ''] = process.argv.slice(2)
const store = await postgresStore(url, { prepare: true })
const raw = await RawPostgres.open(url, Number(callersEach))
let run = 0

async function work({ side, count }: Order): Promise<void> {
  if (side === 'raw') return raw.insert(count)
  if (side === 'locked') return raw.insertLocked(count)
  const name = `Worker-${String(process.pid)}-${String(run++)}`
  await callers(Number(callersEach), (caller) => appendAlone(store, `${name}-${String(caller)}`, count))
}

process.on('message', (order: Order) => void work(order).then(() => process.send?.('done')))
process.on('disconnect', () => process.exit())
process.send?.('ready')
