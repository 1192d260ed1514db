import { postgresStore } from 'mneme/postgres'
import pg from 'pg'

import { Account, NOTE } from './account.ts'
import { clock } from './following.ts'

/**
 * Run as a process of its own, with a URL and schemas: appends an event now and then to each schema in turn, and then
 * says when each append had returned, by the event's id.
 */
const [url = '', count = '', intervalMs = '', ...schemas] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url, max: 10 })
const stores = await Promise.all(schemas.map((schema) => postgresStore(pool, { schema })))
const returned: [string, number][] = []
const begin = clock()
for (let i = 0; i < Number(count); i++) {
  const wait = begin + i * Number(intervalMs) - clock()
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
  const deposited = Account.events.Deposited({ amount: 1, note: NOTE })
  const { events } = await stores[i % stores.length]!.append({
    stream: Account('trickle'),
    events: [deposited],
  })
  returned.push([events[0]!.id, clock()])
}
process.send?.(returned)
await Promise.all(stores.map((store) => store.close()))
await pool.end()
process.disconnect()
