import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { Session } from '../../../src/stores/postgres/session.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { lockOf, sleep, testDatabase, until } from './database.ts'
import { ownServer, ownServerProblem, serverProblem } from './server.ts'

describe.skipIf(serverProblem)('a stream that another writer has locked', () => {
  test('an append to a locked stream is busy after the time-out; 50 others succeed meanwhile', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 500 })
    const patient = await database.open({ busyTimeout: 25_000 })
    await store.append({ stream: 'held', events: [happened()] })
    const holder = await database.hold('held')
    let isSettled = false
    const waiting = patient.append({ stream: 'held', events: [happened()] }).finally(() => (isSettled = true))
    await database.waiting(1)
    const others = await Promise.all(
      Array.from({ length: 50 }, (_, i) => patient.append({ stream: `free-${i}`, events: [happened()] })),
    )
    expect(others).toHaveLength(50)
    expect(isSettled).toBe(false)
    const busy: unknown = await store
      .append({ stream: 'held', events: [happened()] })
      .catch((e: unknown) => e)
    expect(busy).toMatchObject({ code: 'STORE_BUSY', isRetryable: true })
    expect((busy as { waited: number }).waited).toBeGreaterThanOrEqual(490)
    expect(isSettled).toBe(false)
    // Reading needs no lock.
    expect(await store.head('held')).toBe(0)
    await holder.release()
    expect((await waiting).events[0]!.revision).toBe(1)
    await store.append({ stream: 'held', events: [happened()], expected: 1 })
  })

  test('a locked stream delays only appends that name it, and they keep their order', async () => {
    const database = await testDatabase()
    const [store, other] = [await database.open(), await database.open()]
    await store.append({ stream: 'held', events: [happened(-1)] })
    const holder = await database.hold('held')
    const done: string[] = []
    const append = (stream: string, n: number) =>
      store.append({ stream, events: [happened(n)] }).then(() => done.push(`${stream} ${n}`))
    const all: Promise<unknown>[] = []
    for (let n = 0; n < 10; n++) {
      all.push(append('held', n))
      for (let i = 0; i < 5; i++) all.push(append(`free-${i}`, n))
      // Now alone in a call, now with others.
      if (n % 3 === 0) await sleep(5)
    }
    await until(() => done.length === 50, 'the free ones are done')
    expect(done.filter((one) => one.startsWith('held'))).toEqual([])
    expect(await database.countWaiting()).toBe(1)
    await holder.release()
    await Promise.all(all)
    const history = await historyOf(other)
    for (const stream of ['held', ...Array.from({ length: 5 }, (_, i) => `free-${i}`)]) {
      const numbers = history
        .filter((event) => event.stream === stream)
        .map(({ data }) => (data as { n: number }).n)
      expect(numbers).toEqual([...(stream === 'held' ? [-1] : []), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }
  })

  test('two appends that only read a stream do not wait for each other, and a writer waits for both', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 300 })
    await store.append({ stream: 'guard', events: [happened()] })
    const reader = await database.client()
    await reader.query('BEGIN')
    await reader.query(`SELECT pg_advisory_xact_lock_shared(${lockOf('mneme')})`, ['guard'])
    await store.append([
      { stream: 'guard', expected: 0 },
      { stream: 's', events: [happened()] },
    ])
    await expect(store.append({ stream: 'guard', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_BUSY',
    })
    await reader.query('COMMIT')
    await store.append({ stream: 'guard', events: [happened()], expected: 0 })
  })

  test('lone appends to many locked streams leave a connection for other streams', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 25_000 })
    let settled = 0
    await store.append({ stream: 'free', events: [happened()] })
    const names = Array.from({ length: 20 }, (_, i) => `held-${i}`)
    const holder = await database.hold(...names)
    const blocked: Promise<unknown>[] = []
    for (const stream of names) {
      // One after the other, so that each is alone in its call.
      blocked.push(store.append({ stream, events: [happened()] }).finally(() => settled++))
      await sleep(8)
    }
    await store.append({ stream: 'free', events: [happened()] })
    expect(settled).toBe(0)
    expect(await store.head('free')).toBe(1)
    await holder.release()
    await Promise.all(blocked)
  })

  test('64 appends to locked streams do not use up the pool: reading and other appends go on', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 25_000 })
    let settled = 0
    const names = Array.from({ length: 64 }, (_, i) => `held-${i}`)
    await store.append(names.map((stream) => ({ stream, events: [happened()] })))
    const holder = await database.hold(...names)
    const blocked = names.map((stream) =>
      store.append({ stream, events: [happened()], expected: 0 }).finally(() => settled++),
    )
    await until(async () => (await database.countWaiting()) >= 5, 'they wait')
    expect(await historyOf(store)).toHaveLength(64)
    await Promise.all(names.map((stream) => store.head(stream)))
    await Promise.all(names.map((_, i) => store.append({ stream: `free-${i}`, events: [happened()] })))
    expect(settled).toBe(0)
    await holder.release()
    await Promise.all(blocked)
    expect(await historyOf(store)).toHaveLength(64 * 3)
  })

  test('each of 40 appends to locked streams waits for one time-out, not for one after the other', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 300 })
    const names = Array.from({ length: 40 }, (_, i) => `held-${i}`)
    const holder = await database.hold(...names)
    const query = vi.spyOn(Session.prototype, 'query')
    onTestFinished(() => query.mockRestore())
    const results = await Promise.allSettled(
      names.map((stream) => store.append({ stream, events: [happened()] })),
    )
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'STORE_BUSY' } })
    // The milliseconds that each call asks the server to wait; null: not at all.
    const waits = query.mock.calls
      .filter(([{ text }]) => /append(_one)?\(/.test(text))
      .map(([{ text }, values]) => values![text.includes('append_one') ? 3 : 4])
      .filter((wait) => wait !== null)
      .map(Number)
      .toSorted((a, b) => b - a)
    expect(waits).toHaveLength(names.length)
    // Eight have a connection at once; the others have waited meanwhile, and ask for no more than what is left.
    expect(Math.max(...waits.slice(8))).toBeLessThan(50)
    await holder.release()
  })

  test('appends of several processes that name streams in any order do not deadlock', async () => {
    const database = await testDatabase()
    const stores = await Promise.all([1, 2, 3, 4].map(() => database.open({}, { max: 5 })))
    const streams = ['a', 'b', 'c', 'd', 'e']
    const appends = stores.flatMap((store, s) =>
      Array.from({ length: 40 }, (_, i) => {
        const names = streams.filter((_, n) => (i + n * (s + 1)) % 3 !== 0)
        if ((i + s) % 2 === 0) names.reverse()
        return store.append(
          names.map((stream, n) => ({ stream, ...(n === 0 ? {} : { events: [happened(i)] }) })),
          i % 4 === 0 ? { key: `key-${i}-${s}` } : {},
        )
      }),
    )
    const results = await Promise.allSettled(appends)
    expect(results.filter(({ status }) => status === 'rejected')).toEqual([])
    const events = results.flatMap((result) => (result.status === 'fulfilled' ? result.value.events : []))
    const [deadlocks] = await database.query(
      'SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()',
    )
    expect(deadlocks).toEqual({ n: 0 })
    expect(await historyOf(stores[0]!)).toHaveLength(events.length)
  })
})

describe.skipIf(ownServerProblem)('a backend that hangs in the middle of an append', () => {
  /** Makes inserts of events with `n` 1 sleep, so that there is a middle. */
  async function slow() {
    const server = await ownServer()
    const database = await testDatabase(server)
    const store = await database.open({ statementTimeout: 1_000, busyTimeout: 300 })
    await store.append({ stream: 's', events: [happened(0)] })
    await database.query(`
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.data::json->>'n' = '1' THEN PERFORM pg_sleep(0.3); END IF; RETURN NEW; END $$;
      CREATE TRIGGER slow BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION slow()`)
    const inMiddle = async () => {
      let pid = 0
      await until(async () => {
        const [row] = await database.query(
          "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        )
        pid = (row?.pid as number | undefined) ?? 0
        return pid > 0
      }, 'it is in the middle')
      return pid
    }
    return { server, database, store, inMiddle }
  }

  test('an append whose backend hangs too long has an unknown outcome, others go on, and one copy is stored', async () => {
    const { server, database, store, inMiddle } = await slow()
    const event = happened(1)
    const appended = store.append({ stream: 's', events: [event] })
    const pid = await inMiddle()
    server.pause(pid)
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.append({ stream: `t-${i}`, events: [happened(2)] })),
    )
    await expect(appended).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    // The stream is held still.
    await expect(store.append({ stream: 's', events: [happened(2)] })).rejects.toMatchObject({
      code: 'STORE_BUSY',
    })
    await store.append({ stream: 't-0', events: [happened(2)] })
    server.resume(pid)
    await until(
      async () => (await database.query(`SELECT FROM pg_stat_activity WHERE pid = ${pid}`)).length === 0,
      'its backend has ended: the connection is not used again',
    )
    const again = await store.append({ stream: 's', events: [happened(3)] })
    const history = (await historyOf(store)).filter(({ stream }) => stream === 's')
    expect(history.map(({ data }) => (data as { n: number }).n)).toEqual([0, 1, 3])
    expect(history[1]!.id).toBe(event.id)
    expect(again.events[0]!.revision).toBe(2)
  })

  test.each(['any', 0] as const)(
    'an append whose backend hangs and recovers in time gets the true answer, with expectation %s',
    async (expected) => {
      const { server, database, store, inMiddle } = await slow()
      const event = happened(1)
      const appended = store.append({ stream: 's', events: [event], expected })
      const pid = await inMiddle()
      server.pause(pid)
      // The first attempt is given up, the second one waits for it.
      await until(async () => (await database.countWaiting()) === 1, 'it is being settled')
      server.resume(pid)
      expect(await appended).toMatchObject({ events: [{ id: event.id, revision: 1 }] })
      await store.append({ stream: 's', events: [happened(2)], expected: 1 })
      expect(await historyOf(store)).toHaveLength(3)
    },
  )
})
