import { describe, expect, test } from 'vitest'
import {
  createStore,
  defineAggregate,
  event,
  execute,
  OutcomeUnknownError,
  reject,
  StoreFailedError,
  tryExecute,
  type Executed,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { BankAccount, deposit, Deposited, open, Opened, transfer, withdraw } from '../support/bank.ts'
import { observedStore, times, type ObservedStore } from '../support/observed-store.ts'

const a = BankAccount('a')
const add = (amount: number, account = 'a') => deposit({ account, amount })
const untyped = execute as (...args: unknown[]) => Promise<Executed<unknown, unknown>>

async function opened(options = {}): Promise<ObservedStore> {
  const store = observedStore(options)
  await execute(store, open('a'))
  store.forget()
  return store
}

describe('a command on a stream of 10,000 events', () => {
  test('reads nothing after the first, and appends once', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    await store.append({ stream: a, events: times(9_999, () => Deposited({ amount: 1 })) })
    store.forget()
    await execute(store, add(1))
    expect(store.eventsRead).toBe(10_000)
    store.forget()
    for (let i = 0; i < 20; i++) await execute(store, add(1))
    expect(store.reads).toEqual([])
    expect(store.appends).toHaveLength(20)
    expect((await execute(store, add(1))).state.balance).toBe(10_021)
  })

  test('reads nothing after the first over several streams either', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) {
      await store.append({
        stream: BankAccount(account),
        events: [Opened({ owner: 'A' }), Deposited({ amount: 50 })],
      })
    }
    await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    store.forget()
    for (let i = 0; i < 5; i++) await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    expect((await execute(store, add(1))).state.balance).toBe(45)
    expect(store.reads).toEqual([])
    expect(store.appends).toHaveLength(6)
  })
})

describe('a state at hand that another writer left behind', () => {
  test('is read on from where it stands', async () => {
    const store = observedStore()
    await store.append({
      stream: a,
      events: [Opened({ owner: 'A' }), ...times(999, () => Deposited({ amount: 1 }))],
    })
    await execute(store, add(1))
    await store.stranger.append({ stream: a, events: times(3, () => Deposited({ amount: 100 })) })
    store.forget()
    const { state, attempts } = await execute(store, add(1))
    expect(state.balance).toBe(1_301)
    expect(attempts).toBe(2)
    expect(store.reads).toEqual([
      { stream: a.stream, direction: 'forwards', from: 1_000, to: undefined, limit: undefined },
    ])
    expect(store.eventsRead).toBe(4)
  })

  test('is read on over several streams, too', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) {
      await store.append({
        stream: BankAccount(account),
        events: [Opened({ owner: 'A' }), ...times(99, () => Deposited({ amount: 1 }))],
      })
    }
    await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    await store.stranger.append({ stream: a, events: [Deposited({ amount: 100 })] })
    store.forget()
    const { state } = await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    expect(state.from.balance).toBe(197)
    expect(store.reads).toEqual([
      { stream: a.stream, direction: 'forwards', from: 100, to: undefined, limit: undefined },
    ])
    expect(store.eventsRead).toBe(2)
  })

  test('is read anew where the stream was replaced under it', async () => {
    for (const over of ['one stream', 'several']) {
      const data = new MemoryData()
      const store = observedStore({}, data)
      await store.append({ stream: a, events: [Opened({ owner: 'A' }), Deposited({ amount: 1 })] })
      await execute(store, add(1))
      // As after a restore from a backup: other events, and more of them.
      data.streams.clear()
      data.log.length = 0
      await store.stranger.append({
        stream: a,
        events: [Opened({ owner: 'B' }), ...times(4, () => Deposited({ amount: 10 }))],
      })
      const command = over === 'several' ? transfer({ from: 'a', to: 'a', amount: 1 }) : add(1)
      const { state } = await untyped(store, command)
      expect(state).toMatchObject(over === 'several' ? { to: { balance: 40 } } : { balance: 41 })
    }
  })

  test('is read anew where the stream is shorter', async () => {
    const data = new MemoryData()
    const store = observedStore({}, data)
    await store.append({
      stream: a,
      events: [Opened({ owner: 'A' }), ...times(9, () => Deposited({ amount: 1 }))],
    })
    await execute(store, add(1))
    data.streams.clear()
    data.log.length = 0
    await store.stranger.append({ stream: a, events: [Opened({ owner: 'B' })] })
    expect((await execute(store, add(5))).state.balance).toBe(5)
    data.streams.clear()
    data.log.length = 0
    expect(await tryExecute(store, add(5))).toMatchObject({ ok: false, rejection: { reason: 'not-open' } })
  })
})

describe('the cache', () => {
  test('keeps no more states than it may, the last used ones', async () => {
    const store = observedStore({ cachedStates: 2 })
    for (const account of ['a', 'b', 'c']) await execute(store, open(account))
    await execute(store, add(1, 'b')) // b is used after c
    await execute(store, open('d')) // so c goes
    store.forget()
    await execute(store, add(1, 'b'))
    await execute(store, add(1, 'd'))
    expect(store.reads).toEqual([])
    await execute(store, add(1, 'c'))
    await execute(store, add(1, 'a'))
    expect(store.reads.map(({ stream }) => stream)).toEqual(['BankAccount-c', 'BankAccount-a'])
  })

  test('keeps none where it is switched off', async () => {
    const store = await opened({ cachedStates: 0 })
    await execute(store, add(1))
    await execute(store, add(1))
    expect(store.reads).toHaveLength(2)
    expect(store.appends).toHaveLength(2)
  })

  test.each([-1, 1.5, NaN, '5', null, Infinity])('refuses a size of %s', (cachedStates) => {
    const options = { cachedStates: cachedStates as never }
    expect(() => memoryStore(options)).toThrow(expect.objectContaining({ argument: 'cachedStates' }) as Error)
    expect(() => createStore(memoryAdapter(), options)).toThrow(TypeError)
  })

  test('keeps the states of different aggregates of one stream apart', async () => {
    const Owner = defineAggregate({
      name: 'Owner',
      events: { Opened, Deposited },
      initial: () => ({ owner: 'nobody' }),
      apply: { Opened: (_, { owner }) => ({ owner }), Deposited: (state) => state },
    })
    const owner = { ...Owner('x'), stream: a.stream }
    const store = await opened()
    for (let i = 1; i <= 3; i++) {
      expect((await execute(store, add(1))).state).toEqual({ balance: 2 * i - 1, open: true })
      const { state } = await untyped(store, { reads: owner, handle: () => Deposited({ amount: 1 }) })
      expect(state).toEqual({ owner: 'a' })
    }
    const both = await untyped(store, {
      reads: { account: a, owner },
      handle: (_: unknown, { on }: { on: { owner: (event: unknown) => unknown } }) =>
        on.owner(Deposited({ amount: 1 })),
    })
    expect(both.state).toEqual({ account: { balance: 7, open: true }, owner: { owner: 'a' } })
    expect(both.revisions).toEqual(new Map([['BankAccount-a', 7]]))
  })

  test('keeps two folds of one stream at one revision, whatever is at hand', async () => {
    const Count = defineAggregate({
      name: 'Count',
      events: { Opened, Deposited },
      initial: () => ({ count: 0 }),
      apply: {
        Opened: ({ count }) => ({ count: count + 1 }),
        Deposited: ({ count }) => ({ count: count + 1 }),
      },
    })
    const count = { ...Count('x'), stream: a.stream }
    for (const reads of [
      { account: a, count },
      { count, account: a },
    ]) {
      const store = await opened()
      await store.stranger.append({ stream: a, events: times(5, () => Deposited({ amount: 1 })) })
      const seen: { account: { balance: number }; count: { count: number } }[] = []
      const { state } = await untyped(store, {
        reads,
        handle: (states: (typeof seen)[number]) => {
          seen.push(states)
          return []
        },
      })
      // The account's old state is at hand: either both stand there or both where the store is.
      for (const { account, count } of seen) expect(count.count).toBe(account.balance + 1)
      expect(state).toEqual({ account: { balance: 5, open: true }, count: { count: 6 } })
    }
  })

  test('of two stores over the same data are two', async () => {
    const store = await opened()
    const other = observedStore({}, store.data)
    for (let i = 1; i <= 5; i++) {
      expect((await execute(i % 2 ? store : other, add(1))).state.balance).toBe(i)
    }
  })
})

describe('the cache never keeps a state that the store did not confirm', () => {
  const kinds: [string, (store: ObservedStore) => void][] = [
    [
      'after an append that failed',
      (store) => {
        store.beforeAppend = () => {
          throw new StoreFailedError('the disk is gone')
        }
      },
    ],
    [
      'after an append of unknown outcome that was stored',
      (store) => {
        store.afterAppend = () => {
          throw new OutcomeUnknownError('the connection was lost')
        }
      },
    ],
    [
      'after an append of unknown outcome that was not stored',
      (store) => {
        store.beforeAppend = () => {
          throw new OutcomeUnknownError('the connection was lost')
        }
      },
    ],
    [
      'after a conflict for good',
      (store) => {
        store.beforeAppend = () => store.stranger.append({ stream: a, events: [Deposited({ amount: 7 })] })
      },
    ],
  ]

  test.each(kinds)('%s', async (_, spoil) => {
    const commands = [add(100), transfer({ from: 'a', to: 'b', amount: 1 })]
    for (const command of commands) {
      const store = await opened()
      await execute(store, open('b'))
      await execute(store, add(50))
      spoil(store)
      await expect(untyped(store, command, { retry: { maxRetries: 0, baseDelay: 0 } })).rejects.toThrow()
      store.beforeAppend = store.afterAppend = () => undefined
      store.forget()
      const present = await untyped(observedStore({}, store.data), {
        reads: { a, b: BankAccount('b') },
        handle: () => [],
      })
      const { state } = await untyped(store, { reads: { a, b: BankAccount('b') }, handle: () => [] })
      expect(state).toEqual(present.state)
      expect(store.reads.map(({ stream }) => stream)).toContain('BankAccount-a')
    }
  })

  test('after a group of which some were rejected', async () => {
    const store = await opened()
    store.beforeAppend = () => {
      throw new StoreFailedError('the disk is gone')
    }
    await Promise.allSettled([execute(store, add(10)), execute(store, withdraw({ account: 'a', amount: 5 }))])
    store.beforeAppend = () => undefined
    expect((await execute(store, add(1))).state.balance).toBe(1)
  })

  test('after a decision that could not be folded', async () => {
    const Fragile = defineAggregate({
      name: 'Fragile',
      events: { Hit: event<{ force: number }>() },
      initial: () => ({ force: 0 }),
      apply: {
        Hit: ({ force }, data) => {
          if (data.force > 9) throw new Error('broken')
          return { force: force + data.force }
        },
      },
    })
    const hit = (...forces: number[]) => ({
      reads: Fragile('f'),
      handle: () => forces.map((force) => Fragile.events.Hit({ force })),
    })
    const store = observedStore()
    await execute(store, hit(1))
    await expect(execute(store, hit(2, 10))).rejects.toMatchObject({ code: 'FOLD_FAILED' })
    expect((await execute(store, hit(3))).state.force).toBe(4)
  })

  test('after a rejection of a decision that stands on others of its group', async () => {
    const store = await opened({})
    await Promise.allSettled([
      execute(store, add(1)),
      untyped(store, { reads: a, handle: () => reject('no') }),
      execute(store, add(2)),
    ])
    store.forget()
    expect((await execute(store, add(3))).state.balance).toBe(6)
    expect(store.reads).toEqual([])
  })
})
