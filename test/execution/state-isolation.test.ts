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
  test.each(mutations)(
    'a handle that changes its state throws a TypeError to the caller and changes nothing: %s',
    async (_, mutate) => {
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
    },
  )

  test.each(mutations)('the state in a result cannot be changed: %s', async (_, mutate) => {
    const store = observedStore()
    await execute(store, adding)
    const { state } = await execute(store, adding)
    expect(() => mutate(state as Rich)).toThrow(TypeError)
    const seen = await execute(store, { reads: { basket }, handle: () => [] })
    expect(seen.state.basket).toEqual(afterTwo)
    expect(() => mutate(seen.state.basket as Rich)).toThrow(TypeError)
  })

  test('the initial state cannot be changed by the handle that gets it', async () => {
    const store = observedStore()
    const mutating = { reads: basket, handle: (state: Rich) => state.items.push({ name: 'pear' }) }
    await expect(untyped(store, mutating)).rejects.toThrow(TypeError)
  })

  test('a handle cannot change the state that the next command of its group gets', async () => {
    const store = observedStore()
    const mutating = { reads: basket, handle: (state: Rich) => (state.total = 99) }
    const outcomes = await Promise.allSettled(times(6, (i) => untyped(store, i % 2 ? mutating : adding)))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
    const { state } = await untyped(store, { reads: basket, handle: () => [] })
    expect(state).toMatchObject({ total: 3 })
  })
})

describe('an event handed out', () => {
  test('an event of a result shares nothing with the state or the store', async () => {
    const store = observedStore()
    const { events, state } = await execute(store, adding)
    expect(() => (events[0]!.data.name = 'pear')).toThrow(TypeError)
    expect(state.items).toEqual([{ name: 'apple' }])
  })
})

class Tally {
  counts: Record<string, number> = {}
}
/** States that a decision could change although they are frozen, and what the error says of them. */
const unshareable: [string, () => object, string][] = [
  ['an instance of a class', () => new Tally(), 'an instance of Tally'],
  ['an instance of a class within', () => ({ tally: new Tally() }), 'an instance of Tally'],
  ['an instance in a Map', () => new Map([['tally', new Tally()]]), 'an instance of Tally'],
  ['an instance in an array', () => [new Tally()], 'an instance of Tally'],
  ['a function that closes over it', () => ({ get: () => new Tally() }), 'a function'],
  [
    'an accessor',
    () => ({
      get tally() {
        return new Tally()
      },
    }),
    'a property with a getter or setter',
  ],
  ['a typed array', () => ({ bytes: new Uint8Array(1) }), 'an instance of Uint8Array'],
  ['a Map of a class of its own', () => new (class extends Map {})(), 'an instance of a class'],
]

const adviceOf = (stream: string) =>
  expect.objectContaining({
    code: 'INVALID_ARGUMENT',
    message: expect.stringMatching(
      new RegExp(`^the state of stream "${stream}" cannot be frozen, because it has .*clone\\(\\)$`),
    ) as string,
  }) as Error

describe.each(unshareable)('a state that cannot be frozen: %s', (_, initial, obstacle) => {
  const events = { Voted: event<{ option: string }>() }

  test('a state that cannot be frozen is refused when its stream is folded, before handle runs', async () => {
    const Poll = defineAggregate({ name: 'Poll', events, initial, apply: { Voted: () => ({}) } })
    for (const reads of [Poll('p'), { poll: Poll('p') }]) {
      const store = observedStore()
      let runs = 0
      const voting = { reads, handle: () => [runs++] }
      await expect(untyped(store, voting)).rejects.toThrow(adviceOf('Poll-p'))
      await expect(untyped(store, voting)).rejects.toThrow(`because it has ${obstacle};`)
      expect(runs).toBe(0)
    }
  })

  test('a state that cannot be frozen is refused when apply returns it, and nothing is stored', async () => {
    const Poll = defineAggregate({
      name: 'Poll',
      events,
      initial: (): object => ({}),
      apply: { Voted: initial },
    })
    const poll = Poll('p')
    const voted = Poll.events.Voted({ option: 'yes' })
    for (const [reads, returned] of [
      [poll, voted],
      [{ poll }, { stream: poll.stream, events: [voted] }],
    ]) {
      const store = observedStore()
      await expect(untyped(store, { reads, handle: () => returned })).rejects.toThrow(adviceOf('Poll-p'))
      expect(store.data.log).toEqual([])
      await store.append({ stream: poll, events: [voted] })
      await expect(untyped(store, { reads, handle: () => [] })).rejects.toThrow(adviceOf('Poll-p'))
    }
  })

  test('a state that cannot be frozen fails no other command that waits for the stream', async () => {
    const Poll = defineAggregate({
      name: 'Poll',
      events: { ...events, Closed: event() },
      initial: (): object => ({}),
      apply: { Voted: initial, Closed: (state) => state },
    })
    const store = observedStore()
    const deciding = (made: unknown) => untyped(store, { reads: Poll('p'), handle: () => made })
    const { Closed, Voted } = Poll.events
    const outcomes = await Promise.allSettled([
      deciding(Closed()),
      deciding(Voted({ option: 'yes' })),
      deciding(Closed()),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(store.data.log).toHaveLength(2)
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
  const Documents = aggregateFromClass({ name: 'Document', events, state: Document })

  test('an instance of a state class with clone() is cached, and each decision gets a copy', async () => {
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

  test('a state class without clone() is refused, and the error says what to add', async () => {
    const store = observedStore()
    const Drafts = aggregateFromClass({ name: 'Draft', events, state: Draft as never })
    await expect(untyped(store, { reads: Drafts('d'), handle: () => [] })).rejects.toThrow(
      'the state class of Draft needs clone(): each decision gets a copy of the state',
    )
  })

  test('a state class may keep and change the data of an event, in one decision as over several', async () => {
    const store = observedStore()
    const { Added, Extended } = Documents.events
    const both = {
      reads: Documents('d'),
      handle: () => [Added({ lines: ['one'] }), Extended({ line: 'two' })],
    }
    const { state, events } = await execute(store, both)
    expect(state).toMatchObject({ lines: ['one', 'two'] })
    expect(events).toMatchObject([{ data: { lines: ['one'] } }, { data: { line: 'two' } }])
    const again = await execute(observedStore({}, store.data), { reads: Documents('d'), handle: () => [] })
    expect(again.state).toMatchObject({ lines: ['one', 'two'] })
  })

  test('a state class whose apply throws fails the command, and its half changed state is not cached', async () => {
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
    const Hits = aggregateFromClass({
      name: 'Hits',
      events: { Hit: event<{ force: number }>() },
      state: Fragile,
    })
    const hit = (force: number) => ({ reads: Hits('h'), handle: () => Hits.events.Hit({ force }) })
    const store = observedStore()
    const outcomes = await Promise.allSettled([1, 10, 2].map((force) => execute(store, hit(force))))
    expect(outcomes).toMatchObject([
      { value: { state: { sum: 1 } } },
      { reason: { code: 'FOLD_FAILED', revision: 1 } },
      { value: { state: { sum: 3 } } },
    ])
    expect((await execute(store, hit(4))).state.sum).toBe(7)
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
  test.each(changes)(
    'an apply that changes its argument fails with FoldError, however the stream is folded: %s',
    async (_, change) => {
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
    },
  )
})

describe('freezing a state', () => {
  test('freezing a state tells whether it has something that can still change', () => {
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
      expect(freezeState(state)).toBeUndefined()
      expect(freezeState(state)).toBeUndefined()
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
      expect(freezeState(state)).toBeTypeOf('string')
      expect(freezeState({ nested: [state] })).toBeTypeOf('string')
      expect(freezeState(new Map([[state, 1]]))).toBeTypeOf('string')
    }
  })

  test('a state whose freezing failed half-way is not taken for frozen later', () => {
    const shared = { list: [1] }
    expect(freezeState({ shared, other: () => 1 })).toBe('a function')
    expect(freezeState({ shared })).toBeUndefined()
    expect(() => shared.list.push(2)).toThrow(TypeError)
  })

  test('a frozen Map can still be read', () => {
    const map = new Map([['a', 1]])
    freezeState({ map })
    expect([...map, map.get('a'), map.size, map.has('a')]).toEqual([['a', 1], 1, 1, true])
    expect(new Map(map).set('b', 2).size).toBe(2)
    expect(structuredClone(map).size).toBe(1)
  })
})
