import { queryObjects } from 'node:v8'
import { describe, expect, test } from 'vitest'
import {
  defineAggregate,
  defineCommand,
  event,
  execute,
  limits,
  OutcomeUnknownError,
  reject,
  StoreFailedError,
  tryExecute,
  type Executed,
} from 'mneme'
import { Call } from '../../src/execution/call.ts'
import { CommandRouter } from '../../src/execution/command-router.ts'
import { SingleStreamDecisions } from '../../src/execution/single-stream.ts'
import { MultiStreamDecision } from '../../src/execution/multi-stream.ts'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { StoreCore } from '../../src/store/lifecycle.ts'
import { BankAccount, deposit, Deposited, open, Opened, transfer, withdraw } from '../support/bank.ts'
import {
  eventsOf,
  gate,
  observedStore,
  settle,
  times,
  type ObservedStore,
} from '../support/observed-store.ts'

const a = BankAccount('a')
const untyped = execute as (...args: unknown[]) => Promise<Executed<{ balance: number }, unknown>>
const handling = (handle: (...args: never[]) => unknown, reads: unknown = a) => ({ reads, handle })
const add = (amount: number) => deposit({ account: 'a', amount })

async function opened(options = {}): Promise<ObservedStore> {
  const store = observedStore(options)
  await execute(store, open('a'))
  store.forget()
  return store
}

/** A stranger's event comes first, at the very revision that the next append with events expects. */
function strangerFirst(store: ObservedStore, amount: number): void {
  let met = false
  store.beforeAppend = async ({ events }) => {
    if (met || events.length === 0) return
    met = true
    await store.stranger.append({ stream: a, events: [Deposited({ amount })] })
  }
}

async function amounts(store: ObservedStore): Promise<unknown[]> {
  return (await eventsOf(store, 'BankAccount-a'))
    .slice(1)
    .map(({ data }) => (data as { amount: number }).amount)
}

describe('64 callers on one stream', () => {
  test('all succeed, each with a result of its own, in few appends', async () => {
    const store = await opened()
    const results = await Promise.all(times(64, (i) => execute(store, add(i + 1))))
    expect(store.appends.length).toBeLessThanOrEqual(2)
    const stored = await eventsOf(store, 'BankAccount-a')
    let balance = 0
    for (const [i, result] of results.entries()) {
      balance += i + 1
      expect(result.events).toEqual([stored[i + 1]])
      expect(result.state.balance).toBe(balance)
      expect(result.revisions).toEqual(new Map([['BankAccount-a', i + 1]]))
      expect(result.position).toBe(stored[i + 1]!.position)
      expect(result.attempts).toBe(1)
    }
  })

  test('create it together', async () => {
    const store = observedStore()
    const results = await Promise.all(times(64, () => tryExecute(store, open('a'))))
    expect(results.filter(({ ok }) => ok)).toHaveLength(1)
    expect(results[0]!.ok).toBe(true)
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(1)
  })

  test('all succeed under default options beside another process with 64 of its own', async () => {
    const store = await opened()
    const other = observedStore({}, store.data)
    // Each append takes a moment, so that the two are in each other's way.
    store.beforeAppend = other.beforeAppend = () => new Promise((resolve) => setTimeout(resolve, 1))
    await Promise.all(times(256, (i) => execute(i % 2 ? store : other, add(1))))
    expect(await amounts(store)).toEqual(times(256, () => 1))
  })

  test('keep their own metadata', async () => {
    const store = await opened()
    await Promise.all(times(8, (i) => execute(store, add(1), { metadata: { actor: `${i}` } })))
    const actors = (await eventsOf(store, 'BankAccount-a')).slice(1).map(({ metadata }) => metadata.actor)
    expect(actors).toEqual(times(8, String))
  })

  test('may decide on several events each, or none', async () => {
    const store = await opened()
    const deciding = (count: number) =>
      untyped(
        store,
        handling(() => times(count, () => Deposited({ amount: 1 }))),
      )
    const results = await Promise.all([2, 0, 3, 0, 1].map(deciding))
    expect(store.appends).toHaveLength(1)
    expect(results.map(({ events }) => events.length)).toEqual([2, 0, 3, 0, 1])
    expect(results.map(({ state }) => state.balance)).toEqual([2, 2, 5, 5, 6])
    expect(results.map(({ revisions }) => revisions.get('BankAccount-a'))).toEqual([2, 2, 5, 5, 6])
    const stored = await eventsOf(store, 'BankAccount-a')
    expect(results.flatMap(({ events }) => events)).toEqual(stored.slice(1))
    expect(results[1]!.position).toBeUndefined()
  })

  test('may be asynchronous, and are decided one after the other all the same', async () => {
    const store = await opened()
    let running = 0
    let most = 0
    const slowly = handling(async ({ balance }: { balance: number }) => {
      most = Math.max(most, ++running)
      await settle()
      running--
      return Deposited({ amount: balance + 1 })
    })
    await Promise.all(times(6, () => untyped(store, slowly)))
    expect(most).toBe(1)
    expect(await amounts(store)).toEqual([1, 2, 4, 8, 16, 32])
    expect(store.appends.length).toBeLessThanOrEqual(2)
  })
})

describe('in a group', () => {
  test('rejections and errors stand on what precedes them, and are held until that is committed', async () => {
    const store = await opened()
    const committing = gate()
    store.beforeAppend = () => committing.passed
    const mine = new Error('mine')
    const settled: string[] = []
    const mark = async <T>(name: string, call: Promise<T>): Promise<T> => {
      await call.catch(() => undefined)
      settled.push(name)
      return call
    }
    const throwing = handling(({ balance }: { balance: number }) => {
      throw Object.assign(mine, { balance })
    })
    const calls = [
      mark('deposit', execute(store, add(10))),
      mark('rejected', tryExecute(store, withdraw({ account: 'a', amount: 11 }))),
      mark('withdrawn', tryExecute(store, withdraw({ account: 'a', amount: 10 }))),
      mark('threw', untyped(store, throwing)),
      mark(
        'async',
        untyped(
          store,
          handling(async () => Promise.reject(mine)),
        ),
      ),
    ]
    const outcomes = Promise.allSettled(calls)
    await settle()
    expect(settled).toEqual([])
    committing.open()
    expect(await outcomes).toMatchObject([
      { value: { state: { balance: 10 } } },
      { value: { ok: false, rejection: { reason: 'insufficient-funds', balance: 10 } } },
      { value: { ok: true, state: { balance: 0 } } },
      { reason: mine },
      { reason: mine },
    ])
    expect(mine).toMatchObject({ balance: 0 })
    expect(store.appends).toHaveLength(1)
  })

  test('all are decided anew where a stranger’s event comes first, though it takes the same revision', async () => {
    const store = await opened()
    await execute(store, add(5))
    store.forget()
    strangerFirst(store, 100)
    const [first, second, third] = await Promise.all([
      tryExecute(store, withdraw({ account: 'a', amount: 5 })),
      tryExecute(store, withdraw({ account: 'a', amount: 1 })),
      untyped(
        store,
        handling(({ balance }: { balance: number }) => Deposited({ amount: balance })),
      ),
    ])
    expect(first).toMatchObject({ ok: true, attempts: 2, state: { balance: 100 } })
    expect(second).toMatchObject({ ok: true, attempts: 2, state: { balance: 99 } })
    expect(third).toMatchObject({ attempts: 2, state: { balance: 198 } })
    expect(await amounts(store)).toEqual([5, 100, 5, 1, 99])
    expect(store.appends.map(({ conditions, events }) => [conditions[0]!.expected, events.length])).toEqual([
      [1, 1],
      [2, 3],
    ])
  })

  test('a decision falls with the event that it stands on, though a stranger’s takes its revision', async () => {
    const store = await opened({ cachedStates: 0 })
    strangerFirst(store, 1)
    const [fallen, stoodOnIt] = await Promise.allSettled([
      execute(store, add(10), { retry: { maxRetries: 0 } }),
      tryExecute(store, withdraw({ account: 'a', amount: 10 })),
    ])
    expect(fallen).toMatchObject({ reason: { code: 'CONFLICT', expected: 0, actual: 1 } })
    expect(stoodOnIt).toMatchObject({ value: { ok: false, rejection: { balance: 1 }, attempts: 2 } })
    expect(await amounts(store)).toEqual([1])
  })

  test('nothing decided on events that then failed is ever reported', async () => {
    const store = await opened({ cachedStates: 0 })
    strangerFirst(store, 1)
    const seen: number[] = []
    const [failed, told] = await Promise.allSettled([
      execute(store, add(1_000), { retry: { maxRetries: 0 } }),
      untyped(
        store,
        handling(({ balance }: { balance: number }) => {
          seen.push(balance)
          return reject(`balance-${balance}`)
        }),
        { retry: { baseDelay: 0 } },
      ),
    ])
    expect(failed).toMatchObject({ reason: { code: 'CONFLICT' } })
    expect(told).toMatchObject({ reason: { rejection: { reason: 'balance-1' } } })
    expect(seen).toEqual([1_000, 1])
  })

  test('a failing append fails those who write, once, and the rest are decided anew', async () => {
    const store = await opened()
    let failures = 0
    store.beforeAppend = () => {
      if (failures++ === 0) throw new StoreFailedError('the disk is gone')
    }
    const outcomes = await Promise.allSettled([
      execute(store, add(10)),
      tryExecute(store, withdraw({ account: 'a', amount: 11 })),
      execute(store, add(20)),
      untyped(
        store,
        handling(() => []),
      ),
    ])
    expect(outcomes).toMatchObject([
      { reason: { code: 'STORE_FAILED' } },
      { value: { ok: false, rejection: { balance: 0 }, attempts: 2 } },
      { reason: { code: 'STORE_FAILED' } },
      { value: { ok: true, state: { balance: 0 } } },
    ])
    expect(await amounts(store)).toEqual([])
  })

  test('an unknown outcome is that of those who write', async () => {
    const store = await opened()
    let lost = false
    store.afterAppend = () => {
      if (lost) return
      lost = true
      throw new OutcomeUnknownError('the connection was lost')
    }
    const outcomes = await Promise.allSettled([
      execute(store, add(10)),
      tryExecute(store, withdraw({ account: 'a', amount: 11 })),
    ])
    expect(outcomes).toMatchObject([
      { reason: { code: 'OUTCOME_UNKNOWN', isRetryable: false } },
      { value: { ok: false, rejection: { balance: 10 } } },
    ])
    expect(await amounts(store)).toEqual([10])
  })

  test('a failing verification is everybody’s', async () => {
    const store = await opened()
    store.beforeAppend = () => {
      throw new StoreFailedError('the disk is gone')
    }
    const withdrawing = times(3, () => tryExecute(store, withdraw({ account: 'a', amount: 1 })))
    for (const outcome of await Promise.allSettled(withdrawing)) {
      expect(outcome).toMatchObject({ reason: { code: 'STORE_FAILED' } })
    }
  })

  test('a failing read is everybody’s, and is not remembered', async () => {
    const store = await opened({ cachedStates: 0 })
    store.beforeRead = () => {
      throw new StoreFailedError('the disk is gone')
    }
    for (const outcome of await Promise.allSettled(times(3, () => execute(store, add(1))))) {
      expect(outcome).toMatchObject({ reason: { code: 'STORE_FAILED' } })
    }
    store.beforeRead = () => undefined
    await expect(execute(store, add(1))).resolves.toMatchObject({ state: { balance: 1 } })
  })

  test('a command whose own events are too many, too large or cannot be folded fails alone', async () => {
    const Picky = defineAggregate({
      name: 'Picky',
      events: { Noted: event<{ text: string }>() },
      initial: () => ({ length: 0 }),
      apply: {
        Noted: ({ length }, { text }) => {
          if (text === 'unfoldable') throw new Error('cannot be folded')
          return { length: length + 1 }
        },
      },
    })
    const { Noted } = Picky.events
    const store = observedStore()
    const noting = (...texts: string[]) =>
      execute(store, { reads: Picky('p'), handle: () => texts.map((text) => Noted({ text })) })
    const large = 'x'.repeat(3_900_000)
    const outcomes = await Promise.allSettled([
      noting('one'),
      noting(...times(limits.appendEvents + 1, () => 'x')),
      noting('two'),
      noting('x'.repeat(limits.eventBytes)),
      noting('fine', 'unfoldable'),
      noting(large, large, large, large, large),
      noting('three'),
    ])
    expect(outcomes).toMatchObject([
      { value: { state: { length: 1 } } },
      { reason: { code: 'LIMIT_EXCEEDED', limit: 'appendEvents', actual: limits.appendEvents + 1 } },
      { value: { state: { length: 2 } } },
      { reason: { code: 'LIMIT_EXCEEDED', limit: 'eventBytes' } },
      { reason: { code: 'FOLD_FAILED', revision: 3, cause: { message: 'cannot be folded' } } },
      { reason: { code: 'LIMIT_EXCEEDED', limit: 'appendBytes' } },
      { value: { state: { length: 3 } } },
    ])
    expect(await eventsOf(store, 'Picky-p')).toHaveLength(3)
  })

  test('more than fits one append goes in several', async () => {
    const store = await opened()
    const many = handling(() => times(4_000, () => Deposited({ amount: 1 })))
    const results = await Promise.all(times(6, () => untyped(store, many)))
    expect(results.map(({ state }) => state.balance)).toEqual(times(6, (i) => (i + 1) * 4_000))
    expect(store.appends.map(({ events }) => events.length)).toEqual([8_000, 8_000, 8_000])
  })

  test('a group exactly as large as the limit goes in one', async () => {
    const store = await opened()
    const half = handling(() => times(limits.appendEvents / 2, () => Deposited({ amount: 1 })))
    await Promise.all([untyped(store, half), untyped(store, half)])
    expect(store.appends.map(({ events }) => events.length)).toEqual([limits.appendEvents])
  })

  test('events of one id go in different appends', async () => {
    const store = await opened()
    const id = crypto.randomUUID()
    const twice = handling(() => ({ ...Deposited({ amount: 1 }), id }))
    await Promise.all([untyped(store, twice), untyped(store, twice)])
    for (const { events } of store.appends) expect(events).toHaveLength(1)
  })

  test('all of 3,000 that wait are decided', async () => {
    const store = await opened()
    await Promise.all(times(3_000, () => execute(store, add(1))))
    expect((await amounts(store)).length).toBe(3_000)
    expect(store.appends.length).toBeLessThan(20)
  })

  test('commands that fold the stream differently each see a state of their own', async () => {
    const Counter = defineAggregate({
      name: 'Counter',
      events: { Opened, Deposited },
      initial: () => ({ events: 0 }),
      apply: {
        Opened: ({ events }) => ({ events: events + 1 }),
        Deposited: ({ events }) => ({ events: events + 1 }),
      },
    })
    const counted = { ...Counter('x'), stream: a.stream }
    const store = await opened()
    const counting = handling(() => Deposited({ amount: 100 }), counted)
    const results = await Promise.all(times(9, (i) => untyped(store, i % 3 === 1 ? counting : add(1))))
    expect(results.map(({ state }) => state)).toEqual([
      { balance: 1, open: true },
      { events: 3 },
      { balance: 102, open: true },
      { balance: 103, open: true },
      { events: 6 },
      { balance: 204, open: true },
      { balance: 205, open: true },
      { events: 9 },
      { balance: 306, open: true },
    ])
  })

  test('a state that turned out to be old is not taken for that of another fold', async () => {
    const Counter = defineAggregate({
      name: 'Counter',
      events: { Opened, Deposited },
      initial: () => ({ events: 0 }),
      apply: {
        Opened: ({ events }) => ({ events: events + 1 }),
        Deposited: ({ events }) => ({ events: events + 1 }),
      },
    })
    const store = await opened({ cachedStates: 0 })
    strangerFirst(store, 7)
    const [failed, counted] = await Promise.allSettled([
      execute(store, add(1), { retry: { maxRetries: 0 } }),
      untyped(
        store,
        handling(() => [], { ...Counter('x'), stream: a.stream }),
      ),
    ])
    expect(failed).toMatchObject({ reason: { code: 'CONFLICT' } })
    expect(counted).toMatchObject({ value: { state: { events: 2 } } })
  })

  test('nobody waits for the backoff of another', async () => {
    const store = await opened({ cachedStates: 0 })
    strangerFirst(store, 1)
    const slow = execute(store, add(1), { retry: { minDelay: 1_000, maxDelay: 1_000 } })
    await execute(store, add(2), { retry: { baseDelay: 0 } })
    await execute(store, add(3))
    await slow
    expect(await amounts(store)).toEqual([1, 2, 3, 1])
  })

  test('those that wait out one delay stay one group', async () => {
    const store = await opened({ cachedStates: 0 })
    strangerFirst(store, 1)
    const results = await Promise.all(times(64, () => execute(store, add(1))))
    expect(results.every(({ attempts }) => attempts === 2)).toBe(true)
    expect(store.appends.map(({ events }) => events.length)).toEqual([64, 64])
  })
})

describe('an own append of the process', () => {
  test('through the store, in the middle of a group, makes the group fall', async () => {
    const store = await opened()
    let met = false
    store.beforeAppend = async ({ conditions }) => {
      if (met || conditions[0]!.expected === 'any') return
      met = true
      await store.append({ stream: a, events: [Deposited({ amount: 1_000 })] })
    }
    const results = await Promise.all(times(5, () => execute(store, add(1))))
    expect(results.map(({ state }) => state.balance)).toEqual([1_001, 1_002, 1_003, 1_004, 1_005])
  })
})

describe('commands over several streams', () => {
  test('contend with those over one: 64 callers all succeed, and nothing is lost or made', async () => {
    const store = observedStore()
    for (const account of ['a', 'b', 'c']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 1_000 }))
    }
    const names = ['a', 'b', 'c']
    const results = await Promise.all(
      times(64, (i) => {
        const [from, to] = [names[i % 3]!, names[(i + 1) % 3]!]
        if (i % 2) return execute(store, transfer({ from, to, amount: 7 }))
        return execute(store, deposit({ account: from, amount: 1 }))
      }),
    )
    expect(results).toHaveLength(64)
    const balances = await Promise.all(
      names.map(
        async (account) =>
          (
            await untyped(
              store,
              handling(() => [], BankAccount(account)),
            )
          ).state.balance,
      ),
    )
    expect(balances.reduce((sum, balance) => sum + balance)).toBe(3_032)
  })

  test('each has a result of its own', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) await execute(store, open(account))
    await execute(store, add(64))
    const results = await Promise.all(
      times(64, () => execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))),
    )
    const seen = results.map(({ state, events, revisions, position }) => {
      expect(position).toBe(events[1]!.position)
      expect(revisions.get('BankAccount-a')).toBe(events[0]!.revision)
      expect(revisions.get('BankAccount-b')).toBe(events[1]!.revision)
      expect(state.from.balance + state.to.balance).toBe(64)
      return state.to.balance
    })
    expect(seen.sort((x, y) => x - y)).toEqual(times(64, (i) => i + 1))
  })

  test('are not starved by a stream that is never idle', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) await execute(store, open(account))
    await execute(store, add(100))
    store.beforeAppend = () => new Promise((resolve) => setTimeout(resolve, 1))
    let busy = true
    let deposits = 0
    const callers = times(8, async () => {
      while (busy) {
        await execute(store, add(1))
        deposits++
      }
    })
    const results = await Promise.all(
      times(4, () => execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))),
    )
    const during = deposits
    busy = false
    await Promise.all(callers)
    for (const { attempts } of results) expect(attempts).toBeLessThanOrEqual(4)
    expect(during).toBeLessThan(1_000)
  })

  test('in opposite directions do not wait for each other in a circle', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 100 }))
    }
    store.beforeAppend = () => new Promise((resolve) => setTimeout(resolve, 1))
    await Promise.all(
      times(32, (i) =>
        execute(
          store,
          transfer(i % 2 ? { from: 'a', to: 'b', amount: 1 } : { from: 'b', to: 'a', amount: 1 }),
        ),
      ),
    )
    const both = await untyped(
      store,
      handling(() => [], { a, b: BankAccount('b') }),
    )
    expect(both.state).toEqual({ a: { balance: 100, open: true }, b: { balance: 100, open: true } })
  })

  test('do not stand on events that are not committed', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) await execute(store, open(account))
    const committing = gate()
    store.beforeAppend = ({ events }) => (events[0]?.data.includes('1000') ? committing.passed : undefined)
    const depositing = execute(store, add(1_000))
    await settle()
    const transferring = tryExecute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    await settle()
    committing.open()
    await depositing
    expect(await transferring).toMatchObject({ ok: true, state: { from: { balance: 999 } } })
  })

  test('may decide on many streams at once', async () => {
    const store = observedStore()
    const openAll = defineCommand({
      reads: (names: string[]) => ({ all: names.map((name) => BankAccount(name)) }),
      handle: ({ all }, _, { on }) => all.map((__, i) => on.all(i, Opened({ owner: `${i}` }))),
    })
    const names = times(limits.appendStreams, String)
    const { events } = await execute(store, openAll(names))
    expect(events).toHaveLength(limits.appendStreams)
    const tooMany = execute(store, openAll([...names, 'one-more']))
    await expect(tooMany).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED', limit: 'appendStreams' })
  })
})

describe('memory', () => {
  test('does not grow with the streams that were used', async () => {
    const adapter = memoryAdapter()
    const core = new StoreCore(
      {
        ...adapter,
        append: async ({ events, conditions }) => ({
          kind: 'appended',
          revisions: events.map(() => 0),
          positions: events.map(() => '1'),
          time: '',
          heads: conditions.map(() => 0),
          repeated: false,
        }),
      },
      { maxPending: 10_000, cachedStates: 100 },
    )
    const router = new CommandRouter(core)
    let calls = 0
    for (let round = 0; round < 40; round++) {
      await Promise.all(
        times(500, (i) => {
          const stream = BankAccount(`${calls++}`)
          const reads = i % 2 ? stream : { stream }
          const handle = () =>
            i % 2 ? Opened({ owner: 'A' }) : { stream: stream.stream, events: [Opened({ owner: 'A' })] }
          return router.execute(new Call({ reads, handle }, {}, core), reads)
        }),
      )
    }
    expect(calls).toBe(20_000)
    await settle()
    const streams = times(calls, (i) => BankAccount(`${i}`))
    expect(streams.filter((stream) => router.context.locks.isTaken(stream.stream))).toEqual([])
    expect(streams.filter((stream) => router.context.cache.get(stream))).toHaveLength(100)
    // Private maps are not to be seen from outside, but the heap tells what they would hold.
    expect(queryObjects(SingleStreamDecisions, { format: 'count' })).toBe(0)
    expect(queryObjects(MultiStreamDecision, { format: 'count' })).toBe(0)
    expect(queryObjects(Call, { format: 'count' })).toBeLessThan(10)
  })
})
