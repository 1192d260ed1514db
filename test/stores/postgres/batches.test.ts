import type { AppendOptions, EventStore, StreamWrite } from 'mneme'
import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

/** How many calls with appends were committed: each takes a number. */
async function countCalls(database: TestDatabase, work: () => Promise<unknown>): Promise<number> {
  const last = async () =>
    Number((await database.query('SELECT last_value FROM mneme.positions'))[0]!.last_value)
  const before = await last()
  await work()
  return (await last()) - before
}

describe.skipIf(serverProblem)('appends to one stream by four processes', () => {
  test('20 appends at once that expect any do not conflict, and get 20 revisions', async () => {
    const database = await testDatabase()
    const stores = await Promise.all(numbers(4).map(() => database.open({}, { max: 5 })))
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(
        numbers(20).map((i) => stores[i % 4]!.append({ stream: `s-${round}`, events: [happened(i)] })),
      )
      expect(results.map(({ events }) => events[0]!.revision).sort((a, b) => a - b)).toEqual(numbers(20))
    }
    const history = await historyOf(stores[0]!)
    expect(history).toHaveLength(100)
  })

  test('of 20 appends at once that create a stream one succeeds and 19 conflict', async () => {
    const database = await testDatabase()
    const stores = await Promise.all(numbers(4).map(() => database.open({}, { max: 5 })))
    for (let round = 0; round < 5; round++) {
      const results = await Promise.allSettled(
        numbers(20).map((i) =>
          stores[i % 4]!.append({ stream: `s-${round}`, events: [happened(i)], expected: 'none' }),
        ),
      )
      const conflicts = results.filter(({ status }) => status === 'rejected')
      expect(conflicts).toHaveLength(19)
      for (const conflict of conflicts) {
        expect(conflict).toMatchObject({ reason: { code: 'CONFLICT', expected: 'none', actual: 0 } })
      }
      expect(await stores[0]!.head(`s-${round}`)).toBe(0)
    }
  })

  test('of 20 appends at once that expect the same revision one succeeds', async () => {
    const database = await testDatabase()
    const stores = await Promise.all(numbers(4).map(() => database.open({}, { max: 5 })))
    await stores[0]!.append({ stream: 's', events: [happened()] })
    const results = await Promise.allSettled(
      numbers(20).map((i) =>
        stores[i % 4]!.append([
          { stream: 's', events: [happened(i)], expected: 0 },
          { stream: `t-${i}`, events: [happened(i)] },
        ]),
      ),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await historyOf(stores[0]!)).toHaveLength(3)
  })
})

describe.skipIf(serverProblem)('a batch', () => {
  test('a batch of 64 appends, every third of which conflicts, takes one call with a verdict for each', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await Promise.all(numbers(64).map((i) => store.append({ stream: `s-${i}`, events: [happened()] })))
    let results: PromiseSettledResult<unknown>[] = []
    const calls = await countCalls(database, async () => {
      results = await Promise.allSettled(
        numbers(64).map((i) =>
          store.append({ stream: `s-${i}`, events: [happened(i)], expected: i % 3 === 0 ? 'none' : 0 }),
        ),
      )
    })
    expect(calls).toBe(1)
    results.forEach((result, i) => {
      if (i % 3 === 0)
        expect(result).toMatchObject({ reason: { code: 'CONFLICT', stream: `s-${i}`, actual: 0 } })
      else expect(result).toMatchObject({ value: { repeated: false, events: [{ revision: 1 }] } })
    })
    expect(await historyOf(store)).toHaveLength(64 + 42)
  })

  test('a batch of all kinds of appends gives the verdicts of appends made one after the other', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: 'guard', events: [happened()] })
    await store.append({ stream: 'x', events: [happened()] }, { key: 'used' })
    const [event, two] = [happened(1), [happened(1), happened(2)]]
    const keyed = [happened(5)]
    const given: [writes: StreamWrite | StreamWrite[], options: AppendOptions, expected: object][] = [
      [
        { stream: 'a', events: [event], expected: 'none' },
        {},
        { value: { repeated: false, events: [{ revision: 0 }] } },
      ],
      [
        { stream: 'a', events: [event], expected: 'none' },
        {},
        { value: { repeated: true, events: [{ revision: 0, id: event.id }] } },
      ],
      [
        { stream: 'a', events: [happened()], expected: 'none' },
        {},
        { reason: { code: 'CONFLICT', expected: 'none' } },
      ],
      [
        { stream: 'a', events: two, expected: 0 },
        {},
        { value: { repeated: false, events: [{ revision: 1 }, { revision: 2 }] } },
      ],
      [
        { stream: 'a', events: [happened()], expected: 'exists' },
        {},
        { value: { events: [{ revision: 3 }] } },
      ],
      [
        { stream: 'none', events: [happened()], expected: 'exists' },
        {},
        { reason: { code: 'CONFLICT', actual: 'none' } },
      ],
      [
        [
          { stream: 'b', events: [happened()] },
          { stream: 'c', events: [happened()] },
          { stream: 'b', events: [happened()] },
        ],
        {},
        {
          value: {
            events: [
              { stream: 'b', revision: 0 },
              { stream: 'c', revision: 0 },
              { stream: 'b', revision: 1 },
            ],
          },
        },
      ],
      [
        [
          { stream: 'guard', expected: 0 },
          { stream: 'b', events: [happened()], expected: 1 },
        ],
        {},
        { value: { events: [{ revision: 2 }] } },
      ],
      [{ stream: 'guard', events: [happened()] }, {}, { value: { events: [{ revision: 1 }] } }],
      [
        [
          { stream: 'guard', expected: 0 },
          { stream: 'b', events: [happened()] },
        ],
        {},
        { reason: { code: 'CONFLICT', stream: 'guard', actual: 1 } },
      ],
      [{ stream: 'guard', expected: 1 }, {}, { value: { events: [], position: undefined } }],
      [{ stream: 'k', events: keyed }, { key: 'fresh' }, { value: { repeated: false } }],
      [
        { stream: 'k', events: keyed },
        { key: 'fresh' },
        { value: { repeated: true, events: [{ revision: 0 }] } },
      ],
      [{ stream: 'k', events: [happened(6)] }, { key: 'fresh' }, { reason: { code: 'KEY_REUSED' } }],
      [{ stream: 'x', events: [happened(1)] }, { key: 'used' }, { reason: { code: 'KEY_REUSED' } }],
      [
        { stream: 'x', events: [happened()], expected: 'none' },
        { key: 'unused' },
        { reason: { code: 'CONFLICT' } },
      ],
      [{ stream: 'x', events: [happened()], expected: 0 }, { key: 'unused' }, { value: { repeated: false } }],
    ]
    const results = await Promise.allSettled(given.map(([writes, options]) => store.append(writes, options)))
    given.forEach(([, , expected], i) => expect([i, results[i]]).toMatchObject([i, expected]))
    const history = await historyOf(store)
    const told = results.flatMap((result) =>
      result.status === 'fulfilled' && !result.value.repeated ? result.value.events : [],
    )
    expect(
      history
        .slice(2)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(told.map(({ id }) => id).sort())
  })

  test('in a batch with one event that the server refuses only that append fails', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await refuseSome(database)
    const results = await Promise.allSettled(
      numbers(64).map((i) => store.append({ stream: `s-${i}`, events: [happened(i)] })),
    )
    results.forEach((result, i) => {
      if (i === 40) expect(result).toMatchObject({ reason: { code: 'STORE_FAILED' } })
      else expect(result).toMatchObject({ status: 'fulfilled' })
    })
    expect(await historyOf(store)).toHaveLength(63)
  })
})

/** A constraint of the user's own, unique like those of the store. */
async function refuseSome(database: TestDatabase): Promise<void> {
  await database.query(`
    CREATE TABLE public.events_stream_revision (n text CONSTRAINT events_pkey UNIQUE);
    INSERT INTO public.events_stream_revision VALUES ('40');
    CREATE FUNCTION public.count_it() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO public.events_stream_revision VALUES (NEW.data::json->>'n'); RETURN NEW; END $$;
    CREATE TRIGGER count_it BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION public.count_it()`)
}

describe.skipIf(serverProblem)("a unique violation of the user's own", () => {
  test.each([
    ['by a unique index', refuseSome],
    [
      'raised by a trigger',
      (database: TestDatabase) =>
        database.query(`
          CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.data::json->>'n' = '40' THEN
              RAISE EXCEPTION 'mine' USING ERRCODE = '23505', CONSTRAINT = 'events_stream_revision', TABLE = 'events', SCHEMA = 'mneme';
            END IF; RETURN NEW; END $$;
          CREATE TRIGGER refuse BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION public.refuse()`),
    ],
    [
      'at the commit',
      (database: TestDatabase) =>
        database.query(`
          CREATE TABLE public.mine (n text UNIQUE DEFERRABLE INITIALLY DEFERRED);
          INSERT INTO public.mine VALUES ('40');
          CREATE FUNCTION public.count_it() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.mine VALUES (NEW.data::json->>'n'); RETURN NEW; END $$;
          CREATE TRIGGER count_it AFTER INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION public.count_it()`),
    ],
  ])('a unique violation %s is a failure, no conflict, and writes nothing', async (_, prepare) => {
    for (const isolation of ['read committed', 'serializable']) {
      const database = await testDatabase()
      await database.set(`default_transaction_isolation = '${isolation}'`)
      const store = await database.open()
      await prepare(database)
      const failed = { code: 'STORE_FAILED', cause: { code: '23505' } }
      await expect(
        store.append({ stream: 's', events: [happened(40)], expected: 'none' }),
      ).rejects.toMatchObject(failed)
      await expect(store.append({ stream: 's', events: [happened(40)] })).rejects.toMatchObject(failed)
      const both = [
        { stream: 's', events: [happened(1)] },
        { stream: 't', events: [happened(40)] },
      ]
      await expect(store.append(both, { key: 'k' })).rejects.toMatchObject(failed)
      expect(await historyOf(store)).toEqual([])
      await store.append({ stream: 's', events: [happened(2)], expected: 'none' }, { key: 'k' })
    }
  })
})

describe.skipIf(serverProblem)('a batch that takes the server too long', () => {
  /** The server ends an insert of more events than these, or of an event with `n` 99, as its time-out would. */
  async function limited(maxEvents: number) {
    const database = await testDatabase()
    const before: EventStore = await database.open()
    await before.append({ stream: 's', events: [happened()] })
    await database.query(`
      CREATE FUNCTION public.end_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) > ${maxEvents} OR bool_or(data::json->>'n' = '99') FROM inserted) THEN
          RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
        END IF; RETURN NULL; END $$;
      CREATE TRIGGER end_it AFTER INSERT ON mneme.events REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION public.end_it()`)
    return { database, store: await database.open() }
  }

  test('a batch that takes too long is halved, and later batches are smaller', async () => {
    const { database, store } = await limited(24)
    const round = (n: number) =>
      Promise.all(numbers(64).map((i) => store.append({ stream: `s-${i}`, events: [happened(n)] })))
    const calls: number[] = []
    for (let n = 0; n < 4; n++) calls.push(await countCalls(database, () => round(n)))
    expect(await historyOf(store)).toHaveLength(1 + 4 * 64)
    // A call that was ended took its number as well.
    expect(calls[0]).toBeGreaterThan(2)
    expect(calls[1]).toBeLessThan(calls[0]!)
    for (const count of calls) expect(count).toBeLessThan(30)
  })

  test('an append that takes too long alone times out, and nothing of it is written', async () => {
    const { store } = await limited(64)
    const slow = { stream: 'slow', events: [happened(99)] }
    await expect(store.append(slow)).rejects.toMatchObject({ code: 'STORE_TIMEOUT', isRetryable: true })
    const results = await Promise.allSettled(
      numbers(16).map((i) =>
        store.append(i === 7 ? slow : { stream: `s-${i}`, events: [happened(i)] }, { key: `${i}` }),
      ),
    )
    results.forEach((result, i) => {
      expect(result).toMatchObject(i === 7 ? { reason: { code: 'STORE_TIMEOUT' } } : { status: 'fulfilled' })
    })
    expect(await store.head('slow')).toBe('none')
    expect(await historyOf(store)).toHaveLength(1 + 15)
  })

  test("an append that takes longer than the server's statement_timeout times out, and writes nothing", async () => {
    const database = await testDatabase()
    const store: EventStore = await database.open()
    await database.query(`
      CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
      CREATE TRIGGER slow BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION public.slow()`)
    await database.set("statement_timeout = '200ms'")
    const limited = await database.open()
    await expect(limited.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_TIMEOUT',
      isRetryable: true,
    })
    expect(await store.head('s')).toBe('none')
  })
})
