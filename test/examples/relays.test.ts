import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { defineAggregate, event, type EventStore, type Recorded } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { defineRelay, runReactions } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { cloudEvent } from '../../examples/relays/cloud-event.ts'
import type { Sender } from '../../examples/relays/sender.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { startProxy } from '../support/proxy.ts'
import { type Broker, brokers, openNats, openRabbitmq, type Received, source } from './brokers.ts'

const Order = defineAggregate({
  name: 'Order',
  events: { Changed: event<{ change: number }>() },
  initial: () => ({}),
  apply: { Changed: (state) => state },
})
/** Milliseconds after which a send is given up. */
const SEND_TIMEOUT_MS = 400

/** A call of `send`: which events it was given, and whether it confirmed them. */
interface Attempt {
  readonly ids: readonly string[]
  isConfirmed: boolean
}

/** A relay at work, with a log of what it sent. */
async function relayTo(sender: Sender) {
  const store = memoryStore()
  const state = sqliteTarget(join(testFolder(), 'state.db'))
  const attempts: Attempt[] = []
  const relay = defineRelay({
    name: 'broker',
    from: [Order],
    startAt: 'start',
    sendTimeout: SEND_TIMEOUT_MS,
    retry: { baseDelay: 20, minDelay: 10, maxDelay: 100 },
    send: async (batch, context) => {
      const attempt: Attempt = { ids: batch.map(({ id }) => id), isConfirmed: false }
      attempts.push(attempt)
      await sender.send(batch, context)
      attempt.isConfirmed = !context.signal.aborted
    },
  })
  const running = await runReactions(store, [relay], { state })
  onTestFinished(async () => {
    await running.stop()
    await sender.close()
    await store.close()
    await state.close()
  })
  const failed = () => attempts.filter(({ isConfirmed }) => !isConfirmed).length
  return { store, running, attempts, failed }
}

/** The same through a proxy, when so many changes have arrived. */
async function relayThrough(broker: Broker, times: number) {
  const proxy = await startProxy(broker.port)
  const relay = await relayTo(broker.sender(proxy.port))
  await change(relay.store, times)
  await relay.running.caughtUp()
  return { proxy, ...relay }
}

/** Changes four orders, one after the other, so often. */
async function change(store: EventStore, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await store.append({ stream: Order(`o${String(i % 4)}`), events: [Order.events.Changed({ change: i })] })
  }
}

/** Nothing is lost, all is in order within a stream, and only what was not confirmed came twice. Returns how many did. */
async function judge(
  store: EventStore,
  received: readonly Received[],
  attempts: readonly Attempt[],
): Promise<number> {
  const log: Recorded[] = []
  for await (const event of store.readAll()) log.push(event)
  const arrivals = new Map<string, number>()
  for (const { id } of received) arrivals.set(id, (arrivals.get(id) ?? 0) + 1)
  const firsts = [...arrivals.keys()]
  const byStream = (ids: readonly string[]) => {
    const streams: Record<string, string[]> = {}
    const streamOf = new Map(log.map(({ id, stream }) => [id, stream]))
    for (const id of ids) (streams[streamOf.get(id) ?? 'unknown'] ??= []).push(id)
    return streams
  }
  expect(byStream(firsts)).toEqual(byStream(log.map(({ id }) => id)))
  for (const { id } of log) {
    const tries = attempts.filter(({ ids }) => ids.includes(id))
    expect(tries.map(({ isConfirmed }) => isConfirmed)).toEqual(tries.map((_, i) => i === tries.length - 1))
    expect(arrivals.get(id)).toBeLessThanOrEqual(tries.length)
  }
  return received.length - firsts.length
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await delay(5)
}

describe.each(brokers)('$name', ({ problem, isIdempotent, open }) => {
  describe.skipIf(problem)(problem ?? 'is there', () => {
    test('loses nothing if it is killed and started again with its data', async () => {
      const broker = await open()
      const { store, running, attempts, failed } = await relayTo(broker.sender())
      await change(store, 20)
      await running.caughtUp()
      const killed = broker.kill()
      await change(store, 20)
      await killed
      await until(() => failed() > 1)
      await broker.start()
      await change(store, 20)
      await running.caughtUp()
      const duplicates = await judge(store, await broker.received(), attempts)
      if (isIdempotent) expect(duplicates).toBe(0)
    })

    test('gets an event again if its acknowledgement was lost, under the same id', async () => {
      const broker = await open()
      const { proxy, store, running, attempts, failed } = await relayThrough(broker, 10)
      const before = failed()
      proxy.mute()
      await change(store, 20)
      await until(() => failed() > before)
      await running.caughtUp()
      const duplicates = await judge(store, await broker.received(), attempts)
      if (isIdempotent) expect(duplicates).toBe(0)
      else expect(duplicates).toBeGreaterThan(0)
    })

    test('gets everything in order though it answers after the time-out for a while', async () => {
      const broker = await open()
      const { proxy, store, running, attempts, failed } = await relayThrough(broker, 10)
      const before = failed()
      proxy.latency = 2 * SEND_TIMEOUT_MS
      await change(store, 20)
      await until(() => failed() >= before + 2)
      proxy.latency = 0
      await running.caughtUp()
      const duplicates = await judge(store, await broker.received(), attempts)
      if (isIdempotent) expect(duplicates).toBe(0)
    })
  })
})

const [nats, rabbitmq] = brokers

test.skipIf(nats?.problem)(
  'JetStream stores an event again that comes again after the duplicate window',
  async () => {
    const broker = await openNats(100)
    const { proxy, store, running, attempts, failed } = await relayThrough(broker, 4)
    const before = failed()
    proxy.mute()
    await change(store, 4)
    // The time-out is longer than the window.
    await until(() => failed() > before)
    await running.caughtUp()
    expect(await judge(store, await broker.received(), attempts)).toBeGreaterThan(0)
  },
)

test.skipIf(rabbitmq?.problem)(
  'RabbitMQ confirms events that no queue takes, and they are sent until one does',
  async () => {
    const broker = await openRabbitmq(false)
    const { store, running, attempts, failed } = await relayTo(broker.sender())
    await change(store, 8)
    await until(() => failed() > 1)
    await broker.bind()
    await running.caughtUp()
    expect(await judge(store, await broker.received(), attempts)).toBe(0)
  },
)

test('an event is a CloudEvent with its stream, revision, correlation and causation', () => {
  const id = '0195d4f5-92d4-7a3c-9d0b-2c1b1f0e8a11'
  const recorded = { id, type: 'Order.Changed', stream: 'Order-o1', revision: 7, data: { change: 1.5 } }
  const time = '2026-05-17T08:00:00.123Z'
  const metadata = { correlation: 'c1', causation: 'e0' }
  const event: Recorded = { ...recorded, version: 1, position: '1', time, metadata }
  expect(JSON.parse(cloudEvent(event, source))).toEqual({
    ...{ specversion: '1.0', id, source, type: 'Order.Changed', subject: 'Order-o1', time },
    ...{ datacontenttype: 'application/json', data: { change: 1.5 } },
    ...{ sequence: '0000000007', correlationid: 'c1', causationid: 'e0' },
  })
})

test('each relay is shorter than 40 lines', async () => {
  const folder = new URL('../../examples/relays/', import.meta.url)
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.ts') && name !== 'sender.ts')) {
    const lines = (await readFile(new URL(file, folder), 'utf8')).split('\n').length - 1
    expect([file, lines]).toEqual([file, Math.min(lines, 39)])
  }
})
