import { describe, expect, test } from 'vitest'
import { aggregateFromClass, defineAggregate, event, execute, FoldError, type Executed } from 'mneme'
import { freezeState } from '../../src/execution/freeze.ts'
import { observedStore, times } from '../support/observed-store.ts'

const untyped = execute as (...args: unknown[]) => Promise<Executed<never, unknown>>

interface Rich {
  total: number
  items: { name: string }[]
  byName: Map<string, { count: number }>
  names: Set<string>
  at: Date
}
const Basket = defineAggregate({
  name: 'Basket',
  events: { Added: event<{ name: string }>() },
  initial: (): Rich => ({ total: 0, items: [], byName: new Map(), names: new Set(), at: new Date(0) }),
  apply: {
    Added: (state, { name }) => ({
      total: state.total + 1,
      items: [...state.items, { name }],
      byName: new Map(state.byName).set(name, { count: (state.byName.get(name)?.count ?? 0) + 1 }),
      names: new Set([...state.names, name]),
      at: new Date(state.total + 1),
    }),
  },
})
const { Added } = Basket.events
const basket = Basket('b')
const adding = { reads: basket, handle: () => Added({ name: 'apple' }) }
const afterTwo = {
  total: 2,
  items: [{ name: 'apple' }, { name: 'apple' }],
  byName: new Map([['apple', { count: 2 }]]),
  names: new Set(['apple']),
  at: new Date(2),
}

const mutations: [string, (state: Rich) => unknown][] = [
  ['a property', (state) => (state.total = 99)],
  ['a new property', (state) => ((state as unknown as Record<string, unknown>).extra = 1)],
  ['a deleted property', (state) => delete (state as Partial<Rich>).total],
  ['an array', (state) => state.items.push({ name: 'pear' })],
  ['an element', (state) => (state.items[0]!.name = 'pear')],
  ['the length of an array', (state) => (state.items.length = 0)],
  ['a sorted array', (state) => state.items.sort()],
  ['a Map, set', (state) => state.byName.set('pear', { count: 1 })],
  ['a Map, deleted from', (state) => state.byName.delete('apple')],
  ['a Map, cleared', (state) => state.byName.clear()],
  ['a value of a Map', (state) => (state.byName.get('apple')!.count = 99)],
  ['a Set, added to', (state) => state.names.add('pear')],
  ['a Set, deleted from', (state) => state.names.delete('apple')],
  ['a Set, cleared', (state) => state.names.clear()],
  ['a Date', (state) => state.at.setTime(99)],
  ['a Date by its year', (state) => state.at.setFullYear(1999)],
]

describe('a state that handle changes', () => {
  test.each(mutations)('throws a TypeError to the caller and changes nothing: %s', async (_, mutate) => {
    for (const reads of [basket, { basket }]) {
      const store = observedStore()
      await execute(store, adding)
      await execute(store, adding)
      const mutating = {
        reads,
        handle: (state: Rich & { basket: Rich }) => {
          mutate('basket' in state ? state.basket : state)
          return []
        },
      }
      await expect(untyped(store, mutating)).rejects.toThrow(TypeError)
      const asynchronously = {
        reads,
        handle: async (state: Rich & { basket: Rich }) => mutating.handle(state),
      }
      await expect(untyped(store, asynchronously)).rejects.toThrow(TypeError)
      const seen = await untyped(store, { reads: basket, handle: () => [] })
      expect(seen.state).toEqual(afterTwo)
    }
  })

  test.each(mutations)('is protected in a result as well: %s', async (_, mutate) => {
    const store = observedStore()
    await execute(store, adding)
    const { state } = await execute(store, adding)
    expect(() => mutate(state as Rich)).toThrow(TypeError)
    const seen = await execute(store, { reads: { basket }, handle: () => [] })
    expect(seen.state.basket).toEqual(afterTwo)
    expect(() => mutate(seen.state.basket as Rich)).toThrow(TypeError)
  })

  test('is protected from the very first event on', async () => {
    const store = observedStore()
    const mutating = { reads: basket, handle: (state: Rich) => state.items.push({ name: 'pear' }) }
    await expect(untyped(store, mutating)).rejects.toThrow(TypeError)
  })

  test('is protected within a group', async () => {
    const store = observedStore()
    const mutating = { reads: basket, handle: (state: Rich) => (state.total = 99) }
    const outcomes = await Promise.allSettled(times(6, (i) => untyped(store, i % 2 ? mutating : adding)))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
    const { state } = await untyped(store, { reads: basket, handle: () => [] })
    expect(state).toMatchObject({ total: 3 })
  })
})

describe('an event handed out', () => {
  test('shares nothing with the state or the store', async () => {
    const store = observedStore()
    const { events, state } = await execute(store, adding)
    expect(() => (events[0]!.data.name = 'pear')).toThrow(TypeError)
    expect(state.items).toEqual([{ name: 'apple' }])
  })
})

/** A state that nothing can keep from being changed. */
class Tally {
  counts: Record<string, number> = {}
}
const unshareable: [string, () => object, (state: never) => { counts: Record<string, number> }][] = [
  ['an instance of a class', () => new Tally(), (state) => state],
  ['an instance of a class within', () => ({ tally: new Tally() }), ({ tally }: { tally: Tally }) => tally],
  [
    'an instance in a Map',
    () => new Map([['tally', new Tally()]]),
    (state: Map<string, Tally>) => state.get('tally')!,
  ],
  ['an instance in an array', () => [new Tally()], ([tally]: [Tally]) => tally],
  [
    'a function that closes over it',
    () => {
      const tally = new Tally()
      return { get: () => tally }
    },
    (state: { get: () => Tally }) => state.get(),
  ],
  [
    'an accessor',
    () => {
      const tally = new Tally()
      return {
        get tally() {
          return tally
        },
      }
    },
    (state: { tally: Tally }) => state.tally,
  ],
  [
    'a Map of a class of its own',
    () =>
      new (class extends Map {
        counts = {}
      })(),
    (state: Tally) => state,
  ],
]

describe.each(unshareable)('a state that cannot be frozen: %s', (_, initial, tallyOf) => {
  const Poll = defineAggregate({
    name: 'Poll',
    events: { Voted: event<{ option: string }>() },
    initial: initial,
    apply: {
      // Changes its argument, as a class would.
      Voted: (state, { option }) => {
        const { counts } = tallyOf(state as never)
        counts[option] = (counts[option] ?? 0) + 1
        return state
      },
    },
  })
  const poll = Poll('p')
  const { Voted } = Poll.events
  const countsOf = (state: unknown) => ({ ...tallyOf(state as never).counts })
  const spoil = (state: unknown) => (tallyOf(state as never).counts.spoilt = 1_000)

  test('is never shared, nor corrupted by who sees it', async () => {
    for (const reads of [poll, { poll }]) {
      const store = observedStore()
      const stateIn = (state: unknown) => (reads === poll ? state : (state as { poll: unknown }).poll)
      const seen: unknown[] = []
      const voting = {
        reads,
        handle: (state: unknown) => {
          seen.push(countsOf(stateIn(state)))
          spoil(stateIn(state))
          return reads === poll
            ? Voted({ option: 'yes' })
            : { stream: poll.stream, events: [Voted({ option: 'yes' })] }
        },
      }
      for (let i = 1; i <= 4; i++) {
        const { state } = await untyped(store, voting)
        expect(countsOf(stateIn(state))).toEqual({ yes: i })
        spoil(stateIn(state))
      }
      expect(seen).toEqual([{}, { yes: 1 }, { yes: 2 }, { yes: 3 }])
    }
  })

  test('is as the store has it in the result of a decision on nothing', async () => {
    for (const reads of [poll, { poll }]) {
      const store = observedStore()
      await execute(store, { reads: poll, handle: () => Voted({ option: 'yes' }) })
      const stateIn = (state: unknown) => (reads === poll ? state : (state as { poll: unknown }).poll)
      const { state } = await untyped(store, {
        reads,
        handle: (seen: unknown) => {
          spoil(stateIn(seen))
          return []
        },
      })
      expect(countsOf(stateIn(state))).toEqual({ yes: 1 })
    }
  })

  test('is right for each of many that wait for one stream', async () => {
    const store = observedStore()
    const seen: unknown[] = []
    const voting = {
      reads: poll,
      handle: async (state: unknown) => {
        seen.push(countsOf(state))
        spoil(state)
        return Voted({ option: 'yes' })
      },
    }
    const results = await Promise.all(times(12, () => untyped(store, voting)))
    expect(results.map(({ state }) => countsOf(state))).toEqual(times(12, (i) => ({ yes: i + 1 })))
    expect(seen).toEqual([{}, ...times(11, (i) => ({ yes: i + 1 }))])
  })

  test('is not that of a command given up before', async () => {
    const store = observedStore()
    const controller = new AbortController()
    const spoilt = untyped(
      store,
      {
        reads: poll,
        handle: (state: unknown) => {
          spoil(state)
          queueMicrotask(() => controller.abort())
          return new Promise(() => undefined)
        },
      },
      { signal: controller.signal },
    )
    const next = untyped(store, {
      reads: poll,
      handle: (state: unknown) => Voted({ option: JSON.stringify(countsOf(state)) }),
    })
    await expect(spoilt).rejects.toMatchObject({ name: 'AbortError' })
    expect(countsOf((await next).state)).toEqual({ '{}': 1 })
  })

  test('is folded anew after a conflict', async () => {
    const store = observedStore()
    let met = false
    store.beforeAppend = async () => {
      if (met) return
      met = true
      await store.stranger.append({ stream: poll, events: [Voted({ option: 'no' })] })
    }
    const { state } = await untyped(
      store,
      { reads: poll, handle: () => Voted({ option: 'yes' }) },
      { retry: { baseDelay: 0 } },
    )
    expect(countsOf(state)).toEqual({ no: 1, yes: 1 })
  })
})

describe('a state class', () => {
  const events = { Added: event<{ lines: string[] }>(), Extended: event<{ line: string }>() }
  type Change = { type: string; data: unknown }

  class Draft {
    lines: string[] = []
    apply({ type, data }: Change) {
      if (type.endsWith('.Added')) this.lines = (data as { lines: string[] }).lines
      else this.lines.push((data as { line: string }).line)
    }
  }
  class Document extends Draft {
    clone() {
      const copy = new Document()
      copy.lines = [...this.lines]
      return copy
    }
  }
  const Drafts = aggregateFromClass({ name: 'Draft', events, state: Draft })
  const Documents = aggregateFromClass({ name: 'Document', events, state: Document })

  test('with clone() is kept at hand, and each decision has a copy', async () => {
    const store = observedStore()
    const { Added, Extended } = Documents.events
    const document = Documents('d')
    const first = await execute(store, { reads: document, handle: () => Added({ lines: ['one'] }) })
    first.state.lines.push('spoilt')
    store.forget()
    const results = await Promise.all(
      times(4, (i) =>
        execute(store, {
          reads: document,
          handle: (state) => {
            expect(state).toBeInstanceOf(Document)
            state.lines.push('spoilt')
            return Extended({ line: `${i}` })
          },
        }),
      ),
    )
    expect(results.map(({ state }) => state.lines)).toEqual([
      ['one', '0'],
      ['one', '0', '1'],
      ['one', '0', '1', '2'],
      ['one', '0', '1', '2', '3'],
    ])
    for (const { state } of results) state.lines.push('spoilt')
    const { state } = await execute(store, { reads: { document }, handle: () => [] })
    expect(state.document.lines).toEqual(['one', '0', '1', '2', '3'])
    expect(store.reads).toEqual([])
  })

  test('without clone() is folded for each decision', async () => {
    const store = observedStore()
    const { Added, Extended } = Drafts.events
    const draft = Drafts('d')
    await execute(store, { reads: draft, handle: () => Added({ lines: ['one'] }) })
    const results = await Promise.all(
      times(3, (i) =>
        execute(store, {
          reads: draft,
          handle: (state) => {
            state.lines.push('spoilt')
            return Extended({ line: `${i}` })
          },
        }),
      ),
    )
    expect(results.map(({ state }) => state.lines)).toEqual([
      ['one', '0'],
      ['one', '0', '1'],
      ['one', '0', '1', '2'],
    ])
  })

  test('may keep and change what an event brought, in one decision as over several', async () => {
    for (const Kind of [Drafts, Documents]) {
      const store = observedStore()
      const { Added, Extended } = Kind.events
      const both = {
        reads: Kind('d') as never,
        handle: () => [Added({ lines: ['one'] }), Extended({ line: 'two' })],
      }
      const { state, events } = await untyped(store, both)
      expect(state).toMatchObject({ lines: ['one', 'two'] })
      expect(events).toMatchObject([{ data: { lines: ['one'] } }, { data: { line: 'two' } }])
      const again = await untyped(observedStore({}, store.data), { reads: Kind('d'), handle: () => [] })
      expect(again.state).toMatchObject({ lines: ['one', 'two'] })
    }
  })

  test('whose apply throws fails the command, and its state is not kept half changed', async () => {
    class Fragile {
      sum = 0
      apply({ data }: { data: { force: number } }) {
        this.sum += data.force
        if (data.force > 9) throw new Error('broken')
      }
      clone() {
        return Object.assign(new Fragile(), this)
      }
    }
    class Unclonable {
      sum = 0
      apply({ data }: { data: { force: number } }) {
        this.sum += data.force
        if (data.force > 9) throw new Error('broken')
      }
    }
    for (const state of [Fragile, Unclonable]) {
      const Hits = aggregateFromClass({ name: 'Hits', events: { Hit: event<{ force: number }>() }, state })
      const hit = (force: number) => ({ reads: Hits('h'), handle: () => Hits.events.Hit({ force }) })
      const store = observedStore()
      const outcomes = await Promise.allSettled([1, 10, 2].map((force) => execute(store, hit(force))))
      expect(outcomes).toMatchObject([
        { value: { state: { sum: 1 } } },
        { reason: { code: 'FOLD_FAILED', revision: 1 } },
        { value: { state: { sum: 3 } } },
      ])
      expect((await execute(store, hit(4))).state.sum).toBe(7)
    }
  })
})

describe('an apply that changes its argument', () => {
  type Nested = { list: number[]; map: Map<string, number>; deep: { set: Set<number>; count: number } }
  const changes: [string, (state: Nested, n: number) => unknown][] = [
    ['a property', (state, n) => (state.deep.count = n)],
    ['an array', (state, n) => state.list.push(n)],
    ['a Map', (state, n) => state.map.set('n', n)],
    ['a Set', (state, n) => state.deep.set.add(n)],
    ['the state itself', (state, n) => ((state as unknown as { n: number }).n = n)],
  ]
  test.each(changes)('fails with FoldError, however it is folded: %s', async (_, change) => {
    const Impure = defineAggregate({
      name: 'Impure',
      events: { Reset: event(), Changed: event<{ n: number }>() },
      initial: (): Nested => ({ list: [], map: new Map(), deep: { set: new Set(), count: 0 } }),
      apply: {
        Reset: (): Nested => ({ list: [], map: new Map(), deep: { set: new Set(), count: 0 } }),
        Changed: (state, { n }) => {
          change(state, n)
          return state
        },
      },
    })
    const { Reset, Changed } = Impure.events
    const deciding = (...events: unknown[]) => ({ reads: Impure('i'), handle: () => events })
    const store = observedStore()
    const failed = { code: 'FOLD_FAILED', type: 'Impure.Changed', cause: expect.any(TypeError) as unknown }
    await expect(untyped(store, deciding(Changed({ n: 1 }))), 'on the initial state').rejects.toMatchObject(
      failed,
    )
    await expect(
      untyped(store, deciding(Reset(), Changed({ n: 1 }))),
      'in one decision',
    ).rejects.toMatchObject(failed)
    await execute(store, { reads: Impure('i'), handle: () => Reset() })
    await expect(untyped(store, deciding(Changed({ n: 1 }))), 'on a state at hand').rejects.toMatchObject(
      failed,
    )
    expect(store.data.log).toHaveLength(1)
    await store.append({ stream: 'Impure-i', events: [Changed({ n: 1 })] })
    await expect(untyped(store, deciding()), 'read on').rejects.toThrow(FoldError)
    await expect(untyped(observedStore({}, store.data), deciding()), 'read anew').rejects.toMatchObject({
      ...failed,
      revision: 1,
    })
  })
})

describe('freezing a state', () => {
  test('tells whether nothing in it can change any more', () => {
    const cyclic: Record<string, unknown> = { list: [1] }
    cyclic.self = cyclic
    for (const state of [
      1,
      'text',
      null,
      undefined,
      true,
      10n,
      {},
      [],
      cyclic,
      Object.create(null),
      { a: [{ b: new Map([[{}, new Set([1])]]) }] },
    ]) {
      expect(freezeState(state)).toBe(true)
      expect(freezeState(state)).toBe(true)
    }
    const frozenMap = Object.freeze(new Map([['a', 1]]))
    const sealedSet = Object.preventExtensions(new Set([1]))
    const others = [
      () => 1,
      new Uint8Array(1),
      new (class A {
        n = 1
      })(),
      new Error('x'),
      /x/,
      Promise.resolve(),
      new URL('a:b'),
      new WeakMap(),
      frozenMap,
      sealedSet,
      Object.freeze(new Date()),
      new (class extends Array {})(),
      new (class extends Map {})(),
      new (class extends Set {})(),
      new (class extends Date {})(),
      Object.create({ inherited: [] }) as object,
    ]
    for (const state of others) {
      expect(freezeState(state)).toBe(false)
      expect(freezeState({ nested: [state] })).toBe(false)
      expect(freezeState(new Map([[state, 1]]))).toBe(false)
    }
  })

  test('is not deceived by an earlier try that failed half-way', () => {
    const shared = { list: [1] }
    expect(freezeState({ shared, other: () => 1 })).toBe(false)
    expect(freezeState({ shared })).toBe(true)
    expect(() => shared.list.push(2)).toThrow(TypeError)
  })

  test('leaves frozen Maps readable', () => {
    const map = new Map([['a', 1]])
    freezeState({ map })
    expect([...map, map.get('a'), map.size, map.has('a')]).toEqual([['a', 1], 1, 1, true])
    expect(new Map(map).set('b', 2).size).toBe(2)
    expect(structuredClone(map).size).toBe(1)
  })
})
