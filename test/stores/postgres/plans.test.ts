import type { EventStore, ReadAllOptions, SubscribeOptions } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { TestDatabase, until } from './database.ts'
import { serverProblem, testServer } from './server.ts'

describe.skipIf(serverProblem)('plans on 200,000 events', () => {
  let database: TestDatabase
  let store: EventStore
  let pool: pg.Pool
  const plans: string[] = []

  beforeAll(async () => {
    const server = await testServer()
    database = new TestDatabase(server, await server.createDatabase())
    // What is read is planned by the server as the store asks for it: it notes the plans of what it runs.
    await database.set('session_preload_libraries = auto_explain')
    pool = new pg.Pool({
      connectionString: database.url,
      max: 1,
      options:
        '-c auto_explain.log_min_duration=0 -c auto_explain.log_nested_statements=off -c client_min_messages=log -c auto_explain.log_analyze=on -c auto_explain.log_timing=off',
    })
    pool.on('error', () => undefined)
    pool.on('connect', (client) => {
      client.on('notice', ({ message }) => {
        if (message?.includes('Query Text')) plans.push(message)
      })
    })
    store = await postgresStore(pool)
    await database.fill(
      200_000,
      `CASE WHEN n % 1000 = 0 THEN 'rare-' || n % 5000 WHEN n % 2 = 0 THEN 'even-' || n % 200 ELSE 'odd-' || n END,
        CASE WHEN n % 1000 = 0 THEN n / 5000 WHEN n % 2 = 0 THEN n / 200 ELSE 0 END,
        '00000000-0000-4000-8000-000000000000'::uuid,
        CASE WHEN n % 5000 = 7 THEN 'Rare' ELSE 'Common' || n % 3 END, 1, now(), '{"n":1}', '{}'`,
    )
  })

  afterAll(async () => {
    await store.close()
    await pool.end()
  })

  const middle = String(100_000n << 16n).padStart(19, '0')

  test.each<[string, string, ReadAllOptions, number]>([
    ['everything', 'events_pkey', { limit: 1_000 }, 1_000],
    ['everything, from the middle', 'events_pkey', { after: middle, limit: 1_000 }, 1_000],
    ['everything, backwards', 'events_pkey', { direction: 'backwards', limit: 1_000 }, 1_000],
    ['a rare category', 'events_category', { categories: ['rare'] }, 1_000],
    ['a common category', 'events_category', { categories: ['even'], limit: 1_000 }, 1_000],
    ['a category, from the middle', 'events_category', { categories: ['rare'], after: middle }, 1_000],
    [
      'a category, backwards',
      'events_category',
      { categories: ['even'], direction: 'backwards', limit: 500 },
      1_000,
    ],
    ['two categories', 'events_category', { categories: ['rare', 'even'], limit: 500 }, 1_500],
    ['a category that there is not', 'events_category', { categories: ['none'] }, 0],
    ['a rare type', 'events_type', { types: ['Rare'] }, 100],
    ['two types', 'events_type', { types: ['Rare', 'Common1'], limit: 100 }, 300],
    [
      'a type, backwards from the middle',
      'events_type',
      { types: ['Common1'], after: middle, direction: 'backwards', limit: 100 },
      200,
    ],
    ['a stream', 'events_stream_revision', { streams: ['even-2'], limit: 100 }, 200],
    [
      'a stream, from the middle',
      'events_stream_revision',
      { streams: ['even-2'], after: middle, limit: 100 },
      200,
    ],
    [
      'a stream, backwards',
      'events_stream_revision',
      { streams: ['even-2'], direction: 'backwards', limit: 100 },
      200,
    ],
    [
      'many streams',
      'events_stream_revision',
      { streams: Array.from({ length: 50 }, (_, i) => `odd-${2 * i + 3}`) },
      60,
    ],
  ])('%s: by %s, and no more rows are touched than there are', async (_, index, options, most) => {
    plans.length = 0
    const events: string[] = []
    for await (const { position } of store.readAll(options)) events.push(position)
    const pages = plans.filter((plan) => plan.includes('octet_length'))
    expect(pages.length).toBeGreaterThan(0)
    for (const plan of pages) {
      expect(plan).toContain(`using ${index}`)
      expect(plan).not.toMatch(/Seq Scan|Bitmap/)
      // One more, where a join looks whether there is another.
      for (const [, rows, loops] of plan.matchAll(/Index Scan.*actual rows=([\d.]+) loops=(\d+)/g)) {
        expect(Number(rows) * Number(loops)).toBeLessThanOrEqual(most + 1)
      }
    }
  })

  test('a head, the head of the log and a stream in the middle: by one row each', async () => {
    plans.length = 0
    await store.head('even-2')
    await store.logHead()
    for await (const _ of store.read('even-2', { from: 500, limit: 1 }));
    const its = plans.filter((plan) => plan.includes('events'))
    expect(its.length).toBeGreaterThan(1)
    expect(its.join()).toContain('using events_stream_revision')
    expect(its.join()).not.toContain('Seq Scan')
    for (const plan of its) {
      for (const [, rows] of plan.matchAll(/Index (?:Only )?Scan.*actual rows=([\d.]+)/g))
        expect(Number(rows)).toBe(1)
    }
  })

  test.each([
    ['all', {}],
    ['of a category', { category: 'odd' }],
  ])('a list of streams, %s: by two rows each', async (_, options) => {
    plans.length = 0
    const names: string[] = []
    for await (const { stream } of store.streams({ ...options, after: 'odd-1', limit: 20 }))
      names.push(stream)
    expect(names).toHaveLength(20)
    const [plan = ''] = plans
    expect(plan).toContain('using events_stream_revision')
    expect(plan).not.toMatch(/Seq Scan|Bitmap/)
    for (const [, rows, loops] of plan.matchAll(/Index (?:Only )?Scan.*actual rows=([\d.]+) loops=(\d+)/g)) {
      expect(Number(rows) * Number(loops)).toBeLessThanOrEqual(21)
    }
  })

  describe('of a subscriber at the end of the log', () => {
    const rowsOf = (plan: string) =>
      [...plan.matchAll(/Index (?:Only )?Scan.*actual rows=([\d.]+) loops=(\d+)/g)].map(
        ([, rows, loops]) => Number(rows) * Number(loops),
      )
    const many = Array.from({ length: 300 }, (_, i) => `odd-${2 * i + 3}`)

    test.each<[string, SubscribeOptions, number]>([
      ['to everything', {}, 1],
      ['to a stream', { streams: ['new'] }, 1],
      ['to many streams', { streams: [...many, 'new'] }, 1],
      ['to a category', { categories: ['even', 'new'] }, 2],
      ['to types', { types: ['Common1', 'New'] }, 2],
    ])('%s: what is new, no more rows than there are', async (_, options, most) => {
      await using subscription = store.subscribe({ ...options, from: 'end' })
      const next = subscription.next()
      await subscription.caughtUp()
      plans.length = 0
      const { events } = await store.append({ stream: 'new', events: [{ type: 'New', data: {} }] })
      expect(await next).toEqual({ done: false, value: events[0] })
      const its = plans.filter((plan) => plan.includes('events'))
      expect(its.some((plan) => plan.includes('octet_length'))).toBe(true)
      for (const plan of its) {
        expect(plan).not.toMatch(/Seq Scan|Bitmap/)
        for (const rows of rowsOf(plan)) expect(rows).toBeLessThanOrEqual(most)
      }
    })

    test.each<[string, SubscribeOptions]>([
      ['many streams', { streams: many }],
      ['a category', { categories: ['even'] }],
      ['types', { types: ['Common1'] }],
    ])('that asks for %s: where nothing is new, nothing is looked up', async (_, options) => {
      await using subscription = store.subscribe({ ...options, from: 'end' })
      const next = subscription.next()
      await subscription.caughtUp()
      plans.length = 0
      const pages = () => plans.filter((plan) => plan.includes('octet_length'))
      await until(() => pages().length > 0, 'it looks again')
      for (const plan of pages()) {
        expect(plan).toContain('One-Time Filter')
        expect(rowsOf(plan)).toEqual([])
        expect(plan).not.toMatch(/Function Scan.*actual/)
      }
      await subscription.return?.()
      expect(await next).toMatchObject({ done: true })
    })
  })
})
