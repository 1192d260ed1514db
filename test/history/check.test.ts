import { beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  createStore,
  defineAggregate,
  event,
  type EventStore,
  HistoryRewoundError,
  InvalidArgumentError,
  subject,
} from 'mneme'
import { keyRing, memoryKeys, wrappingKey } from 'mneme/erasure'
import { checkHistory, type CheckProgress, recordShapes } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { eventsOf, observedStore } from '../support/observed-store.ts'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { counted, Person, record, registered, storeChanging, storeWithout, Tally } from './program.ts'

let store: EventStore
beforeEach(() => {
  store = memoryStore()
})

const check = (options?: Parameters<typeof checkHistory>[2]) => checkHistory(store, [Person, Tally], options)
const kinds = async () => (await check()).findings.map(({ kind }) => kind)

test('a history that the program can read has no findings', async () => {
  await record(store, 'Person-1', { type: 'Person.Registered', data: { name: 'Ada Byron' } }, counted())
  await record(store, 'Person-1', { type: 'Person.Relocated', data: { to: 'London' } }, registered('King'))
  await record(store, 'Tally-1', { type: 'Tally.Added', data: { by: 1 } })
  await record(store, 'Invoice-1', { type: 'Invoice.Sent', data: {} }, { type: 'Invoice.Paid', data: {} })
  const report = await check()
  expect(report).toEqual({
    finished: true,
    position: await store.logHead(),
    events: 5,
    findings: [],
    omitted: 0,
    unfolded: 0,
    truncated: { streams: 0, first: undefined },
    others: { events: 2, categories: [{ category: 'Invoice', events: 2 }] },
    reread: 0,
  })
})

test('an empty store has no findings', async () => {
  expect(await check()).toMatchObject({ finished: true, position: undefined, events: 0, findings: [] })
})

describe('the check finds', () => {
  test('a type that the aggregate does not know, with its count and where it is first and last', async () => {
    const gone = { type: 'Person.Deleted', data: { why: 'secret' } }
    await record(store, 'Person-1', counted(), gone, gone)
    await record(store, 'Person-2', gone)
    const { findings, unfolded } = await check()
    const [, first] = await eventsOf(store, 'Person-1')
    const [last] = await eventsOf(store, 'Person-2')
    expect(findings).toEqual([
      {
        kind: 'unknown-type',
        category: 'Person',
        type: 'Person.Deleted',
        version: 1,
        events: 3,
        first: { stream: 'Person-1', revision: 1, position: first?.position, time: first?.time },
        last: { stream: 'Person-2', revision: 0, position: last?.position, time: last?.time },
      },
    ])
    expect(unfolded).toBe(1) // the second one on Person-1
  })

  test('an event newer than the program, as after the removal of an upcast', async () => {
    await record(store, 'Person-1', { ...registered('Byron'), version: 3 })
    expect((await check()).findings).toMatchObject([
      { kind: 'newer-version', type: 'Person.Registered', version: 3, events: 1 },
    ])
  })

  test('an upcast that throws, by the class of its error', async () => {
    await record(store, 'Person-1', { type: 'Person.Registered', data: { name: 'throw' } })
    expect((await check()).findings).toMatchObject([
      { kind: 'upcast-failed', type: 'Person.Registered', version: 1, error: 'RangeError' },
    ])
  })

  test('an upcast that returns no object', async () => {
    await record(store, 'Person-1', { type: 'Person.Registered', data: { name: 'nothing' } })
    expect((await check()).findings).toMatchObject([{ kind: 'upcast-failed', error: 'TypeError' }])
  })

  test('what a schema refuses, upcast or not, by the paths of all such events', async () => {
    await record(store, 'Person-1', { type: 'Person.Registered', data: { name: 'Ada B' } })
    const visits = [{ at: 'x' }, { at: 1 }]
    await record(store, 'Person-2', { ...registered('Byron'), data: { last: 'Byron', visits } })
    await record(store, 'Person-3', { ...registered('Byron'), data: { first: 'Ada', last: 'Byron' } })
    const { findings, unfolded } = await check()
    expect(findings).toMatchObject([
      { kind: 'schema-refused', version: 1, events: 1, paths: ['last'] },
      { kind: 'schema-refused', version: 2, events: 2, paths: ['first', 'visits', 'visits[].at'] },
    ])
    expect(unfolded).toBe(0)
  })

  test('a fold that throws, once for each stream', async () => {
    const bad = { type: 'Person.Moved', data: { to: 'throw' } }
    await record(store, 'Person-1', counted(), bad, bad, counted())
    await record(store, 'Person-2', bad)
    const { findings, unfolded } = await check()
    expect(findings).toMatchObject([{ kind: 'fold-failed', type: 'Person.Moved', events: 2, error: 'Error' }])
    expect(unfolded).toBe(2)
  })

  test('an apply that changes its argument, and a state that cannot be frozen', async () => {
    const definition = { name: 'Odd', events: { Happened: event() } } as const
    const Changing = defineAggregate({
      ...definition,
      initial: () => ({ n: 0 }),
      apply: { Happened: (state) => Object.assign(state as { n: number }, { n: 1 }) },
    })
    const Unfrozen = defineAggregate({
      ...definition,
      initial: (): { f?: () => number } => ({}),
      apply: { Happened: () => ({ f: () => 1 }) },
    })
    await record(store, 'Odd-1', { type: 'Odd.Happened', data: {} })
    for (const Odd of [Changing, Unfrozen]) {
      expect((await checkHistory(store, [Odd])).findings).toMatchObject([{ kind: 'fold-failed' }])
    }
  })

  test('events that are missing in the middle of a stream', async () => {
    store = storeWithout(({ revision }) => revision === 1)
    await record(store, 'Person-1', counted(), counted(), counted())
    expect((await check()).findings).toMatchObject([
      { kind: 'missing-events', type: 'Person.Counted', first: { revision: 2 } },
    ])
  })
})

test('a stream whose beginning was truncated is counted, and its events are upcast and checked', async () => {
  store = storeWithout(({ revision }) => revision === 0)
  await record(store, 'Person-1', counted(), counted(), { type: 'Person.Gone', data: {} })
  const report = await check()
  expect(report.truncated).toMatchObject({ streams: 1, first: { stream: 'Person-1', revision: 1 } })
  expect(report).toMatchObject({ events: 2, unfolded: 2, findings: [{ kind: 'unknown-type' }] })
})

test('a stream that is truncated while it is checked is counted, and no finding', async () => {
  store = storeWithout(
    ({ revision }) => revision === 1,
    ({ revision }) => revision < 2,
  )
  await record(store, 'Person-1', counted(), counted(), counted(), counted())
  expect(await check()).toMatchObject({ findings: [], truncated: { streams: 1 }, events: 3, unfolded: 2 })
})

test('an event type whose schema refuses its own output can be left out', async () => {
  const Scale = defineAggregate({
    name: 'Scale',
    events: { Weighed: z.object({ grams: z.string().transform(Number) }) },
    initial: () => ({ grams: 0 }),
    apply: { Weighed: (_, { grams }) => ({ grams }) },
  })
  const { Weighed } = Scale.events
  await store.append({ stream: Scale('1'), events: [Weighed({ grams: '5' })] })
  expect((await checkHistory(store, [Scale])).findings).toMatchObject([{ paths: ['grams'] }])
  expect((await checkHistory(store, [Scale], { unchecked: [Weighed] })).findings).toEqual([])
})

test('a personal value is not checked by the schema, because it is sealed, and is found if it was moved', async () => {
  const schema = z.object({
    id: z.string(),
    email: z.email(),
    to: z.array(z.object({ name: z.string() })),
    by: z.union([z.object({ name: z.string() }), z.object({ system: z.string() })]),
  })
  const Customer = defineAggregate({
    name: 'Customer',
    events: {
      Registered: event(schema).personal({
        email: ({ id }) => subject('customer', id),
        to: { name: ({ id }) => subject('customer', id) },
        by: { name: ({ id }: { id: string }) => subject('clerk', id) } as never,
      }),
    },
    initial: () => ({}),
    apply: { Registered: (state) => state },
  })
  const keys = keyRing({
    keys: memoryKeys(),
    wrap: wrappingKey('k', new Uint8Array(32).fill(7)),
    secret: 'a secret of at least 16 bytes',
  })
  const inner = memoryAdapter()
  store = createStore(inner, { personal: keys })
  const ada = { id: 'c-1', email: 'ada@example.org', to: [{ name: 'Ada' }], by: { name: 'Bob' } }
  await store.append({ stream: Customer('c-1'), events: [Customer.events.Registered(ada)] })
  expect((await checkHistory(store, [Customer])).findings).toEqual([])
  expect(
    (await recordShapes(store, [Customer])).categories.Customer?.['Customer.Registered']?.['1']?.fields,
  ).toEqual({
    'by.name': 'sealed',
    email: 'sealed',
    id: 'string',
    'to[].name': 'sealed',
  })

  // Somebody has copied the data to another event, by hand.
  store = storeChanging(inner, (stored) => ({ ...stored, id: '00000000-0000-4000-8000-000000000000' }))
  expect((await checkHistory(store, [Customer])).findings).toMatchObject([{ kind: 'seal-broken' }])
})

test('a schema that throws is a finding; one that is asynchronous is refused', async () => {
  const aggregateOf = (validate: (value: unknown) => { value: {} }) =>
    defineAggregate({
      name: 'Odd',
      events: { Happened: { '~standard': { version: 1 as const, vendor: 'test', validate } } },
      initial: () => ({}),
      apply: { Happened: (state) => state },
    })
  await record(store, 'Odd-1', { type: 'Odd.Happened', data: { v: 'secret' } })
  const throwing = aggregateOf((value) => {
    throw new SyntaxError(JSON.stringify(value))
  })
  expect((await checkHistory(store, [throwing])).findings).toMatchObject([
    { kind: 'schema-refused', error: 'SyntaxError' },
  ])
  const waiting = aggregateOf((() => Promise.resolve({ value: {} })) as never)
  await expect(checkHistory(store, [waiting])).rejects.toThrow(/returned a promise; use a synchronous schema/)
})

describe('reports', () => {
  const SECRET = 'Xyzzy4711'

  test('no kind of finding holds a value of the data', async () => {
    for (const [i, stored] of [
      { type: 'Person.Registered', data: { name: `throw ${SECRET}` } },
      { type: 'Person.Registered', data: { name: `nothing ${SECRET}` } },
      { type: 'Person.Registered', version: 2, data: { first: SECRET, last: { [SECRET]: SECRET } } },
      { type: 'Person.Registered', version: 3, data: { first: SECRET } },
      { type: 'Person.Deleted', data: { why: SECRET } },
      { type: 'Person.Moved', data: { to: `throw${SECRET}` } },
    ].entries()) {
      await record(store, `Person-${i}`, stored)
    }
    await record(store, 'Invoice-1', { type: 'Invoice.Sent', data: { to: SECRET } })
    const report = await check()
    expect(report.findings).toHaveLength(6)
    expect(JSON.stringify(report)).not.toContain(SECRET)
  })

  test('keys of objects are not shown if they are no names, are many, or are said to be values', async () => {
    const Cinema = defineAggregate({
      name: 'Cinema',
      events: { Booked: z.object({ seats: z.record(z.string(), z.number()) }) },
      initial: () => ({}),
      apply: { Booked: (state) => state },
    })
    const booked = (seats: object) => ({ type: 'Cinema.Booked', data: { seats } })
    const paths = async (options?: Parameters<typeof checkHistory>[2]) =>
      (await checkHistory(store, [Cinema], options)).findings[0]?.paths
    await record(store, 'Cinema-1', booked({ 'ada@example.org': '', '2024-01-01': '', 'b c': '' }))
    expect(await paths()).toEqual(['seats.*'])
    await record(store, 'Cinema-1', booked({ [SECRET]: '' }))
    expect(await paths({ dictionaries: { 'Cinema.Booked': ['seats'] } })).toEqual(['seats.*'])
    for (let i = 0; i < 60; i++) await record(store, 'Cinema-1', booked({ [`${SECRET}${i}`]: '' }))
    expect(await paths()).toEqual(['seats.*'])
  })
})

describe('resuming', () => {
  const many = async () => {
    for (let i = 0; i < 6; i++) await record(store, `Person-${i % 2}`, counted(), counted())
    await record(store, 'Person-0', { type: 'Person.Moved', data: { to: 'throw' } }, counted())
  }

  test('a check continues after an abort at the position that the report states', async () => {
    await many()
    const stop = new AbortController()
    const whole = await check()
    let seen = 0
    const Stopping = defineAggregate({
      name: 'Person',
      events: { Counted: event<{ by: number }>(), Moved: event<{ to: string }>() },
      initial: () => 0,
      apply: {
        Counted: (n) => {
          if (++seen === 5) stop.abort()
          return n + 1
        },
        Moved: (n) => n,
      },
    })
    const begun = await checkHistory(store, [Stopping], { signal: stop.signal })
    expect(begun).toMatchObject({ finished: false, events: 5, findings: [] })
    const rest = await check({ after: begun.position })
    expect(begun.events + rest.events).toBe(whole.events)
    expect(rest).toMatchObject({ finished: true, position: whole.position, findings: whole.findings })
    expect(rest.reread).toBeGreaterThan(0)
  })

  test('a check that continues folds on streams that began before', async () => {
    await many()
    const after = (await store.readAllPage({ limit: 9 })).next
    const folded: number[] = []
    const Watching = defineAggregate({
      name: 'Person',
      events: { Counted: event<{ by: number }>(), Moved: event<{ to: string }>() },
      initial: () => 0,
      apply: { Counted: (n) => (folded.push(n + 1), n + 1), Moved: (n) => n },
    })
    await checkHistory(store, [Watching], { after })
    expect(Math.max(...folded)).toBe(7)
  })

  test('a check that continues does not tell a finding of an earlier part again', async () => {
    await many()
    const { position } = await check()
    await record(store, 'Person-0', counted())
    expect(await check({ after: position })).toMatchObject({ events: 1, findings: [], unfolded: 1 })
  })

  test('a check that continues counts a stream without its beginning once', async () => {
    store = storeWithout(({ revision }) => revision === 0)
    await record(store, 'Person-1', counted(), counted(), counted())
    const after = (await eventsOf(store, 'Person-1'))[0]!.position
    expect((await check({ to: after })).truncated.streams).toBe(1)
    expect(await check({ after })).toMatchObject({ truncated: { streams: 0 }, unfolded: 1 })
  })

  test('a check does not continue if the log was restored to an earlier point', async () => {
    await many()
    const position = await store.logHead()
    store = memoryStore()
    await expect(check({ after: position })).rejects.toThrow(HistoryRewoundError)
    await record(store, 'Person-0', counted())
    await expect(check({ after: position })).rejects.toThrow(HistoryRewoundError)
  })

  test('a check that continues at the end of the log checks nothing', async () => {
    await many()
    const position = await store.logHead()
    expect(await check({ after: position })).toMatchObject({ finished: true, position, events: 0 })
  })
})

test('a signal that is aborted already ends the check before its first event', async () => {
  await record(store, 'Person-1', counted())
  expect(await check({ signal: AbortSignal.abort() })).toMatchObject({ finished: false, position: undefined })
})

test('only so many states are held: a stream that goes on after its state was dropped is read again', async () => {
  const observed = observedStore()
  store = observed
  const rounds = 5
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 10; i++) await record(store, `Person-${i}`, counted())
  }
  await record(store, 'Person-3', { type: 'Person.Moved', data: { to: 'throw' } }, counted())
  const all = await check()
  expect([all.reread, observed.reads.length]).toEqual([0, 0])
  const few = await check({ maxStates: 3 })
  // Seven streams come back after their states were dropped. Each is read once, as a whole, and not once for each of its events.
  expect([few.reread, observed.reads.length]).toEqual([36, 7])
  expect(few).toEqual({ ...all, reread: few.reread })
})

test('what is appended during the check is not folded ahead', async () => {
  const bad = { type: 'Person.Moved', data: { to: 'throw' } }
  for (let round = 0; round < 2; round++) {
    for (const id of [1, 2, 3]) await record(store, `Person-${id}`, counted())
  }
  const { next } = await store.readAllPage({ limit: 5 })
  await record(store, 'Person-1', bad)
  await record(store, 'Person-3', bad)
  expect(await check({ to: next, maxStates: 1 })).toMatchObject({ events: 5, findings: [], unfolded: 0 })
  expect(await check({ maxStates: 1 })).toMatchObject({ events: 8, findings: [{ events: 2 }] })
})

test('progress is told with counts', async () => {
  for (let i = 0; i < 25; i++) {
    await record(store, `Person-${i}`, ...Array.from({ length: 100 }, () => counted()))
  }
  const told: CheckProgress[] = []
  const { position } = await check({ onProgress: (progress) => told.push(progress) })
  expect(told.map(({ events, findings }) => [events, findings])).toEqual([
    [1_000, 0],
    [2_000, 0],
    [2_500, 0],
  ])
  expect(told.at(-1)).toMatchObject({ position, time: expect.stringMatching(/Z$/) as string })
})

test('findings beyond the limit are counted', async () => {
  for (const type of ['A', 'B', 'C']) await record(store, 'Person-1', { type: `Person.${type}`, data: {} })
  const { findings, omitted } = await check({ maxFindings: 2 })
  expect([findings.length, omitted]).toEqual([2, 1])
})

test('what is appended during the check is not checked', async () => {
  await record(store, 'Person-1', counted())
  const report = await check({
    onProgress: () => void record(store, 'Person-1', { type: 'Person.Deleted', data: {} }),
  })
  expect(report).toMatchObject({ events: 1, findings: [] })
  expect(await kinds()).toEqual(['unknown-type'])
})

test('wrong arguments are refused', async () => {
  const refused = (...args: unknown[]) =>
    expect((checkHistory as (...a: unknown[]) => unknown)(...args)).rejects
  await refused({}, [Person]).toThrow(InvalidArgumentError)
  await refused(store, []).toThrow('aggregates must be a list of aggregates')
  await refused(store, [{}]).toThrow('aggregates[0] must be an aggregate')
  await refused(store, [Person, Person]).toThrow("two aggregates have the name 'Person'")
  await refused(store, [Person], { from: '1' }).toThrow("unknown option 'from'")
  await refused(store, [Person], { maxStates: 0 }).toThrow('maxStates')
  await refused(store, [Person], { dictionaries: { A: 'seats' } }).toThrow("dictionaries['A']")
  await refused(store, [Person], { onProgress: 1 }).toThrow('onProgress')
})
