import type { EventStore, ReadAllOptions } from 'mneme'
import { describe, expect, test } from 'vitest'

import { Selection } from '../../../src/stores/postgres/filter.ts'
import { categoryOf } from '../../../src/model/names.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, until, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'
import { Subscriber } from './subscriber.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

async function idsOf(store: EventStore, options: ReadAllOptions): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.readAll(options)) ids.push(id)
  return ids
}

/** How often the index of streams was used, by sessions that have ended. */
async function lookUps(database: TestDatabase): Promise<number> {
  await until(
    async () =>
      (
        await database.query(
          `SELECT FROM pg_stat_activity WHERE application_name = 'mneme' AND datname = current_database()`,
        )
      ).length === 0,
    'the sessions have ended',
  )
  const [row] = await database.query(
    `SELECT idx_scan::int AS n FROM pg_stat_all_indexes WHERE indexrelid = 'mneme.events_stream_revision'::regclass`,
  )
  return row!.n as number
}

describe.skipIf(serverProblem)('filters of many names', () => {
  test('a filter of 5,000 streams does not look up each stream for each page', async () => {
    const database = await testDatabase()
    await (await database.open()).close()
    await database.fill(
      6_000,
      `'account-' || n % 1000, n / 1000, gen_random_uuid(), 'Happened', 1, now(), '{}', '{}'`,
    )
    const before = await lookUps(database)
    const store = await database.open()
    const streams = numbers(5_000).map((n) => `account-${n}`)
    expect(await idsOf(store, { streams })).toHaveLength(5_999)
    expect(await idsOf(store, { streams, direction: 'backwards' })).toHaveLength(5_999)
    const subscriber = new Subscriber(store, { streams })
    await subscriber.has(5_999)
    await store.append({ stream: 'account-7', events: [happened()] })
    await subscriber.has(6_000)
    await subscriber.stop()
    await store.close()
    // The append looks up its stream.
    expect((await lookUps(database)) - before).toBeLessThan(100)
  })

  test('filters give the same events, whether their names are many or few, and wherever they are rare', async () => {
    const database = await testDatabase()
    const store = await database.open()
    for (const i of numbers(40)) {
      await store.append(
        numbers(20)
          .map((k) => ({
            stream: `${i % 4 === 0 ? 'rare' : 'often'}${k % 3}-${(i * k) % 17}`,
            events: numbers(1 + (k % 2)).map((n) => ({ ...happened(n), type: `T${(i + n) % 5}` })),
          }))
          .filter(({ stream }, at, all) => all.findIndex((other) => other.stream === stream) === at),
      )
    }
    // A stretch without a match, for which a filter changes over to looking names up.
    await database.query(`SELECT setval('mneme.positions', 200000)`)
    await store.append({ stream: 'rare1-3', events: [{ ...happened(), type: 'T1' }] })
    await store.append({ stream: 'often2-1', events: [{ ...happened(), type: 'T2' }] })
    const history = await historyOf(store)
    const absent = numbers(100).map((n) => `nowhere-${n}`)
    const filters = [
      { streams: ['rare1-3', 'often2-1', 'rare0-0'] },
      { streams: ['rare1-3'], categories: ['often2'] },
      { categories: ['rare0', 'rare1'], types: ['T1', 'T3'] },
      { types: ['T4'] },
      { streams: ['often1-1', 'rare1-3'], categories: ['rare2'], types: ['T0', 'T1', 'T2'] },
    ]
    for (const { streams, categories, types } of filters) {
      const wanted = history.filter(
        ({ stream, type }) =>
          (types?.includes(type) ?? true) &&
          ((!streams && !categories) ||
            (streams?.includes(stream) ?? false) ||
            (categories?.includes(categoryOf(stream)) ?? false)),
      )
      for (const many of [[], absent]) {
        const filter = {
          ...(streams && { streams: [...streams, ...many] }),
          ...(categories && { categories: [...categories, ...many.map((name) => name.replace('-', '_'))] }),
          ...(types && { types: [...types, ...many] }),
        }
        const ids = wanted.map(({ id }) => id)
        expect(await idsOf(store, filter)).toEqual(ids)
        expect(await idsOf(store, { ...filter, direction: 'backwards' })).toEqual(ids.toReversed())
        const { position } = wanted[wanted.length >> 1]!
        expect(await idsOf(store, { ...filter, after: position, limit: 7 })).toEqual(
          wanted
            .filter((event) => event.position > position)
            .map(({ id }) => id)
            .slice(0, 7),
        )
        const subscriber = new Subscriber(store, filter)
        await subscriber.has(ids.length)
        expect(await subscriber.stop()).toEqual(ids)
      }
    }
  })
})

describe('the span of a page', () => {
  const many = new Selection(
    { streams: numbers(1_000).map(String), categories: undefined, types: undefined },
    'forwards',
    false,
  )
  const few = new Selection(
    { streams: ['a', 'b'], categories: undefined, types: undefined },
    'forwards',
    false,
  )

  test('a filter of many names begins by reading all events of a span, and looks its names up in longer ones', () => {
    const first = many.statementsFor(many.firstSpan)
    const longer = many.nextSpan(many.firstSpan, true, many.firstSpan)
    expect(longer).toBe(many.firstSpan * 4)
    expect(many.statementsFor(longer)).not.toBe(first)
    // In a part of the log where its names are frequent it reads all events again.
    expect(many.statementsFor(many.nextSpan(longer, false, 1_000))).toBe(first)
    expect(many.nextSpan(longer, false, longer / 2)).toBe(longer)
  })

  test('a filter of few names always looks them up', () => {
    expect(few.statementsFor(1)).toBe(few.statementsFor(few.firstSpan))
    expect(few.statementsFor(few.nextSpan(few.firstSpan, false, 10))).toBe(few.statementsFor(1))
  })
})
