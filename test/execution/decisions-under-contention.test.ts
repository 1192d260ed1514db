import { describe, expect, test } from 'vitest'
import {
  defineAggregate,
  defineCommand,
  event,
  isMnemeError,
  OutcomeUnknownError,
  reject,
  StoreFailedError,
  tryExecute,
} from 'mneme'
import { MemoryData } from '../../src/stores/memory/adapter.ts'
import type { StoredEvent } from 'mneme/adapter'
import { observedStore, times } from '../support/observed-store.ts'
import { isFull } from '../support/soak.ts'

/** Every event says which command decided on it, and on what balance. */
const Wallet = defineAggregate({
  name: 'Wallet',
  events: {
    Put: event<{ by: number; amount: number; before: number }>(),
    Taken: event<{ by: number; amount: number; before: number }>(),
  },
  initial: () => ({ balance: 0 }),
  apply: {
    Put: ({ balance }, { amount }) => ({ balance: balance + amount }),
    Taken: ({ balance }, { amount }) => ({ balance: balance - amount }),
  },
})
const { Put, Taken } = Wallet.events

interface Input {
  by: number
  wallet: string
  other: string
  amount: number
  /** Microtasks or milliseconds that deciding takes. */
  pause: number
}
const pausing = (ms: number) =>
  ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms))

const put = defineCommand({
  reads: ({ wallet }: Input) => Wallet(wallet),
  handle: ({ balance }, { by, amount }) => Put({ by, amount, before: balance }),
})
const take = defineCommand({
  reads: ({ wallet }: Input) => Wallet(wallet),
  handle: async ({ balance }, { by, amount, pause }) => {
    await pausing(pause)
    return amount > balance
      ? reject('too-little', { seen: [balance] })
      : Taken({ by, amount, before: balance })
  },
})
const look = defineCommand({
  reads: ({ wallet }: Input) => Wallet(wallet),
  handle: ({ balance }) => {
    throw new Seen([balance])
  },
})
const move = defineCommand({
  reads: ({ wallet, other }: Input) => ({ from: Wallet(wallet), to: Wallet(other) }),
  handle: async ({ from, to }, { by, amount, pause }, { on }) => {
    await pausing(pause)
    if (amount > from.balance) return reject('too-little', { seen: [from.balance, to.balance] })
    return [
      on.from(Taken({ by, amount, before: from.balance })),
      on.to(Put({ by, amount, before: to.balance })),
    ]
  },
})
const lookAtBoth = defineCommand({
  reads: ({ wallet, other }: Input) => ({ from: Wallet(wallet), to: Wallet(other) }),
  handle: ({ from, to }) => reject('looked', { seen: [from.balance, to.balance] }),
})

class Seen extends Error {
  readonly seen: readonly number[]
  constructor(seen: readonly number[]) {
    super('seen')
    this.seen = seen
  }
}

/** Mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const WALLETS = ['x', 'y', 'z']

/** Three processes run commands of all kinds on three wallets, through appends that are slow, fail or get lost. */
async function rush(seed: number) {
  const next = random(seed)
  const below = (n: number) => Math.floor(next() * n)
  const data = new MemoryData()
  const faulty = next() < 0.5
  const stores = times(3, () => {
    const store = observedStore({ cachedStates: next() < 0.8 ? 1_000 : 0 }, data)
    const slow = async () => {
      if (next() < 0.5) await pausing(below(3))
    }
    store.beforeRead = slow
    store.beforeAppend = async () => {
      await slow()
      if (faulty && next() < 0.05) throw new StoreFailedError('failed')
    }
    store.afterAppend = async () => {
      await slow()
      if (faulty && next() < 0.05) throw new OutcomeUnknownError('lost')
    }
    return store
  })
  const calls = times(90, async (by) => {
    await pausing(below(12))
    const wallet = WALLETS[below(3)]!
    const other = WALLETS.filter((name) => name !== wallet)[below(2)]!
    const input = { by, wallet, other, amount: 1 + below(20), pause: below(3) }
    const command = [put, put, take, take, move, look, lookAtBoth][below(7)]!(input)
    const controller = new AbortController()
    if (next() < 0.15) setTimeout(() => controller.abort(new Error('given up')), below(4))
    const key = next() < 0.2 ? { key: `key-${by}` } : {}
    const options = {
      signal: controller.signal,
      retry: { maxRetries: 1_000, baseDelay: 1, maxDelay: 3 },
      ...key,
    }
    const began = data.log.length
    const run = () =>
      tryExecute(stores[below(3)]!, command as ReturnType<typeof move>, options).then(
        (outcome) => ({ outcome }),
        (error: unknown) => ({ error }),
      )
    const results = await Promise.all('key' in key ? [run(), run()] : [run()])
    return { by, input, began, ended: data.log.length, several: 'from' in command.reads, results }
  })
  return { data, calls: await Promise.all(calls) }
}

/** The balances right after the first `count` events of the store. */
function balancesAt(log: readonly StoredEvent[], count: number): Record<string, number> {
  const balances: Record<string, number> = { x: 0, y: 0, z: 0 }
  for (const { stream, type, data } of log.slice(0, count)) {
    const { amount } = JSON.parse(data) as { amount: number }
    balances[stream.slice('Wallet-'.length)]! += type === 'Wallet.Put' ? amount : -amount
  }
  return balances
}

describe('under contention, with failures and lost answers', () => {
  // `npm run test:soak` tries ten times as many.
  test.each(times(isFull ? 600 : 60, (i) => i + 1))(
    'every decision stands on what was true, and is kept once: seed %i',
    async (seed) => {
      const { data, calls } = await rush(seed)
      const { log } = data
      const stored = new Map<number, StoredEvent[]>()
      const balances: Record<string, number> = { x: 0, y: 0, z: 0 }
      for (const one of log) {
        const { by, amount, before } = JSON.parse(one.data) as { by: number; amount: number; before: number }
        const wallet = one.stream.slice('Wallet-'.length)
        expect(before, 'each event was decided on the balance that it found').toBe(balances[wallet])
        balances[wallet]! += one.type === 'Wallet.Put' ? amount : -amount
        expect(balances[wallet], 'no wallet is ever overdrawn').toBeGreaterThanOrEqual(0)
        stored.set(by, [...(stored.get(by) ?? []), one])
      }
      for (const { by, input, began, ended, several, results } of calls) {
        const kept = stored.get(by) ?? []
        expect(kept.length, 'a command is kept once').toBeLessThanOrEqual(several ? 2 : 1)
        let unknown = false
        let succeeded = false
        for (const result of results) {
          const seen =
            'error' in result
              ? result.error instanceof Seen && result.error.seen
              : !result.outcome.ok && (result.outcome.rejection as { seen?: readonly number[] }).seen
          if (seen) {
            const possible = times(ended - began + 1, (i) => balancesAt(log, began + i)).map((at) =>
              several ? [at[input.wallet], at[input.other]] : [at[input.wallet]],
            )
            expect(possible, 'what is reported was true while the command ran').toContainEqual(seen)
          }
          if ('error' in result) {
            unknown ||= isMnemeError(result.error) && result.error.code === 'OUTCOME_UNKNOWN'
            const known = [Seen, StoreFailedError, OutcomeUnknownError].some(
              (type) => result.error instanceof type,
            )
            if (!known) expect(result.error).toMatchObject({ message: 'given up' })
          } else if (result.outcome.ok) {
            succeeded = true
            const { outcome } = result
            expect(outcome.events.map(({ id, revision, position }) => [id, revision, position])).toEqual(
              kept.map(({ id, revision, position }) => [id, revision, position]),
            )
            const at = balancesAt(log, Number(outcome.position))
            const state = outcome.state as unknown as {
              balance: number
              from: { balance: number }
              to: { balance: number }
            }
            if (several) {
              expect([state.from.balance, state.to.balance]).toEqual([at[input.wallet], at[input.other]])
            } else expect(state.balance).toBe(at[input.wallet])
          }
        }
        if (!succeeded && !unknown) expect(kept, 'what failed wrote nothing').toEqual([])
      }
    },
  )
})
