import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  ConflictError,
  defineCommand,
  execute,
  InvalidArgumentError,
  StoreBusyError,
  StoreFailedError,
  StoreUnavailableError,
  type RetryOptions,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { retryDelay, retryDelays, retryPolicy, retryUntilReached } from '../../src/base/retry.ts'
import { BankAccount, deposit, Deposited, open, Opened, transfer } from '../support/bank.ts'
import { eventsOf, observedStore, times, type ObservedStore } from '../support/observed-store.ts'

afterEach(() => vi.restoreAllMocks())

/** A store on which a stranger comes first, so many times. */
async function contended(conflicts: number): Promise<ObservedStore> {
  const store = observedStore({ cachedStates: 0 })
  await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'A' })] })
  store.forget()
  store.beforeAppend = async () => {
    if (conflicts-- > 0)
      await store.stranger.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })] })
  }
  return store
}
const deposit10 = () => deposit({ account: 'a', amount: 10 })
const jointly = defineCommand({
  reads: () => ({ a: BankAccount('a') }),
  handle: (_, __, { on }) => on.a(Deposited({ amount: 1 })),
})
const now: RetryOptions = { baseDelay: 0 }

describe('a call that is retried until the store is reached', () => {
  /** A clock whose pauses end at once, and the pauses. */
  function impatientClock() {
    const pauses: number[] = []
    const after = (milliseconds: number, callback: () => void) => {
      pauses.push(milliseconds)
      const soon = setImmediate(callback)
      return () => {
        clearImmediate(soon)
      }
    }
    return { pauses, clock: { now: () => 0, after } }
  }
  const delays = () => retryDelays(retryPolicy({ baseDelay: 8, minDelay: 8, maxDelay: 8 }))

  test('it is made until it succeeds, and each failure is told with the delay after it', async () => {
    const { pauses, clock } = impatientClock()
    const told: [unknown, number][] = []
    const failures = [new StoreBusyError(1), new StoreUnavailableError('away')]
    const call = async () => {
      const error = failures[told.length]
      if (error) throw error
      return 'reached'
    }
    const failed = (error: unknown, delay: number) => told.push([error, delay])
    expect(await retryUntilReached(call, { clock, delays: delays(), failed })).toBe('reached')
    expect(told).toEqual(failures.map((error) => [error, 8]))
    expect(pauses).toEqual([8, 8])
  })

  test('an error that a retry cannot help, or that ends the retries, is thrown', async () => {
    const { pauses, clock } = impatientClock()
    const lost = async () => Promise.reject(new StoreFailedError('no'))
    await expect(retryUntilReached(lost, { clock })).rejects.toThrow('no')
    const busy = async () => Promise.reject(new StoreBusyError(1))
    const failed = () => {
      if (pauses.length === 3) throw new Error('enough')
    }
    await expect(retryUntilReached(busy, { clock, failed })).rejects.toThrow('enough')
  })

  test('a signal ends the retries during a pause, and the result is undefined', async () => {
    const ending = new AbortController()
    const after = () => {
      setImmediate(() => ending.abort())
      return () => undefined
    }
    const busy = async () => Promise.reject(new StoreBusyError(1))
    const { signal } = ending
    expect(await retryUntilReached(busy, { signal, clock: { now: () => 0, after } })).toBeUndefined()
  })
})

describe('the policy', () => {
  test('has the stated defaults', () => {
    expect(retryPolicy(undefined)).toEqual({ maxRetries: 10, baseDelay: 10, minDelay: 0, maxDelay: 1_000 })
    expect(retryPolicy({ maxRetries: 3 })).toMatchObject({ maxRetries: 3, baseDelay: 10 })
  })

  test('has other defaults where it is told so, and a least delay that fits the greatest one given', () => {
    const defaults = { maxRetries: 5, baseDelay: 100, minDelay: 50, maxDelay: 10_000 }
    expect(retryPolicy(undefined, defaults)).toEqual(defaults)
    expect(retryPolicy({ maxDelay: 20, baseDelay: undefined }, defaults)).toEqual({
      ...defaults,
      ...{ minDelay: 20, maxDelay: 20 },
    })
    expect(() => retryPolicy({ minDelay: 21, maxDelay: 20 }, defaults)).toThrow(/minDelay must be at most/)
  })

  test('doubles the greatest delay with each retry, up to the maximum', () => {
    const policy = retryPolicy({ baseDelay: 10, maxDelay: 1_000 })
    expect(times(9, (i) => retryDelay(policy, i + 1, 1))).toEqual([
      10, 20, 40, 80, 160, 320, 640, 1_000, 1_000,
    ])
    expect(times(9, (i) => retryDelay(policy, i + 1, 0))).toEqual(times(9, () => 0))
  })

  test('draws from the whole range between the least and the greatest delay', () => {
    const policy = retryPolicy({ baseDelay: 100, minDelay: 30, maxDelay: 60 })
    expect(retryDelay(policy, 1, 0)).toBe(30)
    expect(retryDelay(policy, 1, 0.5)).toBe(45)
    expect(retryDelay(policy, 1, 1)).toBe(60)
  })

  test('never waits less than the least delay', () => {
    const policy = retryPolicy({ baseDelay: 1, minDelay: 50, maxDelay: 1_000 })
    expect(times(4, (i) => retryDelay(policy, i + 1, 0.5))).toEqual([50, 50, 50, 50])
  })

  test('gives a number after thousands of retries', () => {
    for (const baseDelay of [0, 10]) {
      const policy = retryPolicy({ baseDelay, maxRetries: 5_000 })
      expect(retryDelay(policy, 5_000, 1)).toBe(baseDelay === 0 ? 0 : 1_000)
    }
  })

  test.each([
    [{ maxRetries: -1 }, 'retry.maxRetries'],
    [{ maxRetries: 1.5 }, 'retry.maxRetries'],
    [{ maxRetries: '3' }, 'retry.maxRetries'],
    [{ maxRetries: Infinity }, 'retry.maxRetries'],
    [{ baseDelay: -1 }, 'retry.baseDelay'],
    [{ baseDelay: NaN }, 'retry.baseDelay'],
    [{ baseDelay: '10' }, 'retry.baseDelay'],
    [{ baseDelay: [10] }, 'retry.baseDelay'],
    [{ minDelay: null }, 'retry.minDelay'],
    [{ minDelay: '1' }, 'retry.minDelay'],
    [{ maxDelay: 2 ** 31 }, 'retry.maxDelay'],
    [{ maxDelay: Infinity }, 'retry.maxDelay'],
    [{ minDelay: 2_000 }, 'retry.minDelay'],
    [{ minDelay: 2, maxDelay: 1 }, 'retry.minDelay'],
    [{ jitter: 'full' }, 'retry.jitter'],
  ])('refuses %o', async (retry, argument) => {
    const refused = execute(memoryStore(), open('a'), { retry: retry as never })
    await expect(refused).rejects.toThrow(InvalidArgumentError)
    await expect(refused).rejects.toMatchObject({ argument })
  })
})

describe.each([
  ['one stream', deposit10],
  ['several streams', () => jointly()],
])('a conflict of a command over %s', (_, command) => {
  const run = (store: ObservedStore, options: object) => execute(store, command() as never, options as never)
  if (command === deposit10) {
    test('is retried until it succeeds', async () => {
      const store = await contended(3)
      const { attempts, state } = await execute(store, deposit10(), { retry: now })
      expect(attempts).toBe(4)
      expect(state.balance).toBe(13)
    })
  }

  test('is retried at most ten times by default', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const store = await contended(Infinity)
    await expect(run(store, {})).rejects.toMatchObject({ code: 'CONFLICT', isRetryable: true })
    expect(store.appends).toHaveLength(11)
  })

  test('is thrown after the last retry, as it was met then', async () => {
    const store = await contended(Infinity)
    const conflict = await run(store, { retry: { ...now, maxRetries: 2 } }).catch((error: unknown) => error)
    expect(conflict).toBeInstanceOf(ConflictError)
    expect(conflict).toMatchObject({ stream: 'BankAccount-a', expected: 2, actual: 3 })
    expect((conflict as Error).message).toBe(
      'stream "BankAccount-a" was expected at revision 2, but is at revision 3',
    )
    expect(store.appends).toHaveLength(3)
  })

  test('is not retried where there are no retries', async () => {
    const store = await contended(1)
    await expect(run(store, { retry: { maxRetries: 0 } })).rejects.toThrow(ConflictError)
    expect(store.appends).toHaveLength(1)
  })

  test('is told to onRetry before each retry, and only before these', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const store = await contended(Infinity)
    const told: unknown[] = []
    const options = { retry: { maxRetries: 3, baseDelay: 2 }, onRetry: (retry: unknown) => told.push(retry) }
    const last = await run(store, options).catch((error: unknown) => error)
    expect(told).toEqual([
      { attempt: 1, delay: 1, conflict: expect.any(ConflictError) as unknown },
      { attempt: 2, delay: 2, conflict: expect.any(ConflictError) as unknown },
      { attempt: 3, delay: 4, conflict: expect.any(ConflictError) as unknown },
    ])
    expect(told.map((retry) => (retry as { conflict: ConflictError }).conflict.actual)).toEqual([1, 2, 3])
    expect((last as ConflictError).actual).toBe(4)
  })

  test('ends with what onRetry throws', async () => {
    const mine = new Error('mine')
    const store = await contended(1)
    const failing = run(store, {
      onRetry: () => {
        throw mine
      },
    })
    await expect(failing).rejects.toBe(mine)
    expect(store.appends).toHaveLength(1)
    await expect(execute(store, deposit10())).resolves.toMatchObject({ attempts: 1 })
  })

  test('waits as long as onRetry was told', async () => {
    const store = await contended(1)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    let told = 0
    const call = run(store, {
      retry: { minDelay: 60, maxDelay: 80, baseDelay: 80 },
      onRetry: ({ delay }: { delay: number }) => (told = delay),
    })
    // Not vi.waitFor, which would let the virtual time go on.
    while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(told).toBeGreaterThanOrEqual(60)
    expect(told).toBeLessThanOrEqual(80)
    await vi.advanceTimersByTimeAsync(Math.floor(told) - 1)
    expect(store.appends).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(2)
    await call
    expect(store.appends).toHaveLength(2)
  })

  test('delays no other command', async () => {
    const store = await contended(1)
    const ended: string[] = []
    const slow = run(store, { retry: { minDelay: 1_000, maxDelay: 1_000 } }).then(() => ended.push('slow'))
    await vi.waitFor(() => expect(store.appends).toHaveLength(1))
    await execute(store, deposit10())
    await execute(store, jointly())
    ended.push('others')
    await slow
    expect(ended).toEqual(['others', 'slow'])
  })
})

describe('only conflicts are retried', () => {
  test.each([
    ['on appending', 'beforeAppend' as const],
    ['on reading', 'beforeRead' as const],
  ])('a failure of the store %s is reported once, to its caller', async (_, when) => {
    for (const command of [deposit10(), jointly()]) {
      const store = await contended(0)
      let failures = 0
      store[when] = () => {
        if (failures++ === 0) throw new StoreFailedError('the disk is gone')
      }
      const onRetry = vi.fn()
      await expect(execute(store, command as never, { onRetry })).rejects.toMatchObject({
        code: 'STORE_FAILED',
      })
      expect(onRetry).not.toHaveBeenCalled()
      expect(failures).toBe(1)
      await expect(execute(store, deposit10())).resolves.toMatchObject({ attempts: 1 })
    }
  })
})

describe('an old state at hand', () => {
  test('does not use up a retry', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    await execute(store, open('b'))
    for (const account of ['a', 'b']) {
      await store.stranger.append({ stream: BankAccount(account), events: [Deposited({ amount: 1 })] })
    }
    const onRetry = vi.fn()
    const options = { retry: { maxRetries: 0 }, onRetry }
    const both = await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }), options)
    expect(both.state).toMatchObject({ from: { balance: 0 }, to: { balance: 2 } })
    await store.stranger.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })] })
    const one = await execute(store, deposit10(), options)
    expect(one).toMatchObject({ attempts: 2, state: { balance: 11 } })
    expect(onRetry).not.toHaveBeenCalled()
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(5)
  })
})
