import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { load, type SnapshotMessage } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'
import { postgresAdapter } from '../../../src/stores/postgres/adapter.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'
import { Lamp, switches } from '../../support/lamp.ts'

describe.skipIf(serverProblem)('snapshots', () => {
  test('a snapshot goes with its event, whoever deletes that', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: Lamp('a'), events: switches })
    await load(store, Lamp('a'))
    await store.close()
    const kept = () => database.query('SELECT stream, revision FROM mneme.snapshots')
    await database.query('DELETE FROM mneme.events WHERE revision < 6')
    expect(await kept()).toEqual([{ stream: 'Lamp-a', revision: '6' }])
    const cold = await database.open()
    expect(await load(cold, Lamp('a'))).toEqual({ state: { times: 7 }, revision: 6 })
    await database.query('DELETE FROM mneme.events')
    expect(await kept()).toEqual([])
  })

  test('a server that only reads gives snapshots, takes none, and costs no connection', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: Lamp('a'), events: switches })
    const url = new URL(database.url)
    url.searchParams.set('options', '-c default_transaction_read_only=on')
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ connectionString: url.href, max: 1 })
    onTestFinished(() => pool.end())
    let connections = 0
    pool.on('connect', () => connections++)
    const messages: SnapshotMessage[] = []
    const note = (message: unknown) => messages.push(message as SnapshotMessage)
    subscribe('mneme.snapshot', note)
    onTestFinished(() => void unsubscribe('mneme.snapshot', note))
    const loadOnly = async () => {
      const reading = await postgresStore(pool, { migrate: false })
      expect((await load(reading, Lamp('a'))).state).toEqual({ times: 7 })
      await reading.close()
      return messages.splice(0).map(({ action, outcome }) => `${action} ${outcome}`)
    }
    expect(await loadOnly()).toEqual(['read missing', 'write failed'])
    await load(store, Lamp('a'))
    await store.close()
    messages.length = 0
    expect(await loadOnly()).toEqual(['read used'])
    expect(connections).toBe(1)
  })

  test('no snapshot is kept of an event that is deleted at the same time', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const { events } = await store.append({ stream: Lamp('a'), events: switches })
    await store.close()
    const { default: pg } = await import('pg')
    const client = new pg.Client(database.url)
    await client.connect()
    onTestFinished(() => client.end())
    const begin = async (lock: boolean) => {
      await client.query('BEGIN')
      if (lock) {
        await client.query(
          "SELECT pg_advisory_xact_lock(hashtextextended('Lamp-a', 'mneme.positions'::regclass::oid::bigint))",
        )
      }
      await client.query("DELETE FROM mneme.events WHERE stream = 'Lamp-a' AND revision = 6")
    }
    const waits = async () => {
      for (;;) {
        const [row] = await database.query(
          "SELECT count(*) > 0 AS waits FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        if (row?.waits === true) return
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const pool = new pg.Pool({ connectionString: database.url })
    onTestFinished(() => pool.end())
    const adapter = await postgresAdapter(pool, {
      ...{ schema: 'mneme', migrate: false, standbys: false, prepare: true },
      ...{ connectTimeout: 10_000, statementTimeout: 30_000, busyTimeout: 5_000 },
    })
    const snapshot = { stream: 'Lamp-a', name: 'Lamp', revision: 6, id: events[6]!.id, content: '{}' }
    // By those who take the lock of the stream, and by those who do not: then the foreign key sees it.
    for (const lock of [true, false]) {
      await begin(lock)
      let isOver = false
      const putting = adapter.snapshots!.put(snapshot).catch(() => false)
      void putting.then(() => (isOver = true))
      await Promise.race([waits(), putting])
      expect(isOver).toBe(false)
      await client.query('COMMIT')
      expect(await putting).toBe(false)
      expect(await database.query('SELECT stream FROM mneme.snapshots')).toEqual([])
      await client.query(
        `INSERT INTO mneme.events SELECT position + 1, stream, 6, $1, type, version, time, 1, 1, data, metadata
          FROM mneme.events ORDER BY position DESC LIMIT 1`,
        [snapshot.id],
      )
    }
    expect(await adapter.snapshots!.put(snapshot)).toBe(true)
    await adapter.close()
  })
})
