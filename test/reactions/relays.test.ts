import { createStore, defineAggregate, event, type EventStore, UnsupportedError } from 'mneme'
import { defineRelay, type Relay, runReactions, type SendContext } from 'mneme/reactions'
import { expect, onTestFinished, test } from 'vitest'

import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { faultyTarget } from '../projections/faulty-target.ts'
import { sql, until } from '../projections/rig.ts'
import { onTime, openPlace } from './rig.ts'
import { fulfilment } from './shop.ts'

const Note = defineAggregate({
  name: 'Note',
  events: { Written: event<{ n: number }>() },
  initial: () => ({}),
  apply: { Written: (state) => state },
})
const quick = { baseDelay: 1, minDelay: 0, maxDelay: 1 }

async function write(store: EventStore, note: string, ...numbers: number[]): Promise<void> {
  await store.append({ stream: Note(note), events: numbers.map((n) => Note.events.Written({ n })) })
}

function relay(
  send: (numbers: number[], context: SendContext) => unknown,
  options: { batchSize?: number; onError?: 'park'; maxRetries?: number; sendTimeout?: number } = {},
): Relay {
  const { maxRetries, ...others } = options
  return onTime(
    defineRelay({
      name: 'notes',
      from: [Note],
      startAt: 'start',
      send: async (batch, context) => {
        await send(
          batch.map(({ data }) => data.n),
          context,
        )
      },
      retry: { ...quick, maxRetries },
      ...others,
    }),
  )
}

test('events are sent in order, in batches, and the checkpoint moves behind what is confirmed', async () => {
  const { store, state } = openPlace()
  await write(store, 'a', 1, 2, 3)
  await write(store, 'b', 4, 5)
  const batches: number[][] = []
  const sending = relay((numbers) => batches.push(numbers), { batchSize: 2 })
  await using running = await runReactions(store, [sending], { state })
  await running.caughtUp()
  expect(batches).toEqual([[1, 2], [3, 4], [5]])
  expect(await sending.in(state).status(store)).toMatchObject({ handled: 5, lag: { events: 0 } })
})

test('a receiver that fails is tried again without an end, and nothing is lost or out of order', async () => {
  const { store, state } = openPlace()
  await write(store, 'a', 1, 2, 3)
  const received: number[] = []
  let failures = 0
  const sending = relay((numbers) => {
    if (failures++ < 30) throw new Error('down')
    received.push(...numbers)
  })
  await using running = await runReactions(store, [sending], { state })
  await running.caughtUp()
  expect(received).toEqual([1, 2, 3])
})

test('events whose confirmation was lost are sent again, with the same ids', async () => {
  const { store, state } = openPlace()
  await write(store, 'a', 1, 2)
  const ids: string[][] = []
  const sending = onTime(
    defineRelay({
      name: 'notes',
      from: [Note],
      startAt: 'start',
      send: (batch) => {
        ids.push(batch.map(({ id }) => id))
        return Promise.resolve()
      },
    }),
  )
  // The process dies after the receiver has confirmed.
  const dying = faultyTarget(state, {
    step: () => {
      if (ids.length > 0) throw new Error('killed')
    },
  })
  const first = await runReactions(store, [sending], { state: dying })
  await until(() => ids.length > 0, 'it is sent')
  await first.stop()
  const before = ids.splice(0).at(-1)
  // Its successor does not wait for the lease.
  await sql(state, 'UPDATE PROJECTIONS SET lease_until = 0')
  await using second = await runReactions(store, [sending], { state })
  await second.caughtUp()
  expect(ids[0]).toEqual(before)
})

test('a call of send that does not settle in time is aborted, and made again', async () => {
  const { store, state } = openPlace()
  await write(store, 'a', 1)
  const signals: AbortSignal[] = []
  const sending = relay(
    (_, { signal }) => {
      signals.push(signal)
      return signals.length === 1 ? new Promise(() => undefined) : undefined
    },
    { sendTimeout: 20 },
  )
  await using running = await runReactions(store, [sending], { state })
  await running.caughtUp()
  expect(signals.length).toBeGreaterThan(1)
  expect(signals[0]!.aborted).toBe(true)
  expect(signals.at(-1)!.aborted).toBe(false)
})

test('an event that the receiver refuses is parked with the later ones of its sequence, and sent when it is retried', async () => {
  const { store, state } = openPlace()
  let isRefused = true
  const received: number[] = []
  const sending = relay(
    (numbers) => {
      if (isRefused && numbers.includes(2)) throw new Error('refused')
      received.push(...numbers)
    },
    { onError: 'park', maxRetries: 1 },
  )
  await write(store, 'a', 1, 2, 3)
  await write(store, 'b', 4)
  await using running = await runReactions(store, [sending], { state })
  await running.caughtUp()
  await write(store, 'a', 5)
  await running.caughtUp()
  expect(received).toEqual([1, 4])
  isRefused = false
  expect(await sending.in(state).retryParked()).toBe(3)
  await until(() => received.length === 5, 'the parked ones are sent')
  expect(received).toEqual([1, 4, 2, 3, 5])
})

test('a store without idempotency keys refuses reactions at once, and runs relays', async () => {
  const adapter = memoryAdapter()
  const capabilities = { ...adapter.capabilities, keys: false, needed: 'that needs KurrentDB 26.1 or later' }
  const store = createStore({ ...adapter, capabilities })
  onTestFinished(() => store.close())
  const { state } = openPlace()
  const running = runReactions(store, [fulfilment], { state })
  await expect(running).rejects.toThrow(UnsupportedError)
  await expect(running).rejects.toThrow(
    "reaction 'fulfilment' cannot run, because this store keeps no idempotency keys: that needs KurrentDB 26.1 or later",
  )
  const received: number[] = []
  await using relaying = await runReactions(store, [relay((numbers) => received.push(...numbers))], { state })
  await write(store, 'a', 1)
  await relaying.caughtUp()
  expect(received).toEqual([1])
})
