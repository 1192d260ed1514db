import { fork } from 'node:child_process'
import { once } from 'node:events'

import { postgresStore } from 'mneme/postgres'
import pg from 'pg'

import { clock } from './following.ts'
import { percentile, type Figure } from './measure.ts'
import { freshDatabase } from './postgres-server.ts'

const SCHEMAS = 30
const MAX_CONNECTIONS = 10
const EVENTS = 1_500
const EVENT_INTERVAL_MS = 10
const QUERY_INTERVAL_MS = 50

/** How late events are, and the application's own queries, when many stores with a subscription each share a pool. */
export async function* sharedPoolFigures(): AsyncGenerator<Figure> {
  const { url, end } = await freshDatabase()
  const pool = new pg.Pool({ connectionString: url, max: MAX_CONNECTIONS })
  pool.on('error', () => undefined)
  const schemas = Array.from({ length: SCHEMAS }, (_, i) => `shop_${String(i)}`)
  const stores = await Promise.all(schemas.map((schema) => postgresStore(pool, { schema })))
  const arrived = new Map<string, number>()
  const subscriptions = stores.map((store) => store.subscribe())
  const over = subscriptions.map(async (events) => {
    for await (const { id } of events) arrived.set(id, clock())
  })
  await Promise.all(subscriptions.map((events) => events.caughtUp()))

  const writer = fork(new URL('shared-pool-writer.js', import.meta.url), [
    url,
    String(EVENTS),
    String(EVENT_INTERVAL_MS),
    ...schemas,
  ])
  const exit = once(writer, 'exit')
  const written = once(writer, 'message') as Promise<[[string, number][]]>
  const ending = new AbortController()
  const queries: number[] = []
  const querying = (async () => {
    while (!ending.signal.aborted) {
      const start = clock()
      await pool.query('SELECT 1')
      queries.push(clock() - start)
      await new Promise((resolve) => setTimeout(resolve, QUERY_INTERVAL_MS))
    }
  })()
  const [returned] = await written
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  ending.abort()
  await querying
  await exit
  const late = returned.map(([id, at]) => Math.max(0, (arrived.get(id) ?? Infinity) - at))
  const listening = await pool.query<{ count: string }>(
    `SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND objsubid = 1`,
  )
  await Promise.all(subscriptions.map((events) => events[Symbol.asyncDispose]()))
  await Promise.all([...over, ...stores.map((store) => store.close())])
  await pool.end()
  await end()
  const shape = `${String(SCHEMAS)} stores with a subscription each on a pool of ${String(MAX_CONNECTIONS)}`
  const told = (values: readonly number[]) =>
    [50, 99, 100].map((percent) => `${percentile(values, percent).toFixed(1)} ms`).join(', ')
  yield {
    name: `PostgreSQL: ${shape}: lateness of an event of another process`,
    value: `p50, p99 and maximum ${told(late)}, of ${String(late.length)}; ${listening.rows[0]!.count} connection listens`,
    goal: 'p99 < 500 ms',
    reached: percentile(late, 99) < 500,
  }
  yield {
    name: `PostgreSQL: ${shape}: the application's own queries`,
    value: `p50, p99 and maximum ${told(queries)}, of ${String(queries.length)}`,
  }
}
