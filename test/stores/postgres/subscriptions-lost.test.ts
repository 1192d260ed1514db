import { getEventListeners } from 'node:events'
import { postgresStore } from 'mneme/postgres'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import { startProxy } from '../../support/proxy.ts'
import { happened } from '../sqlite/history.ts'
import { sleep, testDatabase, TestDatabase, until } from './database.ts'
import { Worker } from './processes.ts'
import { ownServerProblem, serverProblem, startServer } from './server.ts'
import { countListening, idsIn, listening, Subscriber } from './subscriber.ts'

/** Ends the sessions that listen; how many there were. */
async function endListening(database: TestDatabase): Promise<number> {
  const rows = await database.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'
      AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  return rows.length
}

describe.skipIf(serverProblem)('the connection that listens', () => {
  test('a connection that listens and is ended again and again is replaced, and no event is missed', async () => {
    const database = await testDatabase()
    const [writer, store] = [await database.open(), await database.open()]
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    for (let round = 0; round < 3; round++) {
      await listening(database, 1)
      expect(await endListening(database)).toBe(1)
      for (let i = 0; i < 5; i++) await writer.append({ stream: 's', events: [happened(i)] })
    }
    await listening(database, 1)
    await subscriber.has(15)
    expect(subscriber.ids).toEqual(await idsIn(database))
    expect(subscriber.interruptions).toEqual([])
  })

  test('the connection that listens is given back when the store is closed, even while it is being taken', async () => {
    const database = await testDatabase()
    const pool = new pg.Pool({ connectionString: database.url, max: 5 })
    onTestFinished(() => pool.end())
    const errors: unknown[] = []
    pool.on('error', (error) => errors.push(error))
    for (const wait of [0, 1, 2, 4, 8, 16, 50, 'listening'] as const) {
      const store = await postgresStore(pool)
      const subscriber = new Subscriber(store)
      const signal = new AbortController()
      const other = new Subscriber(store, { signal: signal.signal })
      await subscriber.subscription.caughtUp()
      await (wait === 'listening' ? listening(database, 1) : sleep(wait))
      await store.append({ stream: 's', events: [happened()] })
      await store.close()
      expect([subscriber.failure, other.failure]).toEqual([undefined, undefined])
      expect(getEventListeners(signal.signal, 'abort')).toHaveLength(0)
      await until(() => pool.idleCount === pool.totalCount, 'all connections are given back')
    }
    await listening(database, 0)
    expect(errors).toEqual([])
    // None of those that were given back still listens.
    const { rows } = await pool.query('SELECT pg_listening_channels()')
    expect(rows).toEqual([])
  })

  test('a store on a small pool polls, and keeps every connection for appends and reads', async () => {
    const database = await testDatabase()
    const writer = await database.open()
    for (const max of [1, 2]) {
      const store = await database.open({}, { max })
      const subscriber = new Subscriber(store)
      await subscriber.subscription.caughtUp()
      for (let i = 0; i < 10; i++) {
        await (i % 2 === 0 ? store : writer).append({ stream: `s-${max}`, events: [happened(i)] })
      }
      const ids = await idsIn(database)
      await subscriber.has(ids.length)
      expect(subscriber.ids).toEqual(ids)
      expect(await countListening(database)).toBe(0)
    }
  })
})

describe.skipIf(serverProblem)('a network that cuts every connection again and again', () => {
  test('subscribers of several processes see the whole log although every connection is cut again and again', async () => {
    const database = await testDatabase()
    const proxy = await startProxy(database.server.port)
    const writer = await database.open()
    const stores = await Promise.all(
      [1, 2].map(() => database.open({}, { connectionString: proxy.url(database.url) })),
    )
    const subscribers = stores.flatMap((store) => [
      new Subscriber(store),
      new Subscriber(store, { categories: ['s'] }),
      new Subscriber(store, { types: ['Other'] }),
    ])
    for (let i = 0; i < 180; i++) {
      await writer.append({ stream: `${i % 2 === 0 ? 's' : 't'}-${i % 5}`, events: [happened(i)] })
      if (i % 10 === 0) await writer.append({ stream: 'u', events: [{ ...happened(i), type: 'Other' }] })
      await sleep(3)
      if (i % 30 === 29) proxy.cut()
    }
    const rows = await database.query('SELECT e.id::text, stream, type FROM mneme.events e ORDER BY position')
    const wanted = [
      rows,
      rows.filter(({ stream }) => String(stream).startsWith('s-')),
      rows.filter(({ type }) => type === 'Other'),
    ].map((part) => part.map(({ id }) => id))
    expect(wanted[2]!.length).toBeGreaterThan(5)
    for (const [i, subscriber] of subscribers.entries()) {
      await subscriber.has(wanted[i % 3]!.length)
      expect(subscriber.ids).toEqual(wanted[i % 3])
    }
  })
})

describe.skipIf(ownServerProblem)('a server that goes away', () => {
  test('writers and subscribers continue by themselves after the server stops, crashes and returns', async () => {
    const server = await startServer()
    onTestFinished(() => server.destroy())
    const database = new TestDatabase(server, await server.createDatabase())
    const stores = await Promise.all([1, 2].map(() => database.open({ connectTimeout: 1_000 })))
    const subscribers = stores.map((store) => new Subscriber(store))
    let isOver = false
    const writers = stores.map(async (store, s) => {
      for (let i = 0; !isOver; i++) {
        await store.append({ stream: `s-${s}`, events: [happened(i)] }).catch(() => sleep(20))
        await sleep(2)
      }
    })
    for (const mode of ['immediate', 'fast', 'immediate'] as const) {
      const seen = subscribers.map((subscriber) => subscriber.seen.length)
      await until(
        () => subscribers.every((subscriber, i) => subscriber.seen.length > seen[i]! + 5),
        'subscribers see new events',
        20_000,
      )
      const told = subscribers.map(({ interruptions }) => interruptions.length)
      await server.stop(mode)
      if (mode === 'immediate') {
        await until(
          () => subscribers.every(({ interruptions }, i) => interruptions.length > told[i]!),
          'subscribers are told of the interruption',
        )
      }
      await server.start()
    }
    isOver = true
    await Promise.all(writers)
    await until(async () => (await countListening(database)) === 2, 'both listen again', 20_000)
    const worker = new Worker('drip', database.url, 5, 1)
    await worker.result()
    const ids = await idsIn(database)
    for (const subscriber of subscribers) {
      await subscriber.has(ids.length, 20_000)
      expect(subscriber.ids).toEqual(ids)
      expect(new Set(subscriber.interruptions.map(({ code }) => code))).toEqual(
        new Set(['STORE_UNAVAILABLE']),
      )
    }
  })

  test('a subscription and its store can be ended while the server is gone for good', async () => {
    const server = await startServer()
    onTestFinished(() => server.destroy())
    const database = new TestDatabase(server, await server.createDatabase())
    // Longer than the test may take: neither the subscription nor the store waits for a connection.
    const store = await postgresStore(database.url, { connectTimeout: 3_600_000 })
    const subscriber = new Subscriber(store)
    await store.append({ stream: 's', events: [happened()] })
    await subscriber.has(1)
    await server.stop('immediate')
    await sleep(100)
    await subscriber.stop()
    await store.close()
  })
})
