import { createStore, type EventStore } from 'mneme'
import type { PostgresConfig } from 'mneme/postgres'
import { onTestFinished } from 'vitest'

import { postgresAdapter, type AdapterSettings } from '../../../src/stores/postgres/adapter.ts'
import { makePool, type PostgresPool } from '../../../src/stores/postgres/driver.ts'
import type { TestDatabase } from './database.ts'

const ONE_HOUR_MS = 3_600_000

/** Polls that never come during a test: what arrives has been notified. */
export const NO_POLLS = { aloneMs: ONE_HOUR_MS, listeningMs: ONE_HOUR_MS }

export const DEFAULT_SETTINGS: AdapterSettings = {
  schema: 'mneme',
  migrate: true,
  standbys: false,
  prepare: false,
  connectTimeout: 10_000,
  statementTimeout: 30_000,
  busyTimeout: 5_000,
}

/** A store that polls as told (by default never), and a count of the messages that it has sent to the server. */
export async function openUnpolled(
  database: TestDatabase,
  settings: Partial<AdapterSettings> = {},
  config: PostgresConfig = {},
): Promise<{ readonly store: EventStore; readonly sent: () => number }> {
  const pool = await makePool({ connectionString: database.url, application_name: 'mneme', ...config })
  const sent = countSent(pool)
  const adapter = await postgresAdapter(
    pool,
    { ...DEFAULT_SETTINGS, pollIntervals: NO_POLLS, ...settings },
    () => pool.end(),
  )
  const store = createStore(adapter)
  onTestFinished(() => store.close())
  return { store, sent }
}

/** Counts the queries that go through a pool; each of ours is one round trip. */
function countSent(pool: PostgresPool): () => number {
  let sent = 0
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...all: unknown[]) => unknown
    Object.assign(client, {
      query: (...all: unknown[]) => {
        sent++
        return query(...all)
      },
    })
  })
  return () => sent
}
