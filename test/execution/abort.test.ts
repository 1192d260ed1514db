import { getEventListeners } from 'node:events'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { ConflictError, execute, OverloadedError, StoreClosedError } from 'mneme'
import { BankAccount, deposit, Deposited, open, Opened, transfer } from '../support/bank.ts'
import { eventsOf, gate, observedStore, settle, times } from '../support/observed-store.ts'

const mine = new Error('given up')
const untyped = execute as (...args: unknown[]) => Promise<unknown>
const one = BankAccount('a')
const two = { a: BankAccount('a'), b: BankAccount('b') }

describe.each([
  ['one stream', one, (event: unknown) => event],
  ['several streams', two, (event: unknown) => ({ stream: 'BankAccount-a', events: [event] })],
])('a command over %s, given up', (_, reads, on) => {
  const opening = () => ({ reads, handle: () => on(Opened({ owner: 'A' })) as never })

  test('before the call is not decided, and nothing is read', async () => {
    const store = observedStore()
    const handle = vi.fn()
    const signal = AbortSignal.abort(mine)
    await expect(untyped(store, { reads, handle }, { signal })).rejects.toBe(mine)
    await expect(untyped(store, { reads, handle }, { signal, key: 'k' })).rejects.toBe(mine)
    await settle()
    expect(handle).not.toHaveBeenCalled()
    expect(store.reads).toEqual([])
    expect(store.appends).toEqual([])
  })

  test('without a reason, ends with the signal’s own', async () => {
    const signal = AbortSignal.abort()
    await expect(untyped(observedStore(), opening(), { signal })).rejects.toMatchObject({
      name: 'AbortError',
    })
  })

  test('while it is read ends at once', async () => {
    const store = observedStore()
    const reading = gate()
    store.beforeRead = () => reading.passed
    const controller = new AbortController()
    const call = untyped(store, opening(), { signal: controller.signal })
    await settle()
    controller.abort(mine)
    await expect(call).rejects.toBe(mine)
    reading.open()
    await settle()
    expect(store.data.log).toEqual([])
  })

  test('while its handle hangs ends at once, and others go on', async () => {
    const store = observedStore()
    const controller = new AbortController()
    let attempts = 0
    const hanging = {
      reads,
      handle: () => {
        attempts++
        return new Promise(() => undefined)
      },
    }
    const call = untyped(store, hanging, { signal: controller.signal })
    const behind = untyped(store, opening())
    await settle()
    controller.abort(mine)
    await expect(call).rejects.toBe(mine)
    await expect(behind).resolves.toMatchObject({ ok: true })
    expect(attempts).toBe(1)
  })

  test('while its handle works is not appended when that ends', async () => {
    const store = observedStore()
    const controller = new AbortController()
    const working = gate()
    const handle = async () => {
      await working.passed
      return on(Opened({ owner: 'A' }))
    }
    const call = untyped(store, { reads, handle }, { signal: controller.signal })
    await settle()
    controller.abort(mine)
    await expect(call).rejects.toBe(mine)
    working.open()
    await settle()
    expect(store.data.log).toEqual([])
  })

  test('while it backs off ends at once, and leaves no timer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }) // the delay never passes by itself
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const store = observedStore({ cachedStates: 0 })
    store.beforeAppend = () => store.stranger.append({ stream: one, events: [Deposited({ amount: 1 })] })
    const controller = new AbortController()
    const told = gate()
    const options = {
      signal: controller.signal,
      retry: { minDelay: 2_000, maxDelay: 2_000 },
      onRetry: () => {
        told.open()
      },
    }
    const call = untyped(store, opening(), options)
    await told.passed
    // Not vi.waitFor, which would let the virtual time go on.
    while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(mine)
    await expect(call).rejects.toBe(mine)
    expect(vi.getTimerCount()).toBe(0)
    expect(store.appends).toHaveLength(1)
  })

  test('while its append is on its way reports what came of it', async () => {
    const store = observedStore()
    const controller = new AbortController()
    store.afterAppend = () => {
      controller.abort(mine)
    }
    const result = await untyped(store, opening(), { signal: controller.signal })
    expect(result).toMatchObject({ ok: true, events: [{ revision: 0 }] })
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(1)
  })

  test('while its append is on its way is not retried when that meets a conflict', async () => {
    const store = observedStore()
    const controller = new AbortController()
    const onRetry = vi.fn()
    store.beforeAppend = async () => {
      await store.stranger.append({ stream: one, events: [Deposited({ amount: 1 })] })
      controller.abort(mine)
    }
    await expect(untyped(store, opening(), { signal: controller.signal, onRetry })).rejects.toBe(mine)
    expect(store.appends).toHaveLength(1)
    expect(onRetry).not.toHaveBeenCalled()
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(1)
  })

  test('hands its signal to the append, which may give up as long as nothing was sent', async () => {
    const store = observedStore()
    const controller = new AbortController()
    let given: AbortSignal | undefined
    store.beforeAppend = (__, signal) => {
      given = signal
      controller.abort(mine)
      signal?.throwIfAborted()
    }
    await expect(untyped(store, opening(), { signal: controller.signal })).rejects.toBe(mine)
    expect(given).toBe(controller.signal)
    expect(store.data.log).toEqual([])
  })

  test('in onRetry ends with the signal’s reason', async () => {
    const store = observedStore({ cachedStates: 0 })
    store.beforeAppend = () => store.stranger.append({ stream: one, events: [Deposited({ amount: 1 })] })
    const controller = new AbortController()
    const options = {
      signal: controller.signal,
      onRetry: () => controller.abort(mine),
      retry: { baseDelay: 0 },
    }
    await expect(untyped(store, opening(), options)).rejects.toBe(mine)
    await settle()
    expect(store.appends).toHaveLength(1)
  })

  test('after it ended changes nothing', async () => {
    const store = observedStore()
    const controller = new AbortController()
    const result = await untyped(store, opening(), { signal: controller.signal })
    controller.abort(mine)
    expect(result).toMatchObject({ ok: true })
  })
})

describe('a command given up among others of its stream', () => {
  test('while it is queued is not decided', async () => {
    const store = observedStore()
    const working = gate()
    const first = untyped(store, {
      reads: one,
      handle: () => working.passed.then(() => Opened({ owner: 'A' })),
    })
    const controller = new AbortController()
    const handle = vi.fn()
    const queued = untyped(store, { reads: one, handle }, { signal: controller.signal })
    const last = execute(store, deposit({ account: 'a', amount: 1 }))
    await settle()
    controller.abort(mine)
    await expect(queued).rejects.toBe(mine)
    working.open()
    await expect(first).resolves.toMatchObject({ ok: true })
    await expect(last).resolves.toMatchObject({ state: { balance: 1 } })
    expect(handle).not.toHaveBeenCalled()
  })

  test('while others are decided after it writes nothing, and those do not stand on its events', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    const working = gate()
    const controller = new AbortController()
    const before = execute(store, deposit({ account: 'a', amount: 1 }))
    const givenUp = execute(store, deposit({ account: 'a', amount: 10 }), { signal: controller.signal })
    const balances: number[] = []
    const after = execute(store, {
      reads: one,
      handle: async ({ balance }) => {
        balances.push(balance)
        await working.passed
        return Deposited({ amount: 100 })
      },
    })
    await settle()
    controller.abort(mine)
    await expect(givenUp).rejects.toBe(mine)
    working.open()
    await expect(before).resolves.toMatchObject({ state: { balance: 1 } })
    await expect(after).resolves.toMatchObject({ state: { balance: 101 } })
    expect(balances).toEqual([11, 1])
    expect((await eventsOf(store, 'BankAccount-a')).map(({ data }) => data)).toEqual([
      { owner: 'a' },
      { amount: 1 },
      { amount: 100 },
    ])
  })

  test('while their append is on its way reports what came of it', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    const controller = new AbortController()
    store.afterAppend = () => {
      controller.abort(mine)
    }
    const { signal } = controller
    const calls = times(3, () => execute(store, deposit({ account: 'a', amount: 1 }), { signal }))
    expect((await Promise.all(calls)).map(({ state }) => state.balance)).toEqual([1, 2, 3])
  })

  test('while their append is on its way is not decided anew when that comes to nothing', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    await execute(store, deposit({ account: 'a', amount: 1 }), { key: 'used' })
    const controller = new AbortController()
    store.afterAppend = () => {
      controller.abort(mine)
    }
    const { signal } = controller
    const repeated = execute(store, deposit({ account: 'a', amount: 1 }), { key: 'used' })
    const beside = execute(store, deposit({ account: 'a', amount: 10 }), { signal, key: 'new' })
    await expect(repeated).resolves.toMatchObject({ repeated: true })
    await expect(beside).rejects.toBe(mine)
    await settle()
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(2)
  })
})

describe('a signal', () => {
  test('keeps no listener of 10,000 calls, however they ended', async () => {
    const store = observedStore({ maxPending: 200 })
    const { signal } = new AbortController()
    let conflicts = 0
    store.beforeAppend = async ({ events }) => {
      if (events.length === 1 && conflicts++ % 50 === 0) {
        await store.stranger.append({ stream: one, events: [Deposited({ amount: 1 })] })
      }
    }
    for (let round = 0; round < 50; round++) {
      const calls = times(200, (i) => {
        switch (i % 5) {
          case 0:
            return execute(store, transfer({ from: 'a', to: 'b', amount: 1 }), { signal })
          case 1:
            return execute(store, deposit({ account: `x${i}`, amount: 1 }), { signal, key: `${round}-${i}` })
          case 2:
            return untyped(store, { reads: one, handle: () => Promise.reject(mine) }, { signal })
          default:
            return execute(store, open(i % 2 ? 'a' : `y${round}`), { signal, retry: { maxRetries: 0 } })
        }
      })
      await Promise.allSettled(calls)
    }
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('keeps no listener of calls that never began', async () => {
    const store = observedStore({ maxPending: 1 })
    const { signal } = new AbortController()
    const waiting = gate()
    const first = untyped(store, { reads: one, handle: () => waiting.passed.then(() => []) })
    await expect(untyped(store, { reads: one, handle: () => [] }, { signal })).rejects.toThrow(
      OverloadedError,
    )
    await expect(untyped(store, { reads: undefined, handle: () => [] }, { signal })).rejects.toThrow(
      'reads must be',
    )
    waiting.open()
    await first
    const uncomparable = {
      toJSON: () => {
        throw mine
      },
    }
    const command = {
      reads: one,
      input: new (class {
        toJSON = uncomparable.toJSON
      })(),
      handle: () => [],
    }
    await expect(untyped(store, command, { signal, key: 'k' })).rejects.toBe(mine)
    await store.close()
    await expect(untyped(store, { reads: one, handle: () => [] }, { signal })).rejects.toThrow(
      StoreClosedError,
    )
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('aborted already leaves no rejection unhandled, whatever else is wrong', async () => {
    const unhandled: unknown[] = []
    const listener = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', listener)
    onTestFinished(() => void process.off('unhandledRejection', listener))
    const store = observedStore()
    const signal = AbortSignal.abort(mine)
    await expect(untyped(store, { reads: 5, handle: () => [] }, { signal })).rejects.toThrow('reads must be')
    await expect(untyped(store, open('a'), { signal, key: 'k' })).rejects.toBe(mine)
    const controller = new AbortController()
    const call = untyped(store, open('a'), { signal: controller.signal, key: 'k' })
    controller.abort(mine)
    await expect(call).rejects.toBe(mine)
    await store.close()
    await expect(untyped(store, open('a'), { signal })).rejects.toThrow(StoreClosedError)
    await settle()
    expect(unhandled).toEqual([])
  })

  test('warns of no leak where many commands share it', async () => {
    const warnings: unknown[] = []
    const listener = (warning: unknown) => warnings.push(warning)
    process.on('warning', listener)
    onTestFinished(() => void process.off('warning', listener))
    const store = observedStore()
    const { signal } = new AbortController()
    await Promise.all(times(64, (i) => execute(store, open(`${i}`), { signal })))
    await settle()
    expect(warnings).toEqual([])
  })

  test('of one call ends no other', async () => {
    const store = observedStore({ cachedStates: 0 })
    const controller = new AbortController()
    store.beforeAppend = async () => {
      if (store.appends.length > 1) return
      await store.stranger.append({ stream: one, events: [Opened({ owner: 'A' })] })
    }
    const add = (signal?: AbortSignal) =>
      untyped(
        store,
        { reads: one, handle: () => Deposited({ amount: 1 }) },
        { signal, retry: { maxRetries: 1, baseDelay: 0 } },
      )
    const [first, second] = [add(controller.signal), add()]
    controller.abort(mine)
    await expect(first).rejects.toBe(mine)
    await expect(second).resolves.toMatchObject({ ok: true })
    const none = untyped(
      store,
      { reads: one, handle: () => Deposited({ amount: 1 }) },
      { retry: { maxRetries: 0 } },
    )
    await expect(none).resolves.not.toBeInstanceOf(ConflictError)
  })
})
