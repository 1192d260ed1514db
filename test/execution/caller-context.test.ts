import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import {
  createStore,
  defineAggregate,
  defineCommand,
  execute,
  ofType,
  reject,
  StoreUnavailableError,
  tryExecute,
} from 'mneme'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { BankAccount, Deposited, Opened } from '../support/bank.ts'
import { gate, observedStore, times, type ObservedStore } from '../support/observed-store.ts'

const untyped = tryExecute as (...args: unknown[]) => Promise<unknown>
const request = new AsyncLocalStorage<number>()
const current = () => request.getStore()
const COUNT = 20

/** Calls at once, each in a context of its own. */
function inContexts<T>(call: (i: number) => Promise<T>): Promise<PromiseSettledResult<T>[]> {
  return Promise.allSettled(times(COUNT, (i) => request.run(i, () => call(i))))
}

/** A command that notes in which context its functions run, and whose it is. */
function noting(seen: [string, number, unknown][]) {
  const note = (what: string, i: number) => seen.push([what, i, current()])
  const needs = ofType<{ user: () => number | undefined }>()
  const decide = async (i: number, user: () => number | undefined) => {
    note('handle', i)
    seen.push(['needs', i, user()])
    await Promise.resolve()
    note('handle after an await', i)
  }
  return {
    one: defineCommand({
      needs,
      reads: (_: number) => BankAccount('a'),
      handle: async (_state, i, { user }) => {
        await decide(i, user)
        return i % 4 === 3 ? reject('odd') : Deposited({ amount: 1 })
      },
    }),
    several: defineCommand({
      needs,
      reads: (_: number) => ({ a: BankAccount('a') }),
      follow: (_state, i) => {
        note('follow', i)
        return { b: BankAccount('b') }
      },
      handle: async (_state, i, { on, user }) => {
        await decide(i, user)
        return i % 4 === 3 ? reject('odd') : on.b(Deposited({ amount: 1 }))
      },
    }),
  }
}

describe.each(['one', 'several'] as const)('a command over %s', (kind) => {
  const cases: [string, () => ObservedStore, (i: number) => object][] = [
    ['cached', () => observedStore(), () => ({})],
    ['without a cache', () => observedStore({ cachedStates: 0 }), () => ({})],
    ['with keys', () => observedStore(), (i) => ({ key: `${i}` })],
    ['with a key that was used', () => observedStore(), (i) => ({ key: `${i % 4}` })],
  ]
  test.each(cases)('runs its functions in the context of its caller: %s', async (_, make, optionsOf) => {
    const store = make()
    await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'A' })] })
    const seen: [string, number, unknown][] = []
    const commands = noting(seen)
    await inContexts(async (i) => {
      const options = { ...optionsOf(i), needs: { user: current } }
      await untyped(store, commands[kind](i), options)
      expect(current()).toBe(i)
    })
    expect(seen.length).toBeGreaterThanOrEqual(COUNT)
    expect(seen.filter(([, i, context]) => context !== i)).toEqual([])
  })

  test('runs onRetry and the retried handle in the context of its caller', async () => {
    const store = observedStore({ cachedStates: 0 })
    let conflicts = 3
    store.beforeAppend = async () => {
      if (conflicts-- > 0)
        await store.stranger.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })] })
    }
    const seen: [string, number, unknown][] = []
    const commands = noting(seen)
    await inContexts((i) =>
      untyped(store, commands[kind](i), {
        needs: { user: current },
        retry: { maxRetries: 100, baseDelay: 1 },
        onRetry: () => seen.push(['onRetry', i, current()]),
      }),
    )
    expect(seen.map(([what]) => what)).toContain('onRetry')
    expect(seen.filter(([, i, context]) => context !== i)).toEqual([])
  })
})

test('a schema of a hand-made event runs in the context of the caller', async () => {
  const { Checked, seen } = checked()
  const store = observedStore()
  await inContexts((i) => {
    const handle = () => ({ type: 'Checked.Made' as const, data: { i } })
    return execute(store, { reads: Checked('c'), handle })
  })
  expect(seen).toHaveLength(COUNT)
  expect(seen.filter(([i, context]) => context !== i)).toEqual([])
})

test('onInterrupted runs in the context that called subscribe, whoever asks for the next event', async () => {
  const told = gate<number | undefined>()
  const inner = memoryAdapter()
  const store = createStore({
    ...inner,
    subscribe: (wanted) => {
      const pages = inner.subscribe(wanted)
      wanted.interrupted(new StoreUnavailableError('away'))
      return pages
    },
  })
  const subscription = request.run(7, () =>
    store.subscribe({
      onInterrupted: () => {
        told.open(current())
      },
    }),
  )
  void request.run(8, () => subscription.next())
  expect(await told.passed).toBe(7)
  await store.close()
})

function checked() {
  const seen: [number, unknown][] = []
  const schema = {
    '~standard': {
      version: 1 as const,
      vendor: 'test',
      validate: (value: unknown) => {
        seen.push([(value as { i: number }).i, current()])
        return { value: value as { i: number } }
      },
    },
  }
  const Checked = defineAggregate({
    name: 'Checked',
    events: { Made: schema },
    initial: () => ({ count: 0 }),
    apply: { Made: ({ count }) => ({ count: count + 1 }) },
  })
  return { Checked, seen }
}
