import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { sleep, testDatabase, until, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'

/** The backends of stores, and what they hold open. */
function sessionsOf(database: TestDatabase): Promise<Record<string, unknown>[]> {
  return database.query(`SELECT pid, state, backend_xmin::text, backend_xid::text, xact_start::text FROM pg_stat_activity
    WHERE application_name = 'mneme' AND datname = current_database()`)
}

async function* pagesOf(events: AsyncIterable<{ readonly position: string }>, size = 500) {
  let count = 0
  for await (const event of events) if (++count % size === 0) yield event
}

async function countOf(events: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of events) count++
  return count
}

/** Events as large as they may be, made where that takes no time. */
const LARGE = `'large', n - 2, gen_random_uuid(), 'Happened', 1, now(), json_build_object('text', repeat('x', 4000000)), '{}'`

describe.skipIf(serverProblem)('pages', () => {
  test('between two pages no transaction and no snapshot is held open', async () => {
    const database = await testDatabase()
    const store = await database.open()
    for (let i = 0; i < 6; i++) {
      await store.append({ stream: 'cat-s', events: Array.from({ length: 500 }, () => happened(i)) })
    }
    const readings = () => [
      store.readAll(),
      store.readAll({ direction: 'backwards' }),
      store.readAll({ categories: ['cat'], types: ['Happened'] }),
      store.readAll({ streams: ['cat-s'] }),
      store.read('cat-s'),
      store.read('cat-s', { direction: 'backwards' }),
    ]
    let looks = 0
    for (const events of readings()) {
      for await (const _ of pagesOf(events)) {
        looks++
        for (const session of await sessionsOf(database)) {
          expect(session).toMatchObject({
            state: 'idle',
            backend_xmin: null,
            backend_xid: null,
            xact_start: null,
          })
        }
      }
    }
    expect(looks).toBe(6 * 6)
    // A hundred readers that are left unread hold nothing, not even a connection.
    const open = Array.from({ length: 20 }, readings).flat()
    await Promise.all(open.map((events) => events.next()))
    await store.append({ stream: 'cat-s', events: [happened()] })
    await store.close()
    await until(async () => (await sessionsOf(database)).length === 0, 'no connection is left')
  })

  test('pages of events of 4 MB each fit into 40 MB of memory', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await database.fill(13, LARGE)
    // What is in use, without what nobody needs any more.
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const used = () => {
      collect()
      const { arrayBuffers, heapUsed } = process.memoryUsage()
      return arrayBuffers + heapUsed
    }
    for (const events of [
      store.readAll({ types: ['Happened'] }),
      store.read('large', { direction: 'backwards' }),
    ]) {
      let [count, most] = [0, 0]
      const before = used()
      for await (const { data } of events) {
        expect((data as { text: string }).text.length).toBe(4_000_000)
        if (++count % 2 === 0) most = Math.max(most, used() - before)
      }
      expect(count).toBe(12)
      expect(most).toBeLessThan(40e6)
    }
  })

  test('a page reads the data of the events that it gives, not of those after them', async () => {
    const database = await testDatabase()
    await (await database.open()).close()
    await database.fill(31, LARGE)
    const blocksRead = async () => {
      const [row] = await database.query(`
        SELECT toast_blks_hit + toast_blks_read AS blocks FROM pg_statio_all_tables
          WHERE relid = 'mneme.events'::regclass`)
      return Number(row!.blocks)
    }
    /** Blocks of large values that the server reads for the first event of so many. */
    const blocksFor = async (limit: number) => {
      const before = await blocksRead()
      const store = await database.open({}, { max: 1 })
      for await (const _ of store.read('large', { limit })) break
      // A session that ends has reported what it did.
      await store.close()
      await until(async () => (await sessionsOf(database)).length === 0, 'its session has ended')
      return (await blocksRead()) - before
    }
    const one = await blocksFor(1)
    expect(one).toBeGreaterThan(0)
    expect(await blocksFor(30)).toBeLessThan(5 * one)
  })

  test('a reader whose connections are ended again and again gets each event once', async () => {
    const database = await testDatabase()
    const store = await database.open()
    for (let i = 0; i < 10; i++) {
      await store.append({
        stream: `s-${i % 2}`,
        events: Array.from({ length: 500 }, () => happened(i, 200)),
      })
    }
    const all = await historyOf(store)
    let isOver = false
    let ended = 0
    const killer = (async () => {
      while (!isOver) {
        const rows = await database.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'mneme' AND datname = current_database()`)
        ended += rows.length
        // Some have the time to connect and to read a page, even on a slow machine.
        await sleep(Math.random() * 80)
      }
    })()
    for (let round = 0; round < 3 || ended <= 5; round++) {
      const seen: string[] = []
      for await (const { id } of store.readAll()) {
        if (seen.push(id) % 500 === 0) await sleep(10)
      }
      expect(seen).toEqual(all.map(({ id }) => id))
      const stream: string[] = []
      for await (const { id } of store.read('s-1')) stream.push(id)
      expect(stream).toEqual(all.filter((event) => event.stream === 's-1').map(({ id }) => id))
      expect(await store.head('s-1')).toBe(2_499)
    }
    isOver = true
    await killer
  })

  test('40 readers at once and an append share three connections', async () => {
    const database = await testDatabase()
    const store = await database.open({}, { max: 3 })
    for (let i = 0; i < 4; i++) {
      await store.append({ stream: 's', events: Array.from({ length: 500 }, () => happened(i)) })
    }
    const readers = Array.from({ length: 40 }, () => countOf(store.readAll()))
    await store.append({ stream: 's', events: [happened()] })
    for (const count of await Promise.all(readers)) expect(count).toBeGreaterThanOrEqual(2_000)
  })
})
