import { describe, expect, test } from 'vitest'
import { defineCommand, execute, reject, tryExecute, type Executed } from 'mneme'
import { BankAccount, deposit, Deposited, open, Opened, transfer, withdraw } from '../support/bank.ts'
import { observedStore, times, type ObservedStore } from '../support/observed-store.ts'

const a = BankAccount('a')
const b = BankAccount('b')
const untyped = execute as (...args: unknown[]) => Promise<Executed<unknown, unknown>>

/** Its states of two accounts are at hand, and the first is old: a stranger deposited 100. */
async function withOldState(): Promise<ObservedStore> {
  const store = observedStore()
  for (const account of ['a', 'b']) await execute(store, open(account))
  await store.stranger.append({ stream: a, events: [Deposited({ amount: 100 })] })
  store.forget()
  return store
}

const boundaries = [
  ['one stream', a, (state: { balance: number }) => state.balance],
  ['several streams', { a, b }, (state: { a: { balance: number } }) => state.a.balance],
  ['a record of one stream', { a }, (state: { a: { balance: number } }) => state.a.balance],
] as const

describe.each(boundaries)('on an old state of %s', (_, reads, balanceOf) => {
  const balance = balanceOf as (state: unknown) => number

  test('a rejection is decided anew', async () => {
    const store = await withOldState()
    const seen: number[] = []
    const command = {
      reads,
      handle: (state: unknown) => {
        seen.push(balance(state))
        return balance(state) === 0 ? reject('an old state') : []
      },
    }
    await expect(untyped(store, command)).resolves.toMatchObject({ ok: true, attempts: 2 })
    expect(seen).toEqual([0, 100])
  })

  test('a decision on nothing is decided anew', async () => {
    const store = await withOldState()
    const { state } = await untyped(store, { reads, handle: () => [] })
    expect(balance(state)).toBe(100)
  })

  test.each([
    [
      'thrown',
      (error: Error) => {
        throw error
      },
    ],
    ['a rejected promise', (error: Error) => Promise.reject(error)],
    ['of a wrong return', () => undefined],
  ])('an error %s is decided anew', async (__, fail) => {
    const store = await withOldState()
    const handle = (state: unknown) => (balance(state) === 0 ? fail(new Error('an old state')) : [])
    await expect(untyped(store, { reads, handle })).resolves.toMatchObject({ ok: true, attempts: 2 })
  })

  test('what stands on the present state is reported as it is', async () => {
    const store = await withOldState()
    const handle = (state: unknown) => reject(`balance-${balance(state)}`)
    await expect(untyped(store, { reads, handle })).rejects.toMatchObject({
      rejection: { reason: 'balance-100' },
    })
    const throwing = (state: unknown) => {
      throw new Error(`balance-${balance(state)}`)
    }
    await expect(untyped(store, { reads, handle: throwing })).rejects.toThrow('balance-100')
  })

  test('a verification writes nothing', async () => {
    const store = await withOldState()
    const length = store.data.log.length
    await untyped(store, { reads, handle: () => [] })
    expect(store.appends.length).toBeGreaterThan(0)
    for (const { events, keys } of store.appends) expect([events, keys]).toEqual([[], []])
    expect(store.data.log).toHaveLength(length)
    expect(store.data.keys.size).toBe(0)
  })

  test('a verification names every stream', async () => {
    const store = await withOldState()
    await untyped(store, { reads, handle: () => [] })
    const expected = [{ stream: a.stream, expected: 0 }]
    const together = 'b' in reads ? [...expected, { stream: b.stream, expected: 0 }] : expected
    expect(store.appends[0]!.conditions).toHaveLength(together.length)
    expect(store.appends[0]!.conditions).toEqual(expect.arrayContaining(together))
  })
})

describe('a freshly read stream', () => {
  test.each([
    ['one', a],
    ['one in a record', { a }],
  ])('%s, needs no verification', async (_, reads) => {
    const store = observedStore({ cachedStates: 0 })
    await execute(store, open('a'))
    store.forget()
    await untyped(store, { reads, handle: () => [] })
    await expect(untyped(store, { reads, handle: () => reject('no') })).rejects.toMatchObject({
      code: 'REJECTED',
    })
    const mine = new Error('mine')
    await expect(untyped(store, { reads, handle: () => Promise.reject(mine) })).rejects.toBe(mine)
    expect(store.appends).toEqual([])
    expect(store.reads).toHaveLength(3)
  })

  test('that is reported on is at hand for the next command', async () => {
    const store = observedStore()
    await store.append({ stream: a, events: [Opened({ owner: 'A' })] })
    await tryExecute(store, withdraw({ account: 'a', amount: 1 }))
    store.forget()
    await execute(store, deposit({ account: 'a', amount: 1 }))
    expect(store.reads).toEqual([])
  })
})

describe('several streams, read one after the other', () => {
  /** Between its reads of the two accounts, 10 is moved from one to the other. */
  async function tornStore(): Promise<ObservedStore> {
    const store = observedStore({ cachedStates: 0 })
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 10 }))
    }
    let torn = false
    store.beforeRead = async ({ stream }) => {
      if (torn || stream !== b.stream) return
      torn = true
      await new Promise((resolve) => setTimeout(resolve, 5))
      await execute(store.stranger, transfer({ from: 'a', to: 'b', amount: 10 }))
    }
    store.forget()
    return store
  }
  const total = ({ a, b }: { a: { balance: number }; b: { balance: number } }) => a.balance + b.balance

  test('are never reported torn by a rejection', async () => {
    const seen: number[] = []
    const command = defineCommand({
      reads: () => ({ a, b }),
      handle: (state) => {
        seen.push(total(state))
        return reject('total', { total: total(state) })
      },
    })
    const result = await tryExecute(await tornStore(), command())
    expect(seen).toEqual([30, 20])
    expect(result).toMatchObject({ ok: false, rejection: { total: 20 }, attempts: 2 })
  })

  test('are never reported torn by a result, an error, or what follow throws', async () => {
    const reads = { a, b }
    const { state } = await untyped(await tornStore(), { reads, handle: () => [] })
    expect(total(state as never)).toBe(20)
    const throwing = {
      reads,
      handle: (torn: never) => {
        throw new Error(`a total of ${total(torn)}`)
      },
    }
    await expect(untyped(await tornStore(), throwing)).rejects.toThrow('a total of 20')
    const following = { reads, follow: throwing.handle, handle: () => [] }
    await expect(untyped(await tornStore(), following)).rejects.toThrow('a total of 20')
  })

  test('are verified also where they were just read', async () => {
    const store = observedStore({ cachedStates: 0 })
    await untyped(store, { reads: { a, b }, handle: () => [] })
    expect(store.appends.map(({ conditions, events }) => [conditions, events])).toEqual([
      [
        [
          { stream: a.stream, expected: 'none' },
          { stream: b.stream, expected: 'none' },
        ],
        [],
      ],
    ])
  })

  test('are conditions also where they are only read: no write skew', async () => {
    const store = observedStore()
    const other = observedStore({}, store.data)
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 10 }))
    }
    // Each may take 15 as long as both together hold it.
    const take = (from: 'a' | 'b') => ({
      reads: { a, b },
      handle: (state: never, { on }: { on: Record<'a' | 'b', (event: unknown) => unknown> }) =>
        total(state) < 15 ? reject('too-little') : on[from](BankAccount.events.Withdrawn({ amount: 15 })),
    })
    await untyped(other, { reads: { a, b }, handle: () => [] })
    const outcomes = await Promise.allSettled([untyped(store, take('a')), untyped(other, take('b'))])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const { state } = await untyped(store, { reads: { a, b }, handle: () => [] })
    expect(total(state as never)).toBe(5)
  })

  test('under constant transfers always sum up', async () => {
    const store = observedStore()
    const other = observedStore({}, store.data)
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 100 }))
    }
    const transfers = times(60, (i) =>
      execute(i % 2 ? store : other, transfer({ from: 'a', to: 'b', amount: 1 }), {
        retry: { maxRetries: 1_000, maxDelay: 5 },
      }),
    )
    const sums = times(60, async (i) => {
      const { state } = await untyped(
        i % 3 ? store : other,
        { reads: { a, b }, handle: () => [] },
        { retry: { maxRetries: 1_000, maxDelay: 5 } },
      )
      return total(state as never)
    })
    await Promise.all(transfers)
    expect(new Set(await Promise.all(sums))).toEqual(new Set([200]))
  })
})
