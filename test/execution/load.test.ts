import { describe, expect, test } from 'vitest'
import {
  aggregateFromClass,
  ConflictError,
  defineAggregate,
  event,
  execute,
  FoldError,
  InvalidArgumentError,
  LimitError,
  load,
  StoreClosedError,
  UnknownEventError,
  type EventStore,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import type { StoredEvent } from 'mneme/adapter'
import { BankAccount, deposit, Deposited, open, Opened, Withdrawn } from '../support/bank.ts'
import { gate, observedStore, settle, times } from '../support/observed-store.ts'

const a = BankAccount('a')
const b = BankAccount('b')
const untyped = load as (...args: unknown[]) => Promise<unknown>

describe('the state cache', () => {
  test('a cached state is verified by one read, from its last event on', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(50, () => Deposited({ amount: 1 })) })
    await load(store, a)
    store.forget()
    expect((await load(store, a)).state.balance).toBe(50)
    expect(store.reads).toMatchObject([{ stream: a.stream, from: 49 }])
    expect(store.eventsRead).toBe(1)
    expect(store.appends).toEqual([])
  })

  test('a command uses the state that was loaded, and load the state of a command', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    await load(store, a)
    store.forget()
    await execute(store, deposit({ account: 'a', amount: 3 }))
    expect(store.reads).toEqual([])
    await load(store, a)
    expect(store.eventsRead).toBe(1)
  })

  test('a state that another process outdated is continued, not read anew', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(50, () => Deposited({ amount: 1 })) })
    await load(store, a)
    await store.stranger.append({ stream: a, events: [Deposited({ amount: 5 })] })
    store.forget()
    expect(await load(store, a)).toEqual({ state: { open: false, balance: 55 }, revision: 50 })
    expect(store.eventsRead).toBe(2)
  })

  test('without a cache, each load folds the whole stream', async () => {
    const store = observedStore({ cachedStates: 0 })
    await store.append({ stream: a, events: times(5, () => Deposited({ amount: 1 })) })
    await load(store, a)
    await load(store, a)
    expect(store.eventsRead).toBe(10)
  })

  test('a load that was overtaken by a command does not replace its later state', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    const reading = gate()
    store.beforeRead = () => reading.passed
    const loaded = load(store, a)
    await settle()
    store.beforeRead = () => undefined
    await execute(store, deposit({ account: 'a', amount: 1 }))
    reading.open()
    await loaded
    store.forget()
    await execute(store, deposit({ account: 'a', amount: 1 }))
    expect(store.reads).toEqual([])
    expect(store.appends).toHaveLength(1)
  })
})

describe('several streams', () => {
  test('are read once each; of those whose state is cached, only what follows', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    await load(store, { a, b })
    expect(store.reads).toHaveLength(1)
    await store.append({ stream: b, events: [Opened({ owner: 'B' })] })
    await load(store, { a, b })
    store.forget()
    await load(store, { a, b })
    expect(store.reads).toHaveLength(2)
    expect(store.eventsRead).toBe(2)
  })

  test('a transfer after the first of them was read is on neither of them', async () => {
    const store = observedStore()
    for (const stream of [a, b]) await store.append({ stream, events: [Deposited({ amount: 100 })] })
    store.beforeRead = async ({ stream }) => {
      if (stream !== b.stream) return
      store.beforeRead = () => undefined
      // After a was read, before b is.
      await settle()
      await store.stranger.append([
        { stream: a, events: [Withdrawn({ amount: 30 })] },
        { stream: b, events: [Deposited({ amount: 30 })] },
      ])
    }
    const { state, revisions } = await load(store, { a, b })
    expect([state.a.balance, state.b.balance]).toEqual([100, 100])
    expect(revisions).toEqual(
      new Map([
        [a.stream, 0],
        [b.stream, 0],
      ] as const),
    )
  })

  test('streams that change before every reading are read once, as they stood at one moment', async () => {
    const store = observedStore()
    store.beforeRead = () =>
      store.stranger.append([a, b].map((stream) => ({ stream, events: [Deposited({ amount: 1 })] })))
    const { state, revisions } = await load(store, { a, b })
    expect(state.a.balance).toBe(state.b.balance)
    expect(revisions.get(a.stream)).toBe(revisions.get(b.stream))
    expect(store.reads.length).toBeLessThanOrEqual(2)
  })

  test('streams are read again if one of them ends before its head, and are a conflict in the end', async () => {
    const store = observedStore()
    await store.append([a, b].map((stream) => ({ stream, events: times(2, () => Deposited({ amount: 1 })) })))
    let cuts = 1
    const cutShort = (events: readonly StoredEvent[]) =>
      events[0]?.stream === b.stream && cuts-- > 0 ? events.slice(0, -1) : events
    store.page = cutShort
    expect((await load(store, { a, b })).state.b.balance).toBe(2)
    cuts = Infinity
    await expect(load(store, { a, b })).rejects.toThrow(ConflictError)
  })

  test('one stream under two aggregates has one revision', async () => {
    const Count = defineAggregate({
      name: 'BankAccount',
      events: { Opened: event<{ owner: string }>(), Deposited: event<{ amount: number }>() },
      initial: () => 0,
      apply: { Opened: (n) => n + 1, Deposited: (n) => n + 1 },
    })
    const store = memoryStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' }), Deposited({ amount: 5 })] })
    const { state, revisions } = await load(store, { account: a, count: Count('a'), again: [a] })
    expect(state).toEqual({
      account: { open: true, balance: 5 },
      count: 2,
      again: [{ open: true, balance: 5 }],
    })
    expect([...revisions]).toEqual([[a.stream, 1]])
  })
})

test('a state of a class is a copy of its own', async () => {
  class Tally {
    n = 0
    apply() {
      this.n++
    }
    clone() {
      return Object.assign(new Tally(), this)
    }
  }
  const Counter = aggregateFromClass({ name: 'Counter', events: { Counted: event() }, state: Tally })
  const store = memoryStore()
  await store.append({ stream: Counter('c'), events: [Counter.events.Counted()] })
  const { state } = await load(store, Counter('c'))
  state.n = 99
  expect((await load(store, Counter('c'))).state.n).toBe(1)
})

describe('errors', () => {
  test('wrong arguments are named', async () => {
    const store = memoryStore()
    for (const [args, argument] of [
      [[{}, a], 'store'],
      [[store], 'streams'],
      [[store, 'BankAccount-a'], 'streams'],
      [[store, [a]], 'streams'],
      [[store, { a: 'BankAccount-a' }], 'streams.a'],
      [[store, { a: [a, 7] }], 'streams.a[1]'],
      [[store, a, null], 'options'],
      [[store, a, { sgnal: undefined }], 'options.sgnal'],
      [[store, a, { signal: {} }], 'signal'],
    ] as const) {
      const error = await untyped(...args).catch((thrown: unknown) => thrown)
      expect(error, argument).toBeInstanceOf(InvalidArgumentError)
      expect((error as InvalidArgumentError).argument).toBe(argument)
    }
    await expect(load(store, { all: times(257, (i) => BankAccount(`n-${i}`)) })).rejects.toThrow(LimitError)
  })

  test('of a fold reach the caller, and the next load works', async () => {
    const store = memoryStore()
    await store.append({ stream: 'BankAccount-a', events: [{ type: 'Elsewhere', data: {} }] })
    await expect(load(store, a)).rejects.toThrow(UnknownEventError)
    const Bad = defineAggregate({
      name: 'Bad',
      events: { Happened: event() },
      initial: () => 0,
      apply: {
        Happened: () => {
          throw new Error('no')
        },
      },
    })
    await store.append({ stream: Bad('x'), events: [Bad.events.Happened()] })
    await expect(load(store, Bad('x'))).rejects.toThrow(FoldError)
    expect((await load(store, b)).revision).toBe('none')
  })

  test('a closed store is refused, and closing waits for a load', async () => {
    const store: EventStore & { beforeRead: unknown } = observedStore()
    const reading = gate()
    store.beforeRead = () => reading.passed
    const loading = load(store, a)
    await settle()
    let isClosed = false
    const closing = store.close().then(() => (isClosed = true))
    await expect(load(store, a)).rejects.toThrow(StoreClosedError)
    await settle()
    expect(isClosed).toBe(false)
    reading.open()
    expect((await loading).revision).toBe('none')
    await closing
  })
})

describe('a signal', () => {
  const mine = new Error('given up')

  test('aborted before the call: nothing is read', async () => {
    const store = observedStore()
    await expect(load(store, a, { signal: AbortSignal.abort(mine) })).rejects.toBe(mine)
    expect(store.reads).toEqual([])
  })

  test.each([
    ['one stream', a],
    ['several streams', { a, b }],
  ] as const)('aborted while %s is read: it ends at once, and reads no further', async (_, streams) => {
    const store = observedStore()
    await store.append({ stream: a, events: times(600, () => Deposited({ amount: 1 })) })
    const reading = gate()
    store.beforeRead = () => reading.passed
    const controller = new AbortController()
    const loading = untyped(store, streams, { signal: controller.signal })
    await settle()
    controller.abort(mine)
    await expect(loading).rejects.toBe(mine)
    reading.open()
    await settle()
    expect(store.eventsRead).toBeLessThan(600)
    await store.close()
  })
})
