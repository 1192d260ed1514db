import { createStore, type EventStore } from 'mneme'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { postgresAdapter } from '../../../src/stores/postgres/adapter.ts'
import { happened } from '../sqlite/history.ts'
import { testDatabase, until, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'
import { listening, Subscriber } from './subscriber.ts'
import { DEFAULT_SETTINGS, NO_POLLS } from './unpolled.ts'

/** Stores on one pool, which do not poll, with a subscription each. */
async function openOn(database: TestDatabase, pool: pg.Pool, schemas: readonly string[]) {
  const stores: EventStore[] = []
  for (const schema of schemas) {
    const settings = { ...DEFAULT_SETTINGS, schema, pollIntervals: NO_POLLS }
    const store = createStore(await postgresAdapter(pool, settings))
    onTestFinished(() => store.close())
    stores.push(store)
  }
  const subscribers = stores.map((store) => new Subscriber(store))
  await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
  return { stores, subscribers }
}

function poolOf(database: TestDatabase, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: database.url, max, application_name: 'shared' })
  pool.on('error', () => undefined)
  onTestFinished(() => pool.end())
  return pool
}

/** The backends that listen, of whatever store. */
async function backends(database: TestDatabase): Promise<number> {
  const [row] = await database.query(
    `SELECT count(DISTINCT pid)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'
      AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  return row!.n as number
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `shop ${i}`)

describe.skipIf(serverProblem)('stores that share a pool', () => {
  test('twelve stores on one pool listen on one connection, and each is notified', async () => {
    const database = await testDatabase()
    const pool = poolOf(database, 5)
    const { stores, subscribers } = await openOn(database, pool, names(12))
    await listening(database, 12)
    expect(await backends(database)).toBe(1)
    const writers = await Promise.all(names(12).map((schema) => database.open({ schema }, { max: 2 })))
    for (let n = 1; n <= 3; n++) {
      await Promise.all(writers.map((writer) => writer.append({ stream: 's', events: [happened(n)] })))
      await Promise.all(subscribers.map((subscriber) => subscriber.has(n)))
      // Connections are left for the application.
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    }

    // A store that is closed leaves the others as they are.
    await stores[0]!.close()
    await listening(database, 11)
    await writers[1]!.append({ stream: 's', events: [happened(4)] })
    await subscribers[1]!.has(4)

    // They survive the end of the connection.
    await database.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shared'`,
    )
    await Promise.all(writers.slice(1).map((writer) => writer.append({ stream: 's', events: [happened(5)] })))
    await Promise.all(subscribers.slice(2).map((subscriber) => subscriber.has(4)))
    await listening(database, 11)
    expect(await backends(database)).toBe(1)

    await Promise.all(stores.map((store) => store.close()))
    await until(() => pool.idleCount === pool.totalCount, 'all connections are given back')
    await listening(database, 0)
  })

  test('two stores of one schema on one pool learn of each other without a poll', async () => {
    const database = await testDatabase()
    const { stores, subscribers } = await openOn(database, poolOf(database, 4), ['mneme', 'mneme'])
    await listening(database, 1)
    for (let n = 1; n <= 4; n++) {
      await stores[n % 2]!.append({ stream: 's', events: [happened(n)] })
      for (const subscriber of subscribers) await subscriber.has(n)
    }
  })

  test('a store whose schema is gone does not keep the others on its pool from listening', async () => {
    const database = await testDatabase()
    const pool = poolOf(database, 5)
    const settings = { ...DEFAULT_SETTINGS, schema: 'gone', pollIntervals: NO_POLLS }
    const gone = createStore(await postgresAdapter(pool, settings))
    await database.query('DROP SCHEMA gone CASCADE')
    const failed = new Subscriber(gone)
    const { subscribers } = await openOn(database, pool, names(2))
    await listening(database, 2)
    for (const schema of names(2)) {
      const writer = await database.open({ schema })
      await writer.append({ stream: 's', events: [happened()] })
    }
    for (const subscriber of subscribers) await subscriber.has(1)
    expect(await failed.failed()).toMatchObject({ code: 'STORE_FAILED' })
    await gone.close()
  })

  test('stores on a pool that is too small to listen poll, and the program is warned once', async () => {
    const database = await testDatabase()
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    onTestFinished(() => warn.mockRestore())
    const pool = poolOf(database, 2)
    const subscribers: Subscriber[] = []
    for (const schema of names(3)) {
      const store = createStore(await postgresAdapter(pool, { ...DEFAULT_SETTINGS, schema }))
      onTestFinished(() => store.close())
      subscribers.push(new Subscriber(store))
    }
    for (const schema of names(3)) {
      const writer = await database.open({ schema })
      await writer.append({ stream: 's', events: [happened()] })
    }
    for (const subscriber of subscribers) await subscriber.has(1)
    expect(await backends(database)).toBe(0)
    expect(warn).toHaveBeenCalledTimes(1)
    expect(warn.mock.calls[0]).toMatchObject([
      expect.stringContaining('max'),
      { code: 'MNEME_POSTGRES_POOL_TOO_SMALL' },
    ])
  })
})
