import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  aggregateFromClass,
  defineAggregate,
  event,
  execute,
  FoldError,
  type Recorded,
  type RecordedFacts,
} from 'mneme'
import { eventsOf, observedStore } from '../support/observed-store.ts'

/** The same event over the years: a name, then first and last name, then all names. */
const First = defineAggregate({
  name: 'Person',
  events: { Named: event<{ name: string }>() },
  initial: () => ({ names: '' }),
  apply: { Named: (_, { name }) => ({ names: name }) },
})
const Second = defineAggregate({
  name: 'Person',
  events: {
    Named: event<{ name: string }>().next<{ first: string; last: string }>(({ name }) => {
      const [first = '', last = ''] = name.split(' ')
      return { first, last }
    }),
  },
  initial: () => ({ names: '' }),
  apply: { Named: (_, { first, last }) => ({ names: `${first}+${last}` }) },
})
const Third = defineAggregate({
  name: 'Person',
  events: {
    Called: event<{ name: string }>()
      .next<{ first: string; last: string }>(({ name }) => {
        const [first = '', last = ''] = name.split(' ')
        return { first, last }
      })
      .next<{ names: string[] }>(({ first, last }) => ({ names: [first, last] }))
      .formerly('Person.Named', 'Human.Named'),
  },
  initial: () => ({ names: '' }),
  apply: { Called: (_, { names }) => ({ names: names.join('|') }) },
})

/** One stream, written by the programs of all those years. */
async function history() {
  const store = observedStore()
  await execute(store, { reads: First('p'), handle: () => First.events.Named({ name: 'Ada Lovelace' }) })
  await execute(store, {
    reads: Second('p'),
    handle: () => Second.events.Named({ first: 'Ada', last: 'Byron' }),
  })
  await execute(store, { reads: Third('p'), handle: () => Third.events.Called({ names: ['Ada', 'King'] }) })
  return store
}

async function read(store: Awaited<ReturnType<typeof history>>, stream: Parameters<typeof store.read>[0]) {
  const events: Recorded[] = []
  for await (const recorded of store.read(stream)) events.push(recorded)
  return events.map(({ type, version, data }) => ({ type, version, data }))
}

describe('an event that changed over the years', () => {
  test('is stored with its version beside its data, and never rewritten', async () => {
    const store = await history()
    const stored = [
      { type: 'Person.Named', version: 1, data: { name: 'Ada Lovelace' } },
      { type: 'Person.Named', version: 2, data: { first: 'Ada', last: 'Byron' } },
      { type: 'Person.Called', version: 3, data: { names: ['Ada', 'King'] } },
    ]
    expect(await read(store, 'Person-p')).toEqual(stored)
    expect(
      store.data.log.map(({ type, version, data }) => ({ type, version, data: JSON.parse(data) as unknown })),
    ).toEqual(stored)
    await execute(store, { reads: Third('p'), handle: () => [] })
    expect(await read(store, 'Person-p')).toEqual(stored)
  })

  test('is read in its present name and version through its aggregate', async () => {
    expect(await read(await history(), Third('p'))).toEqual([
      { type: 'Person.Called', version: 3, data: { names: ['Ada', 'Lovelace'] } },
      { type: 'Person.Called', version: 3, data: { names: ['Ada', 'Byron'] } },
      { type: 'Person.Called', version: 3, data: { names: ['Ada', 'King'] } },
    ])
  })

  test('an old event is upcast with what else was recorded of it, wherever it is read', async () => {
    const facts: RecordedFacts[] = []
    const Dated = defineAggregate({
      name: 'Person',
      events: {
        Named: event<{ name: string }>().next(({ name }, recorded) => {
          facts.push({ ...recorded })
          return { name, since: recorded.time.slice(0, 4), by: String(recorded.metadata.user) }
        }),
      },
      initial: () => ({ since: '', by: '' }),
      apply: { Named: (_, { since, by }) => ({ since, by }) },
    })
    const store = observedStore()
    const id = crypto.randomUUID()
    const named = { ...First.events.Named({ name: 'Ada' }), id }
    await store.append({ stream: 'Person-p', events: [named] }, { metadata: { user: 'ann' } })
    const [recorded] = await eventsOf(store, 'Person-p')
    const since = recorded!.time.slice(0, 4)
    const expected = { since, by: 'ann' }

    const asNow = { reads: Dated('p'), handle: () => [] }
    expect((await execute(store, asNow)).state).toEqual(expected)
    for await (const { data } of store.read(Dated('p'))) expect(data).toEqual({ name: 'Ada', ...expected })
    expect(Dated.evolve(Dated.initial(), recorded as never)).toEqual(expected)
    // From the cache, with events that another process has appended since.
    await store.stranger.append({ stream: 'Person-p', events: [First.events.Named({ name: 'Eve' })] })
    expect((await execute(store, asNow)).state).toEqual({ since, by: 'undefined' })
    const { type: _type, data: _data, version: _version, position: _position, ...whole } = recorded!
    expect(facts[0]).toEqual(whole)
    expect(facts.map(({ revision }) => revision)).toEqual([0, 0, 0, 1])
  })

  test.each([
    ['undefined', () => undefined],
    ['null', () => null],
    ['a promise', () => Promise.resolve({ name: 'Ada' })],
    ['number', () => 5],
  ])(
    'an event whose upcast returns %s fails, rather than be folded as if it had no data',
    async (what, upcast) => {
      const Wrong = defineAggregate({
        name: 'Person',
        events: { Named: event<{ name: string }>().next(upcast as never) },
        initial: () => ({ isNamed: false }),
        apply: { Named: () => ({ isNamed: true }) },
      })
      const store = observedStore()
      await store.append({ stream: 'Person-p', events: [First.events.Named({ name: 'Ada' })] })
      const failed = execute(store, { reads: Wrong('p'), handle: () => [] })
      await expect(failed).rejects.toThrow(FoldError)
      await expect(failed).rejects.toMatchObject({
        cause: { message: expect.stringContaining(what) as string },
      })
    },
  )

  test('an event that a decision makes in an older version has no time yet', async () => {
    const Dated = defineAggregate({
      name: 'Person',
      events: { Named: event<{ name: string }>().next((old, { time }) => ({ ...old, time })) },
      initial: () => ({}),
      apply: { Named: (state) => state },
    })
    const store = observedStore()
    const old = First.events.Named({ name: 'Ada' })
    const command = { reads: Dated('p'), handle: () => ({ ...old, version: 1 }) as never }
    await expect(execute(store, command)).rejects.toMatchObject({
      cause: { message: 'an event that is not stored yet has no time: make events in their present version' },
    })
    expect(store.data.log).toEqual([])
  })

  test('is folded in its present version, from the store and from the cache', async () => {
    const store = observedStore()
    await store.append({ stream: 'Person-p', events: [First.events.Named({ name: 'Ada Lovelace' })] })
    const asNow = { reads: Third('p'), handle: () => [] }
    expect((await execute(store, asNow)).state).toEqual({ names: 'Ada|Lovelace' })
    await store.stranger.append({
      stream: 'Person-p',
      events: [{ type: 'Human.Named', data: { name: 'Ada Byron' } }],
    })
    expect((await execute(store, asNow)).state).toEqual({ names: 'Ada|Byron' })
  })

  test('is known by its constructor only in its present name and version', async () => {
    const store = await history()
    const is = async (stream: Parameters<typeof store.read>[0]) => {
      const known: boolean[] = []
      for await (const recorded of store.read(stream)) known.push(Third.events.Called.is(recorded))
      return known
    }
    expect(await is(Third('p'))).toEqual([true, true, true])
    expect(await is('Person-p')).toEqual([false, false, true])
    expect(Second.events.Named.is(First.events.Named({ name: 'Ada' }))).toBe(false)
    expect(Second.events.Named.is(Second.events.Named({ first: 'A', last: 'B' }))).toBe(true)
    expect([First.events.Named.version, Second.events.Named.version, Third.events.Called.version]).toEqual([
      1, 2, 3,
    ])
  })

  test('keeps its version where a constructed event is spread', async () => {
    const store = observedStore()
    const id = crypto.randomUUID()
    const spread = { ...Third.events.Called({ names: ['Ada'] }), id }
    expect(spread).toEqual({ type: 'Person.Called', data: { names: ['Ada'] }, version: 3, id })
    await store.append({ stream: 'Person-p', events: [spread] })
    await store.append({ stream: Third('q'), events: [{ ...spread, id: crypto.randomUUID() }] })
    await execute(store, { reads: Third('r'), handle: () => ({ ...spread, id: crypto.randomUUID() }) })
    expect(store.data.log.map(({ version }) => version)).toEqual([3, 3, 3])
    expect((await eventsOf(store, 'Person-p'))[0]).toMatchObject({ id, version: 3 })
  })

  test('may be written in an older version by hand, and is then upcast', async () => {
    const store = observedStore()
    const old = { type: 'Person.Named', version: 1, data: { name: 'Ada Lovelace' } }
    const { state } = await execute(store, { reads: Third('p'), handle: () => old as never })
    expect(state).toEqual({ names: 'Ada|Lovelace' })
    expect(await read(store, 'Person-p')).toEqual([old])
  })

  test('takes only the upcasts that its version needs', async () => {
    const called: number[] = []
    const Counted = defineAggregate({
      name: 'Counted',
      events: {
        E: event<{ v: number }>()
          .next<{ v: number }>(({ v }) => (called.push(1), { v: v + 1 }))
          .next<{ v: number }>(({ v }) => (called.push(2), { v: v + 10 })),
      },
      initial: () => ({ v: 0 }),
      apply: { E: (_, { v }) => ({ v }) },
    })
    const store = observedStore()
    const now = { reads: Counted('c'), handle: () => [] }
    for (const [version, v] of [
      [1, 11],
      [2, 10],
      [3, 0],
    ]) {
      await store.append({
        stream: 'Counted-c',
        events: [{ type: 'Counted.E', version: version!, data: { v: 0 } }],
      })
      expect((await execute(store, now)).state).toEqual({ v })
    }
    expect(called).toEqual([1, 2, 2])
  })
})

describe('an upcast', () => {
  const mine = new Error('mine')
  const Failing = defineAggregate({
    name: 'Failing',
    events: {
      E: event<{ v: number }>().next<{ w: number }>(() => {
        throw mine
      }),
    },
    initial: () => ({}),
    apply: { E: () => ({}) },
  })

  test('that throws fails with FoldError, where it is folded and where it is read', async () => {
    const store = observedStore()
    await store.append({ stream: 'Failing-f', events: [{ type: 'Failing.E', data: { v: 1 } }] })
    const failed = { code: 'FOLD_FAILED', stream: 'Failing-f', type: 'Failing.E', revision: 0, cause: mine }
    await expect(execute(store, { reads: Failing('f'), handle: () => [] })).rejects.toMatchObject(failed)
    const reading = store.read(Failing('f'))
    await expect(reading.next()).rejects.toThrow(FoldError)
    await expect(reading.next()).resolves.toEqual({ done: true, value: undefined })
    expect(await eventsOf(store, 'Failing-f')).toHaveLength(1)
  })

  test('may change what it is given, of stored and of decided events alike', async () => {
    const Changing = defineAggregate({
      name: 'Changing',
      events: {
        E: event<{ list: number[] }>().next<{ list: number[]; count: number }>((old) =>
          Object.assign(old, { count: old.list.push(0) }),
        ),
      },
      initial: () => ({ count: 0 }),
      apply: { E: (_, { count }) => ({ count }) },
    })
    const store = observedStore()
    const old = { type: 'Changing.E', version: 1, data: { list: [1] } }
    const { state } = await execute(store, { reads: Changing('c'), handle: () => old as never })
    expect(state).toEqual({ count: 2 })
    expect(old.data).toEqual({ list: [1] })
    expect(
      (await execute(observedStore({}, store.data), { reads: Changing('c'), handle: () => [] })).state,
    ).toEqual({ count: 2 })
  })

  test('is checked to be one', () => {
    expect(() => event<{ v: number }>().next('upcast' as never)).toThrow(
      expect.objectContaining({ argument: 'upcast' }) as Error,
    )
    expect(() => event<{ v: number }>().next(z.object({}) as never)).toThrow(TypeError)
    expect(() => event<{ v: number }>().next(z.object({}), undefined as never)).toThrow(TypeError)
  })

  test('beside a schema: the schema checks new events and is not asked again of old ones', async () => {
    const Checked = defineAggregate({
      name: 'Checked',
      events: { E: event<{ v: number }>().next(z.object({ v: z.int().min(100) }), ({ v }) => ({ v })) },
      initial: () => ({ v: 0 }),
      apply: { E: (_, { v }) => ({ v }) },
    })
    const store = observedStore()
    await store.append({ stream: 'Checked-c', events: [{ type: 'Checked.E', version: 1, data: { v: 1 } }] })
    expect((await execute(store, { reads: Checked('c'), handle: () => [] })).state).toEqual({ v: 1 })
    expect(() => Checked.events.E({ v: 1 })).toThrow('data.v')
  })
})

describe('tightening a schema', () => {
  test('makes no history unreadable', async () => {
    const of = (schema: z.ZodType<{ amount: number }, { amount: number }>) =>
      defineAggregate({
        name: 'Money',
        events: { Paid: schema },
        initial: () => ({ paid: 0 }),
        apply: { Paid: ({ paid }, { amount }) => ({ paid: paid + amount }) },
      })
    const [loose, tight] = [
      of(z.object({ amount: z.number() })),
      of(z.object({ amount: z.number().max(10) })),
    ]
    const store = observedStore()
    await execute(store, { reads: loose('m'), handle: () => loose.events.Paid({ amount: 99 }) })
    expect(
      (await execute(store, { reads: tight('m'), handle: () => tight.events.Paid({ amount: 1 }) })).state,
    ).toEqual({ paid: 100 })
  })
})

describe('a state class', () => {
  test('sees present versions as well', async () => {
    class Names {
      names = ''
      apply(recorded: { data: { first: string; last: string } }) {
        this.names += `${recorded.data.first}-${recorded.data.last};`
      }
      clone(): Names {
        return Object.assign(new Names(), this)
      }
    }
    const People = aggregateFromClass({
      name: 'Person',
      events: {
        Named: event<{ name: string }>().next<{ first: string; last: string }>(({ name }) => ({
          first: name,
          last: '',
        })),
      },
      state: Names,
    })
    const store = observedStore()
    await execute(store, { reads: First('p'), handle: () => First.events.Named({ name: 'Ada' }) })
    const { state } = await execute(store, {
      reads: People('p'),
      handle: () => People.events.Named({ first: 'Ada', last: 'B' }),
    })
    expect(state.names).toBe('Ada-;Ada-B;')
  })
})

describe('the log of all those years', () => {
  test('is filtered by a constructor under its former names, too, and by a name as stored', async () => {
    const store = await history()
    const types = async (wanted: readonly (string | typeof Third.events.Called)[]) => {
      const found: string[] = []
      for await (const { type } of store.readAll({ types: wanted })) found.push(type)
      return new Set(found)
    }
    expect(await types([Third.events.Called])).toContain('Person.Named')
    expect(await types(['Person.Called'])).not.toContain('Person.Named')
  })

  test('is decoded to the present, and what belongs to others is left out', async () => {
    const store = await history()
    await store.append({ stream: 'Other-1', events: [{ type: 'Other.Happened', data: {} }] })
    const versions = new Set<number>()
    let others = 0
    for await (const stored of store.readAll()) {
      const event = Third.decode(stored)
      if (event) {
        versions.add(event.version)
        expect(Array.isArray(event.data.names)).toBe(true)
      } else others++
    }
    expect(versions).toEqual(new Set([3]))
    expect(others).toBe(1)
  })
})
