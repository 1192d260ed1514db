import { postgresStore } from 'mneme/postgres'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import { POLL_BEHIND } from '../../../src/stores/postgres/subscribe.ts'
import { happened } from '../sqlite/history.ts'
import { sleep, testDatabase } from './database.ts'
import { begin } from './open-append.ts'
import { Worker } from './processes.ts'
import { serverProblem } from './server.ts'
import { idsIn, listening, Subscriber } from './subscriber.ts'

describe.skipIf(serverProblem)('subscribers and writers that are not done', () => {
  test('an event whose append is not committed holds back those after it; none is missed', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open({ busyTimeout: 50 })]
    await writer.append({ stream: 'first', events: [happened()] })
    const subscribers = [new Subscriber(writer), new Subscriber(reader)]
    const open = await begin(database, 'early')
    const early = await open.append()
    const late = await writer.append({ stream: 'late', events: [happened()] })
    // For longer than anything waits for a busy store.
    await sleep(300)
    for (const { seen } of subscribers) expect(seen.map(({ stream }) => stream)).toEqual(['first'])
    await open.end('COMMIT')
    for (const subscriber of subscribers) {
      await subscriber.has(3)
      expect(subscriber.ids.slice(1)).toEqual([early, late.events[0]!.id])
      expect(subscriber.interruptions).toEqual([])
    }
  })

  test('one that is given up without a word delays what comes after it by less than the poll', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open()]
    const subscriber = new Subscriber(reader)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    const delays: number[] = []
    for (let round = 0; round < 6; round++) {
      const open = await begin(database, 'given-up')
      await open.append()
      await writer.append({ stream: 's', events: [happened()] })
      await sleep(10)
      expect(subscriber.seen).toHaveLength(round)
      if (round % 2 === 0) await open.end('ROLLBACK')
      else await database.query(`SELECT pg_terminate_backend(${open.pid})`)
      const ended = performance.timeOrigin + performance.now()
      await subscriber.has(round + 1)
      delays.push(subscriber.times.at(-1)! - ended)
    }
    expect(await subscriber.stop()).toEqual(await idsIn(database))
    expect(median(delays)).toBeLessThan(POLL_BEHIND / 4)
  })

  test('nor does one that is given up before anything was appended', async () => {
    const delays: number[] = []
    for (let round = 0; round < 5; round++) {
      const database = await testDatabase()
      const store = await database.open()
      const subscriber = new Subscriber(store)
      await subscriber.subscription.caughtUp()
      await listening(database, 1)
      const open = await begin(database, 'given-up')
      await open.append()
      await store.append({ stream: 's', events: [happened()] })
      await sleep(150)
      expect(subscriber.seen).toEqual([])
      await open.end('ROLLBACK')
      const ended = performance.timeOrigin + performance.now()
      await subscriber.has(1)
      delays.push(subscriber.times[0]! - ended)
    }
    expect(median(delays)).toBeLessThan(POLL_BEHIND / 4)
  })

  test('eight writers, rollbacks and ended backends: who comes and goes sees each event once, in order', async () => {
    const database = await testDatabase()
    const stores = await Promise.all([1, 2, 3].map(() => database.open({}, { max: 5 })))
    const whole = stores.map((store) => new Subscriber(store))
    let isOver = false
    const work = [
      ...stores.flatMap((store, s) =>
        Array.from({ length: 8 }, async (_, w) => {
          for (let i = 0; !isOver; i++) {
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
      while (!isOver) {
        const from = whole[s]!.seen[Math.floor(Math.random() * whole[s]!.seen.length)]?.position
        const subscriber = new Subscriber(store, { from: from ?? 'start' })
        await sleep(Math.random() * 100)
        await subscriber.stop()
        parts.push(subscriber)
      }
    })
    await sleep(2_000)
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

describe.skipIf(serverProblem)('events come live', () => {
  test('from another process, and from this one, much faster than by a poll', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    const worker = new Worker('drip', database.url, 40, 15)
    const acknowledged = await worker.result<number[]>()
    await subscriber.has(40)
    const delays = acknowledged.map((time, i) => subscriber.times[i]! - time)
    expect(median(delays)).toBeLessThan(POLL_BEHIND / 4)

    const own: number[] = []
    for (let i = 0; i < 20; i++) {
      await store.append({ stream: 's', events: [happened(i)] })
      const time = performance.timeOrigin + performance.now()
      await subscriber.has(41 + i)
      own.push(subscriber.times.at(-1)! - time)
    }
    expect(median(own)).toBeLessThan(POLL_BEHIND / 4)
    expect(await subscriber.stop()).toEqual(await idsIn(database))
  })

  test('by one round trip each', async () => {
    const database = await testDatabase()
    const writer = await database.open()
    const pool = new pg.Pool({ connectionString: database.url })
    let trips = 0
    pool.on('connect', (client: { query: (...sent: unknown[]) => unknown }) => {
      const query = client.query.bind(client)
      client.query = (...sent) => {
        trips++
        return query(...sent)
      }
    })
    const store = await postgresStore(pool)
    onTestFinished(async () => {
      await store.close()
      await pool.end()
    })
    const subscriber = new Subscriber(store, { streams: ['s'] })
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    await sleep(100)
    const [before, started] = [trips, performance.now()]
    for (let i = 1; i <= 30; i++) {
      await writer.append({ stream: 's', events: [happened(i)] })
      await subscriber.has(i)
    }
    const polls = Math.ceil((performance.now() - started) / POLL_BEHIND)
    // Without that it would be three.
    expect(trips - before).toBeLessThan(30 * 2 + polls)
  })

  test('also where the notifications are lost, by the poll behind them', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    // As code that does not notify.
    const open = await begin(database, 's')
    for (let i = 0; i < 3; i++) {
      await open.append()
      await open.end('COMMIT')
      const time = performance.timeOrigin + performance.now()
      await subscriber.has(i + 1)
      expect(subscriber.times.at(-1)! - time).toBeLessThan(POLL_BEHIND * 2)
    }
  })

  test('to a hundred subscribers by one connection, which is given back with the last of them', async () => {
    const database = await testDatabase()
    const [writer, store] = [await database.open(), await database.open({}, { application_name: 'hundred' })]
    const subscribers = Array.from({ length: 100 }, () => new Subscriber(store))
    await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
    await listening(database, 1)
    for (let i = 0; i < 50; i++) await writer.append({ stream: `s-${i % 3}`, events: [happened(i)] })
    await Promise.all(subscribers.map((subscriber) => subscriber.has(50)))
    // They idle.
    await sleep(1_000)
    const before = process.cpuUsage()
    const sessions = await sessionsOf('hundred')
    await sleep(2_000)
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 2_000_000).toBeLessThan(0.05)
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

  test('with a filter that a long stretch does not match: it is passed once, and what follows comes', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const columns = `CASE n WHEN 2 THEN 'few-1' ELSE 'many-' || n % 10 END, n / 10, gen_random_uuid()`
    await database.fill(300_000, `${columns}, 'Other', 1, now(), '{}', '{}'`)
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

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}
