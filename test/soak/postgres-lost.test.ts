import pg from 'pg'
import { postgresStore, type PostgresClient, type PostgresPool } from 'mneme/postgres'
import { expect } from 'vitest'

import { soakServer, test } from './postgres/soak.ts'
import { happened } from '../stores/sqlite/history.ts'

const server = soakServer()

const terminated = () => new Error('Connection terminated unexpectedly')

/** A pool that loses the answer to the first append; and the server, once that append was settled. */
function losing(pool: pg.Pool): PostgresPool {
  let appends = 0
  let isGone = false
  const connect = async (): Promise<PostgresClient> => {
    if (isGone) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const client = (await pool.connect()) as unknown as PostgresClient
    const query: PostgresClient['query'] = (query, callback) => {
      if (isGone) return query.handleError(terminated())
      if (query.text.includes('.append')) {
        const isFirst = appends++ === 0
        const answered = query.handleReadyForQuery.bind(query)
        query.handleReadyForQuery = (connection) => {
          if (isFirst) return query.handleError(terminated())
          isGone = true
          answered(connection)
        }
      }
      return client.query(query, callback)
    }
    const on: PostgresClient['on'] = (event: string, listener: (message: never) => void) =>
      client.on(event as 'error', listener as () => void)
    const off: PostgresClient['off'] = (event: string, listener: (message: never) => void) =>
      client.off(event as 'error', listener as () => void)
    return {
      query,
      on,
      off,
      release: () => client.release(true),
    }
  }
  const likePool = {
    connect,
    end: () => pool.end(),
    on: () => undefined,
    options: { max: 10 },
    totalCount: 0,
  }
  return likePool
}

test.each([
  ['an exact expectation', { expected: 'none' }, {}],
  ['no expectation', {}, {}],
  ['a key', {}, { key: 'k' }],
] as const)(
  'an append with %s that was found committed is not told to have failed',
  async (_, how, options) => {
    const url = await server().createDatabase()
    await (await postgresStore(url)).close()
    const pool = new pg.Pool({ connectionString: url })
    const settings = { connectTimeout: 300, statementTimeout: 2_000, busyTimeout: 1_000 }
    const store = await postgresStore(losing(pool), settings)
    const outcome = await store.append({ stream: 's', events: [happened()], ...how }, options).then(
      () => 'APPENDED',
      (error: unknown) => (error as { code: string }).code,
    )
    const database = new URL(url).pathname.slice(1)
    expect(await server().query('SELECT stream FROM mneme.events', database)).toHaveLength(1)
    // Any other code says that nothing was written.
    expect(outcome).toMatch(/^(APPENDED|OUTCOME_UNKNOWN)$/)
    await store.close()
    await pool.end()
  },
)
