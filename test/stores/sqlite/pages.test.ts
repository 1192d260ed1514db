import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { StoredEvent } from 'mneme/adapter'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { coreOf } from '../../../src/store/create-store.ts'
import { drivers } from './drivers.ts'
import { faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'
import { happened } from './history.ts'

const all = {
  direction: 'forwards',
  after: undefined,
  to: undefined,
  limit: undefined,
  streams: undefined,
  categories: undefined,
  types: undefined,
} as const

describe.each(drivers)('reading pages with $name', ({ driver }) => {
  test('a page is bounded by its events and by their size', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver })
    const { adapter } = coreOf(store)
    const large = Array.from({ length: 8 }, (_, i) => happened(i, 1_500_000))
    const small = Array.from({ length: 1500 }, (_, i) => happened(i))
    for (const events of [small, large, small.map(({ data }) => ({ type: 'Happened', data }))]) {
      await store.append({ stream: 's', events })
    }
    const total = small.length * 2 + large.length
    for (const direction of ['forwards', 'backwards'] as const) {
      for (const pages of [
        await drain(adapter.readAll({ ...all, direction })),
        await drain(
          adapter.read({ stream: 's', direction, from: undefined, to: undefined, limit: undefined }),
        ),
      ]) {
        for (const page of pages) {
          expect(page.length).toBeLessThanOrEqual(1024)
          const sizes = page.map(({ data }) => data.length)
          expect(sizes.slice(0, -1).reduce((sum, size) => sum + size, 0)).toBeLessThan(1024 * 1024)
        }
        const revisions = pages.flat().map(({ revision }) => revision)
        const expected = Array.from({ length: total }, (_, i) => i)
        expect(revisions).toEqual(direction === 'forwards' ? expected : expected.reverse())
      }
    }
    await store.close()
  })

  test('keeping the id of an event does not keep its data in memory', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver })
    const [count, size] = [10_000, 900]
    const events = Array.from({ length: count }, (_, i) => happened(i, size))
    await store.append({ stream: 's', events })
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    collect()
    const before = process.memoryUsage().heapUsed
    const ids: string[] = []
    for await (const { id } of store.readAll()) ids.push(id)
    collect()
    expect((process.memoryUsage().heapUsed - before) / count).toBeLessThan(size / 2)
    expect(ids).toHaveLength(count)
    await store.close()
  })

  test('reading holds nothing open between pages: the write-ahead log can be truncated', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    for (const size of [10, 900_000]) {
      await store.append({
        stream: 's',
        events: Array.from({ length: 600 / (size > 10 ? 100 : 1) }, (_, i) => happened(i, size)),
      })
    }
    const other = driver(file)
    for (const reader of [store.readAll(), store.read('s'), store.readAll({ direction: 'backwards' })]) {
      await reader.next()
      expect(other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()).toMatchObject({ busy: 0 })
    }
    other.close()
    await store.close()
  })

  test('a filter that rarely matches scans on, and timers fire meanwhile', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver, synchronous: 'normal' })
    const events = Array.from({ length: 10_000 }, (_, i) => ({ type: 'Happened', data: { i } }))
    for (let i = 0; i < 6; i++) await store.append({ stream: `many-${i}`, events })
    await store.append({ stream: "odd'; --%_-1", events: [{ type: 'Rare', data: {} }] })
    await store.append({ stream: 'many', events: [happened()] })
    const found = async (options: object) => {
      let ticks = 0
      const timer = setInterval(() => ticks++, 1)
      const streams = (await drain(store.readAll(options))).map(({ stream }) => stream)
      clearInterval(timer)
      return { streams, ticks }
    }
    const rare = await found({ types: ['Rare'] })
    expect(rare.streams).toEqual(["odd'; --%_-1"])
    expect(rare.ticks).toBeGreaterThan(0)
    expect((await found({ categories: ["odd'; "] })).streams).toEqual(["odd'; --%_-1"])
    expect((await found({ streams: ['many', "odd'; --%_-1"], direction: 'backwards' })).streams).toEqual([
      'many',
      "odd'; --%_-1",
    ])
    expect((await found({ streams: ['many'], categories: ["odd'; "] })).streams).toEqual([
      "odd'; --%_-1",
      'many',
    ])
    expect((await found({ categories: ['many'] })).streams).toHaveLength(60_001)
    expect((await found({ types: [] })).streams).toEqual([])
    await store.close()
  })

  test('hostile names and data are read as they were written', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver })
    const streams = [
      "'; DROP TABLE mneme_events; --",
      '%',
      '_',
      '"',
      '`',
      '𝒳-\u{10FFFF}',
      'é',
      'e\u0301',
      'x'.repeat(512),
      '{"a":1}',
      'x-',
      '1e5',
      '0x10',
      'NULL',
    ]
    for (const stream of streams) {
      const text = `${stream}\0\u2028\uFEFF\uD800'"`
      await store.append({
        stream,
        events: [{ type: 'Happened', data: { text, [stream]: [text, 1e308, 5e-324, -1.5] } }],
        expected: 'none',
      })
      const [event] = await drain(store.read(stream))
      expect(event).toMatchObject({
        stream,
        revision: 0,
        data: { text, [stream]: [text, 1e308, 5e-324, -1.5] },
      })
    }
    expect((await drain(store.readAll({ streams }))).map(({ stream }) => stream)).toEqual(streams)
    await store.close()
  })
})

async function drain<T extends { stream: string } | readonly StoredEvent[]>(
  items: AsyncIterable<T>,
): Promise<T[]> {
  const drained: T[] = []
  for await (const item of items) drained.push(item)
  return drained
}

test.each(drivers)(
  'a stream that gets its first event while it is read was not erased, with $name',
  async ({ driver }) => {
    const file = join(testFolder(), 'bank.db')
    let isRead = false
    const late = faultyDriver(driver, ({ method, sql }) => {
      if (method === 'all' && sql.includes('FROM mneme_events')) isRead = true
      else if (isRead && sql.startsWith('SELECT max(revision)')) {
        isRead = false
        const other = driver(file)
        other
          .prepare(
            `INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata)
            VALUES ('Account-a', 0, ?, 'Account.Opened', 1, ?, '{}', '{}')`,
          )
          .run(crypto.randomUUID(), new Date().toISOString())
        other.close()
      }
      return undefined
    })
    const store = await sqliteStore(file, { driver: late })
    const account = {
      stream: 'Account-a',
      direction: 'forwards',
      from: 0,
      to: undefined,
      limit: undefined,
    } as const
    // An empty page would say that its events were erased.
    expect(await drain(coreOf(store).adapter.read(account))).toEqual([])
    expect(await drain(coreOf(store).adapter.read(account))).toMatchObject([[{ revision: 0 }]])
    await store.close()
  },
)
