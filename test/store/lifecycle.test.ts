import { describe, expect, test } from 'vitest'
import {
  createStore,
  execute,
  InvalidArgumentError,
  OverloadedError,
  StoreClosedError,
  type Recorded,
} from 'mneme'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { BankAccount, deposit, Deposited, open, Opened, transfer } from '../support/bank.ts'
import { gate, observedStore, settle, times } from '../support/observed-store.ts'

const a = BankAccount('a')
const untyped = execute as (...args: unknown[]) => Promise<unknown>

describe('closing a store', () => {
  test('waits for the commands in flight, wherever they are', async () => {
    const store = observedStore()
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 5 }))
    }
    const [deciding, appending] = [gate(), gate()]
    store.beforeAppend = () => appending.passed
    let closed = false
    const calls = [
      untyped(store, {
        reads: BankAccount('c'),
        handle: () => deciding.passed.then(() => Opened({ owner: 'C' })),
      }),
      execute(store, deposit({ account: 'a', amount: 1 })),
      execute(store, deposit({ account: 'a', amount: 1 })),
      execute(store, transfer({ from: 'a', to: 'b', amount: 1 })),
      execute(store, deposit({ account: 'b', amount: 1 }), { key: 'k' }),
      store.append({ stream: 'Log-l', events: [Opened({ owner: 'L' })] }, { key: 'l' }),
      store.head('Log-l'),
    ]
    const closing = store.close().then(() => {
      closed = true
      expect(store.data.log).toHaveLength(4 + 1 + 2 + 2 + 1 + 1)
    })
    await settle()
    expect(closed).toBe(false)
    deciding.open()
    await settle()
    expect(closed).toBe(false)
    appending.open()
    await Promise.all(calls)
    await closing
  })

  test('waits for a command that backs off', async () => {
    const store = observedStore({ cachedStates: 0 })
    let met = false
    store.beforeAppend = async () => {
      if (met) return
      met = true
      await store.stranger.append({ stream: a, events: [Opened({ owner: 'B' })] })
    }
    const call = untyped(
      store,
      { reads: a, handle: () => Deposited({ amount: 1 }) },
      { retry: { minDelay: 30 } },
    )
    await settle()
    await store.close()
    await expect(call).resolves.toMatchObject({ attempts: 2 })
  })

  test('refuses later calls, and closes the adapter once', async () => {
    let closed = 0
    const adapter = memoryAdapter()
    const store = createStore({
      ...adapter,
      close: async () => {
        closed++
      },
    })
    await Promise.all([store.close(), store.close(), store[Symbol.asyncDispose]()])
    expect(closed).toBe(1)
    const late = [
      execute(store, open('a')),
      execute(store, transfer({ from: 'a', to: 'b', amount: 1 })),
      execute(store, open('a'), { key: 'k' }),
      store.append({ stream: a, events: [] }),
      store.read(a).next(),
      store.readAll().next(),
      store.head(a),
      store.logHead(),
      store.identity(),
    ]
    for (const call of late) await expect(call).rejects.toThrow(StoreClosedError)
  })

  test('does not wait for a reader who stopped half-way, whose next page is refused', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(600, () => Deposited({ amount: 1 })) })
    const [reader, all, untouched] = [store.read(a), store.readAll(), store.read(a)]
    await reader.next()
    await all.next()
    await store.close()
    // What is on the page already is still given.
    for (let i = 1; i < 256; i++)
      expect(await reader.next()).toMatchObject({ done: false, value: { revision: i } })
    await expect(reader.next()).rejects.toThrow(StoreClosedError)
    expect(await reader.next()).toEqual({ done: true, value: undefined })
    expect(await all.return!()).toEqual({ done: true, value: undefined })
    await expect(untouched.next()).rejects.toThrow(StoreClosedError)
  })

  test('waits for a page that is on its way', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    const reading = gate()
    store.beforeRead = () => reading.passed
    const next = store.read(a).next()
    let closed = false
    const closing = store.close().then(() => (closed = true))
    await settle()
    expect(closed).toBe(false)
    reading.open()
    await expect(next).resolves.toMatchObject({ value: { revision: 0 } })
    await closing
  })

  test('passes on what the adapter’s close throws, each time', async () => {
    const mine = new Error('mine')
    const store = createStore({ ...memoryAdapter(), close: () => Promise.reject(mine) })
    await expect(store.close()).rejects.toBe(mine)
    await expect(store.close()).rejects.toBe(mine)
  })
})

describe('more calls than may wait', () => {
  test('are refused at once, commands and appends alike, and the store works again after', async () => {
    const store = observedStore({ maxPending: 3 })
    const stalled = gate()
    store.beforeAppend = () => stalled.passed
    const waiting = [
      execute(store, open('a')),
      untyped(store, { reads: { a: BankAccount('b') }, handle: () => [], input: 1 }, { key: 'k' }),
      store.append({ stream: 'Log-l', events: [Opened({ owner: 'L' })] }),
    ]
    const refused = [
      execute(store, open('c')),
      execute(store, transfer({ from: 'a', to: 'b', amount: 1 })),
      execute(store, open('c'), { key: 'c' }),
      store.append({ stream: 'Log-m', events: [Opened({ owner: 'M' })] }),
    ]
    for (const call of refused) {
      await expect(call).rejects.toThrow(OverloadedError)
      await expect(call).rejects.toMatchObject({ code: 'OVERLOADED', isRetryable: true, pending: 3 })
    }
    // Reading is not bounded by it.
    expect(await store.head(a)).toBe('none')
    stalled.open()
    await Promise.all(waiting)
    await expect(execute(store, open('c'))).resolves.toMatchObject({ ok: true })
    await expect(store.close()).resolves.toBeUndefined()
  })

  test('include those that wait for their stream and those that back off', async () => {
    const store = observedStore({ maxPending: 5 })
    const stalled = gate()
    store.beforeAppend = () => stalled.passed
    const waiting = times(5, () => execute(store, open('a')))
    const outcomes = Promise.allSettled(waiting)
    await expect(execute(store, open('a'))).rejects.toThrow(OverloadedError)
    stalled.open()
    expect((await outcomes).filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await expect(execute(store, deposit({ account: 'a', amount: 1 }))).resolves.toMatchObject({ ok: true })
  })

  test('no longer include those that were given up', async () => {
    const store = observedStore({ maxPending: 1 })
    const controller = new AbortController()
    const hanging = untyped(
      store,
      { reads: a, handle: () => new Promise(() => undefined) },
      { signal: controller.signal },
    )
    await expect(execute(store, open('b'))).rejects.toThrow(OverloadedError)
    controller.abort()
    await expect(hanging).rejects.toMatchObject({ name: 'AbortError' })
    await expect(execute(store, open('b'))).resolves.toMatchObject({ ok: true })
  })

  test('are told apart from a closed store', async () => {
    const store = observedStore({ maxPending: 1 })
    const stalled = gate()
    store.beforeAppend = () => stalled.passed
    const first = execute(store, open('a'))
    const closing = store.close()
    await expect(execute(store, open('b'))).rejects.toThrow(StoreClosedError)
    stalled.open()
    await Promise.all([first, closing])
  })

  test.each([0, -1, 1.5, '5', null, NaN])('refuses a bound of %s', (maxPending) => {
    expect(() => createStore(memoryAdapter(), { maxPending: maxPending as never })).toThrow(
      InvalidArgumentError,
    )
  })

  test.each([
    ['a misspelt option', { maxpending: 5 }, 'options.maxpending'],
    ['no object', 5, 'options'],
    ['null', null, 'options'],
  ])('refuses %s', (_, options, argument) => {
    expect(() => createStore(memoryAdapter(), options as never)).toThrow(
      expect.objectContaining({ argument }) as Error,
    )
  })
})

describe('an iterator of events', () => {
  test('gives each event once and in order to calls made at once', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(600, () => Deposited({ amount: 1 })) })
    const reading = store.read(a)
    const results = await Promise.all(times(610, () => reading.next()))
    expect(results.slice(0, 600).map(({ value }) => (value as Recorded).revision)).toEqual(
      times(600, (i) => i),
    )
    expect(results.slice(600)).toEqual(times(10, () => ({ done: true, value: undefined })))
    expect(store.reads).toHaveLength(1)
  })

  test('fails once, and is at its end then', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    store.beforeRead = () => {
      throw new StoreClosedError()
    }
    const reading = store.read(a)
    const results = await Promise.allSettled(times(4, () => reading.next()))
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
    expect(await reading.next()).toEqual({ done: true, value: undefined })
  })

  test('stops where it is told to, also while a page is on its way', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(600, () => Deposited({ amount: 1 })) })
    const reading = store.read(a)
    const calls = [reading.next(), reading.return!(), reading.next()]
    const [first, ...rest] = await Promise.all(calls)
    expect(first!.done === true || first!.value.revision === 0).toBe(true)
    expect(rest).toEqual(times(2, () => ({ done: true, value: undefined })))
    expect(store.eventsRead).toBeLessThanOrEqual(256)
  })

  test('ends with its signal’s reason', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: times(600, () => Deposited({ amount: 1 })) })
    const controller = new AbortController()
    const mine = new Error('mine')
    const seen: number[] = []
    const reading = (async () => {
      for await (const { revision } of store.read(a, { signal: controller.signal })) {
        seen.push(revision)
        if (revision === 9) controller.abort(mine)
      }
    })()
    await expect(reading).rejects.toBe(mine)
    expect(seen).toEqual(times(10, (i) => i))
    await expect(store.read(a, { signal: AbortSignal.abort(mine) }).next()).rejects.toBe(mine)
    expect(store.reads).toHaveLength(1)
  })

  test('hands out a fresh object each time', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] }, { metadata: { actor: 'ann' } })
    for (let i = 0; i < 2; i++) {
      const value: unknown = (await store.read('BankAccount-a').next()).value
      expect(value).toMatchObject({ data: { owner: 'A' }, metadata: { actor: 'ann' } })
      Object.assign((value as { data: object }).data, { owner: 'spoilt' })
    }
    await execute(store, open('b'))
    const value: unknown = (await store.read('BankAccount-b').next()).value
    expect(() => Object.assign((value as { metadata: object }).metadata, { spoilt: 1 })).toThrow(TypeError)
  })
})
