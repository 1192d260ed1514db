import type { EventStore } from 'mneme'
import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, until, type TestDatabase } from './database.ts'
import { startProxy } from '../../support/proxy.ts'
import { serverProblem } from './server.ts'

/** What was committed when, by a trigger that asks for the setting while it is committed. */
async function recordCommits(database: TestDatabase) {
  await database.query(`
    CREATE TABLE public.commits (setting text);
    CREATE FUNCTION public.record() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO public.commits VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER record AFTER INSERT ON mneme.events DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION public.record()`)
}

describe.skipIf(serverProblem).each(['read committed', 'repeatable read', 'serializable'])(
  'where the default isolation is %s',
  (isolation) => {
    async function open() {
      const database = await testDatabase()
      await database.set(`default_transaction_isolation = '${isolation}'`)
      return { database, store: await database.open(), other: await database.open() }
    }

    test('appends, conflicts, keys, repeats and reads work as under read committed', async () => {
      const { store } = await open()
      const event = happened()
      await store.append({ stream: 's', events: [event], expected: 'none' })
      expect(await store.append({ stream: 's', events: [event], expected: 'none' })).toMatchObject({
        repeated: true,
      })
      await expect(
        store.append({ stream: 's', events: [happened()], expected: 'none' }),
      ).rejects.toMatchObject({
        code: 'CONFLICT',
        actual: 0,
      })
      const once = () =>
        store.append(
          [
            { stream: 's', events: [happened(1)] },
            { stream: 't', events: [happened(2)] },
          ],
          { key: 'k' },
        )
      const first = await once()
      expect((await once()).events).toEqual(first.events)
      await expect(store.append({ stream: 's', events: [happened(3)] }, { key: 'k' })).rejects.toMatchObject({
        code: 'KEY_REUSED',
      })
      const many = await Promise.all(
        Array.from({ length: 64 }, (_, i) => store.append({ stream: `m-${i % 8}`, events: [happened(i)] })),
      )
      expect(many).toHaveLength(64)
      expect(await historyOf(store)).toHaveLength(3 + 64)
      expect((await all(store.read('s'))).map(({ revision }) => revision)).toEqual([0, 1])
    })

    test('subscribers get each event once and in order, whether it was there or is appended later', async () => {
      const { store, other } = await open()
      await store.append({ stream: 's', events: [happened(), happened()] })
      const subscription = store.subscribe()
      const ids: string[] = []
      const over = (async () => {
        for await (const { id } of subscription) if (ids.push(id) === 2 + 2 * 60) break
      })()
      await subscription.caughtUp()
      const append = async (target: EventStore, i: number) => {
        for (let n = 0; n < 20; n++) await target.append({ stream: `m-${i}`, events: [happened(n)] })
      }
      await Promise.all(
        [store, other].flatMap((target, i) => [0, 1, 2].map((k) => append(target, 3 * i + k))),
      )
      await over
      expect(ids).toEqual((await historyOf(store)).map(({ id }) => id))
    })

    test('a decision is refused if a stream that it only read moved while it waited', async () => {
      const { database, store, other } = await open()
      await store.append({ stream: 'guard', events: [happened()] })
      const holder = await database.hold('a')
      const decided = store.append([
        { stream: 'guard', expected: 0 },
        { stream: 'a', events: [happened()] },
      ])
      const refused = expect(decided).rejects.toMatchObject({
        code: 'CONFLICT',
        stream: 'guard',
        expected: 0,
        actual: 1,
      })
      await database.waiting(1)
      await other.append({ stream: 'guard', events: [happened()] })
      await holder.release()
      await refused
      expect(await store.head('a')).toBe('none')
    })

    test('a decision is refused if the stream that it waited for has moved', async () => {
      const { database, store } = await open()
      await store.append({ stream: 'guard', events: [happened()] })
      const mover = await database.client()
      await mover.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      await mover.query(
        `SELECT mneme.append_one('guard', 0, NULL, 1000, gen_random_uuid(), 'Happened', 1, '{}', '{}')`,
      )
      const decided = [
        store.append([
          { stream: 'guard', expected: 0 },
          { stream: 's', events: [happened()] },
        ]),
        store.append({ stream: 'guard', events: [happened()], expected: 0 }),
      ]
      const results = Promise.allSettled(decided)
      await database.waiting(1)
      await mover.query('COMMIT')
      expect(await results).toMatchObject([
        { reason: { code: 'CONFLICT', stream: 'guard', actual: 1 } },
        { reason: { code: 'CONFLICT', stream: 'guard', actual: 1 } },
      ])
      expect(await store.head('s')).toBe('none')
    })

    test('several calls that are the first of the store succeed at once', async () => {
      const { database } = await open()
      const proxy = await startProxy(database.server.port)
      const store = await database.open({}, { connectionString: proxy.url(database.url) })
      // Connections there are, so that calls are under way together.
      await Promise.all(Array.from({ length: 8 }, () => store.head('s')))
      const held = proxy.hold()
      const appends: Promise<unknown>[] = []
      for (let i = 0; i < 5; i++) {
        appends.push(store.append({ stream: `s-${i}`, events: [happened()] }))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      expect(held.filter((link) => link.held.length > 0).length).toBeGreaterThan(1)
      for (const link of held) {
        link.isHeld = false
        for (const chunk of link.held.splice(0)) link.server.write(chunk)
      }
      expect(await Promise.allSettled(appends)).toMatchObject(appends.map(() => ({ status: 'fulfilled' })))
    })

    test('an acknowledged event is on disk even if the default is not to wait for the disk', async () => {
      const { database } = await open()
      await database.set('synchronous_commit = off')
      const store = await database.open()
      await recordCommits(database)
      await store.append({ stream: 's', events: [happened()] })
      await store.append(
        [
          { stream: 's', events: [happened()] },
          { stream: 't', events: [happened()] },
        ],
        { key: 'k' },
      )
      await Promise.all(
        Array.from({ length: 8 }, (_, i) => store.append({ stream: `m-${i}`, events: [happened()] })),
      )
      expect(
        await database.query('SELECT DISTINCT setting, count(*)::int FROM public.commits GROUP BY 1'),
      ).toEqual([{ setting: 'on', count: 11 }])
    })
  },
)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = []
  for await (const item of items) got.push(item)
  return got
}

describe.skipIf(serverProblem)('other settings of the database', () => {
  test('a stronger synchronous_commit is left as it is', async () => {
    const database = await testDatabase()
    await database.set('synchronous_commit = remote_apply')
    const store = await database.open()
    await recordCommits(database)
    await store.append({ stream: 's', events: [happened()] })
    expect(await database.query('SELECT setting FROM public.commits')).toEqual([{ setting: 'remote_apply' }])
  })

  test('on a read-only database reading works, appending is unavailable, and works again once it may write', async () => {
    const database = await testDatabase()
    const before = await database.open()
    await before.append({ stream: 's', events: [happened()] })
    await database.set('default_transaction_read_only = on')
    const store = await database.open({}, { idleTimeoutMillis: 20 })
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      isRetryable: true,
    })
    const many = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) =>
        store.append({ stream: `m-${i}`, events: [happened()] }, { key: `${i}` }),
      ),
    )
    for (const result of many) expect(result).toMatchObject({ reason: { code: 'STORE_UNAVAILABLE' } })
    expect(await historyOf(store)).toHaveLength(1)
    expect(await store.head('s')).toBe(0)
    await database.set('default_transaction_read_only = off')
    // Connections from before are still read-only.
    const event = happened()
    await until(
      () =>
        store.append({ stream: 's', events: [event], expected: 0 }).then(
          () => true,
          () => false,
        ),
      'the store may write again',
    )
  })

  test('a warning of a trigger does not put a commit in doubt', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: 's', events: [happened()] })
    await database.query(`
      CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE WARNING 'look out'; RETURN NEW; END $$;
      CREATE TRIGGER warn BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION warn()`)
    await store.append({ stream: 's', events: [happened()], expected: 0 })
    await store.append([
      { stream: 's', events: [happened()] },
      { stream: 't', events: [happened()] },
    ])
    expect(await historyOf(store)).toHaveLength(4)
  })

  test.each([
    'search_path = nowhere',
    "TimeZone = 'Asia/Kathmandu'",
    "DateStyle = 'SQL, DMY'",
    'bytea_output = escape',
    'extra_float_digits = 0',
    "IntervalStyle = 'sql_standard'",
    'standard_conforming_strings = off',
    "lock_timeout = '1ms'",
    "plpgsql.extra_errors = 'all'",
    'enable_seqscan = off',
    "client_encoding = 'LATIN1'",
  ])('the setting %s changes nothing', async (setting) => {
    const database = await testDatabase()
    if (/^standard_conforming|^plpgsql/.test(setting)) await database.query("LOAD 'plpgsql'")
    await database.set(setting)
    const store = await database.open()
    const before = Date.now()
    const event = { type: 'Öffnung', data: { text: 'ü\u0000\\ "\u{1F600}' }, id: crypto.randomUUID() }
    const { events } = await store.append([
      { stream: 's', events: [event] },
      { stream: "ein'Größe\\", events: [event, happened()].slice(1) },
    ])
    expect(await historyOf(store)).toEqual(events)
    const at = Date.parse(events[0]!.time)
    expect(at).toBeGreaterThanOrEqual(before - 1_000)
    expect(at).toBeLessThan(Date.now() + 1_000)
    expect(await store.head("ein'Größe\\")).toBe(0)
  })
})
