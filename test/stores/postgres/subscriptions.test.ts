import { describe, expect, test } from 'vitest'

import { happened } from '../sqlite/history.ts'
import { sleep, testDatabase, until } from './database.ts'
import { begin } from './open-append.ts'
import { Worker } from './processes.ts'
import { serverProblem } from './server.ts'
import { idsIn, listening, Subscriber } from './subscriber.ts'
import { openUnpolled } from './unpolled.ts'

describe.skipIf(serverProblem)('subscribers while appends are under way', () => {
  test('an append that is not committed holds back the events after it, and none is missed', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open({ busyTimeout: 50 })]
    await writer.append({ stream: 'first', events: [happened()] })
    const subscribers = [new Subscriber(writer), new Subscriber(reader)]
    const open = await begin(database, 'early')
    const early = await open.append()
    const late = await writer.append({ stream: 'late', events: [happened()] })
    // For longer than the reader waits for a busy store.
    await sleep(120)
    for (const { seen } of subscribers) expect(seen.map(({ stream }) => stream)).toEqual(['first'])
    await open.end('COMMIT')
    for (const subscriber of subscribers) {
      await subscriber.has(3)
      expect(subscriber.ids.slice(1)).toEqual([early, late.events[0]!.id])
      expect(subscriber.interruptions).toEqual([])
    }
  })

  test('events behind an append that is rolled back come without a poll', async () => {
    const database = await testDatabase()
    const writer = await database.open()
    const { store: reader } = await openUnpolled(database)
    const subscriber = new Subscriber(reader)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    for (let round = 0; round < 4; round++) {
      const open = await begin(database, 'given-up')
      await open.append()
      await writer.append({ stream: 's', events: [happened()] })
      await sleep(10)
      expect(subscriber.seen).toHaveLength(round)
      if (round % 2 === 0) await open.end('ROLLBACK')
      else await database.query(`SELECT pg_terminate_backend(${open.pid})`)
      await subscriber.has(round + 1)
    }
    expect(await subscriber.stop()).toEqual(await idsIn(database))
  })

  test('the first event of all comes without a poll when the append before it is rolled back', async () => {
    const database = await testDatabase()
    const { store } = await openUnpolled(database)
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    const open = await begin(database, 'given-up')
    await open.append()
    await store.append({ stream: 's', events: [happened()] })
    // For longer than the longest pause between two looks at a log that is held back.
    await sleep(250)
    expect(subscriber.seen).toEqual([])
    await open.end('ROLLBACK')
    await subscriber.has(1)
  })

  test('subscribers that come and go see each event once and in order while writers roll back and lose backends', async () => {
    const database = await testDatabase()
    const stores = await Promise.all([1, 2, 3].map(() => database.open({}, { max: 5 })))
    const whole = stores.map((store) => new Subscriber(store))
    let isOver = false
    let appends = 0
    const work = [
      ...stores.flatMap((store, s) =>
        Array.from({ length: 8 }, async (_, w) => {
          for (let i = 0; !isOver; i++) {
            appends++
            await store.append([
              { stream: `s${s}-${w}`, events: Array.from({ length: 1 + (i % 3) }, () => happened(i)) },
              { stream: `shared-${i % 4}`, events: [happened()] },
            ])
          }
        }),
      ),
      ...[0, 1, 2].map(async (n) => {
        for (let i = 0; !isOver; i++) {
          const open = await begin(database, `own-${n}`)
          await open.append()
          await sleep(i % 7)
          if (i % 3 === 2) await database.query(`SELECT pg_terminate_backend(${open.pid})`)
          else await open.end(i % 3 === 0 ? 'COMMIT' : 'ROLLBACK')
        }
      }),
    ]
    const parts: Subscriber[] = []
    const coming = stores.map(async (store, s) => {
      for (let round = 0; !isOver; round++) {
        const from = whole[s]!.seen[(7 * round) % (whole[s]!.seen.length || 1)]?.position
        const subscriber = new Subscriber(store, { from: from ?? 'start' })
        await sleep((37 * round) % 100)
        await subscriber.stop()
        parts.push(subscriber)
      }
    })
    await until(() => appends >= 600 && parts.length >= 12, 'enough was appended and read', 25_000)
    isOver = true
    await Promise.all([...work, ...coming])
    const ids = await idsIn(database)
    expect(ids.length).toBeGreaterThan(100)
    for (const subscriber of whole) {
      await subscriber.has(ids.length)
      expect(subscriber.ids).toEqual(ids)
    }
    for (const { ids: seen, failure } of parts) {
      expect(failure).toBeUndefined()
      const start = ids.indexOf(seen[0] ?? '')
      expect(seen).toEqual(start < 0 ? [] : ids.slice(start, start + seen.length))
    }
  })
})

describe.skipIf(serverProblem)('live events', () => {
  test('events of another process and of this one arrive without a poll', async () => {
    const database = await testDatabase()
    const { store } = await openUnpolled(database)
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    const worker = new Worker('drip', database.url, 20, 10)
    await worker.result()
    await subscriber.has(20)
    for (let i = 1; i <= 20; i++) {
      await store.append({ stream: 's', events: [happened(i)] })
      await subscriber.has(20 + i)
    }
    expect(await subscriber.stop()).toEqual(await idsIn(database))
  })

  test('each event that comes alone costs one round trip', async () => {
    const database = await testDatabase()
    const writer = await database.open()
    const { store, sent } = await openUnpolled(database)
    const subscriber = new Subscriber(store, { streams: ['s'] })
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    await sleep(50)
    const before = sent()
    for (let i = 1; i <= 30; i++) {
      await writer.append({ stream: 's', events: [happened(i)] })
      await subscriber.has(i)
    }
    // Asking for the horizon, the events and the event at the horizon one by one would take three.
    expect(sent() - before).toBeLessThan(30 * 2)
  })

  test('events that nobody notifies arrive by the poll', async () => {
    const database = await testDatabase()
    const { store } = await openUnpolled(database, { pollIntervals: { aloneMs: 50, listeningMs: 50 } })
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    // As code that does not notify.
    const open = await begin(database, 's')
    for (let i = 0; i < 3; i++) {
      await open.append()
      await open.end('COMMIT')
      await subscriber.has(i + 1)
    }
  })

  test('a hundred subscribers share one connection that listens, and cost nothing while nothing happens', async () => {
    const database = await testDatabase()
    const writer = await database.open()
    const { store, sent } = await openUnpolled(database, {}, { application_name: 'hundred' })
    const timers = countTimers()
    const subscribers = Array.from({ length: 100 }, () => new Subscriber(store))
    await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
    await listening(database, 1)
    for (let i = 0; i < 50; i++) await writer.append({ stream: `s-${i % 3}`, events: [happened(i)] })
    await Promise.all(subscribers.map((subscriber) => subscriber.has(50)))
    await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
    await until(() => countTimers() - timers < 10, 'the timers of what was under way are gone', 60_000)
    const sessions = await sessionsOf('hundred')
    let before = -1
    const isQuiet = async () => {
      const was = before
      before = sent()
      await sleep(300)
      return was === before && sent() === before
    }
    await until(isQuiet, 'nothing more is sent to the server', 60_000)
    expect(await sessionsOf('hundred')).toBeLessThanOrEqual(sessions)
    const ids = await idsIn(database)
    for (const subscriber of subscribers) expect(await subscriber.stop()).toEqual(ids)
    await listening(database, 0)

    async function sessionsOf(name: string): Promise<number> {
      const [row] = await database.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = '${name}'`,
      )
      return row!.n as number
    }
  })

  test('a filter passes a long stretch without a match, and the events behind it arrive', async () => {
    const database = await testDatabase()
    const store = await database.open()
    // Every tenth number is used: a page looks at a range of numbers, however many of them have an event.
    await database.query(`
      INSERT INTO mneme.events (position, stream, revision, id, type, version, time, data, metadata, type_run, category_run)
        SELECT (n * 10 + 2)::bigint << 16, CASE n WHEN 0 THEN 'few-1' ELSE 'many-1' END, greatest(n - 1, 0),
            gen_random_uuid(), 'Other', 1, now(), '{}', '{}', 1, 1 FROM generate_series(0, 29999) n;
      SELECT setval('mneme.positions', 300000); ANALYZE mneme.events`)
    const subscriber = new Subscriber(store, { categories: ['few'] })
    await subscriber.subscription.caughtUp()
    const { position } = subscriber.subscription.checkpoint!
    expect(position).toBe(await store.logHead())
    const other = await database.open()
    await other.append({ stream: 'few-2', events: [happened()] })
    await subscriber.has(2)
    const again = new Subscriber(store, { from: position, categories: ['few'] })
    await again.has(1)
    expect(again.ids).toEqual(subscriber.ids.slice(1))
  })
})

function countTimers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
}
