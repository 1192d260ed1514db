import { createStore, type MnemeError, StoreUnavailableError, type SubscribeOptions } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'

import { MemoryData, memoryAdapter } from '../../src/stores/memory/adapter.ts'

const FAILURES_PER_CALL = 3

/** Two stores over the same data: one can be reached, the other only after some calls of each kind have failed. */
function stores(failuresPerCall = FAILURES_PER_CALL) {
  const data = new MemoryData()
  const adapter = memoryAdapter(data)
  const left = new Map<string, number>()
  const failing = <T>(call: string, make: () => Promise<T>): Promise<T> => {
    const failures = left.get(call) ?? failuresPerCall
    left.set(call, failures - 1)
    return failures > 0 ? Promise.reject(new StoreUnavailableError('the server is away')) : make()
  }
  const [near, far] = [
    createStore(memoryAdapter(data)),
    createStore({
      ...adapter,
      identity: () => failing('identity', () => adapter.identity()),
      logHead: () => failing('logHead', () => adapter.logHead()),
      idAt: (position) => failing('idAt', () => adapter.idAt(position)),
    }),
  ]
  onTestFinished(async () => {
    await Promise.all([near.close(), far.close()])
  })
  return { near, far }
}

const event = (n: number) => ({ type: 'T', data: { n } })

describe('a subscription that begins while the store cannot be reached', () => {
  test.each(['the start', 'the end', 'a position', 'a checkpoint'] as const)(
    'at %s waits for the store, tells of each failure, and misses no event',
    async (start) => {
      const { near, far } = stores()
      await near.append({ stream: 'a', events: [event(0)] })
      const first = near.subscribe()
      await first.next()
      const checkpoint = first.checkpoint!
      await first.return?.()
      const starts: Record<typeof start, SubscribeOptions['from']> = {
        'the start': 'start',
        'the end': 'end',
        'a position': checkpoint.position,
        'a checkpoint': checkpoint,
      }
      const from = starts[start]
      const interruptions: MnemeError[] = []
      const events = far.subscribe({ from, onInterrupted: (error) => void interruptions.push(error) })
      const next = events.next()
      const isBehind = start !== 'the start'
      const calls = { 'the start': 1, 'the end': 3, 'a position': 2, 'a checkpoint': 2 }[start]
      if (isBehind) {
        await expect.poll(() => interruptions.length, { timeout: 60_000 }).toBe(calls * FAILURES_PER_CALL)
        await events.caughtUp()
        await near.append({ stream: 'a', events: [event(1)] })
      }
      expect((await next).value).toMatchObject({ data: { n: isBehind ? 1 : 0 } })
      expect(interruptions.length).toBe(calls * FAILURES_PER_CALL)
      expect(new Set(interruptions.map(({ code }) => code))).toEqual(new Set(['STORE_UNAVAILABLE']))
    },
  )

  test('ends without an error when the store is closed meanwhile', async () => {
    const { far } = stores(Infinity)
    const interruptions: MnemeError[] = []
    const events = far.subscribe({ onInterrupted: (error) => void interruptions.push(error) })
    const next = events.next()
    await expect.poll(() => interruptions.length).toBeGreaterThan(0)
    await far.close()
    expect(await next).toEqual({ done: true, value: undefined })
  })

  test('ends with the error if another attempt cannot help', async () => {
    const { near, far } = stores()
    await near.append({ stream: 'a', events: [event(0)] })
    const from = { store: 'another', position: '1', id: 'x' }
    await expect(far.subscribe({ from }).next()).rejects.toMatchObject({
      code: 'CHECKPOINT_FROM_ANOTHER_STORE',
    })
  })
})
