import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { HistoryRewoundError, type EventStore, type Recorded } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { type Environment, replaceEnvironment, systemEnvironment } from '../../../src/base/environment.ts'
import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened } from './history.ts'
import { Worker } from './processes.ts'

/** Milliseconds between two polls, which find an event whose signal was lost. */
const POLL_INTERVAL_MS = 500

describe.each(drivers)('subscriptions of several processes with $name', ({ name, driver }) => {
  async function opened(): Promise<{ file: string; store: EventStore }> {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    onTestFinished(() => store.close())
    return { file, store }
  }

  test('the signal alone brings every event of other processes, in order', async () => {
    const { file, store } = await opened()
    // No poll fires in this process.
    const after: Environment['after'] = (milliseconds, callback) =>
      milliseconds === POLL_INTERVAL_MS ? () => undefined : systemEnvironment.after(milliseconds, callback)
    replaceEnvironment({ ...systemEnvironment, after })
    onTestFinished(() => {
      replaceEnvironment(undefined)
    })
    const followed = await follow(store)
    const workers = [new Worker('drip', name, file, 150, 10), new Worker('drip', name, file, 150, 10)]
    await Promise.all(workers.map((worker) => worker.result()))
    await followed.has(300)
    const positions = followed.events.map(({ position }) => position)
    expect(positions).toEqual((await all(store)).map(({ position }) => position))
  })

  test('events of this process and of others come in the order of the store, as they are stored', async () => {
    const { file, store } = await opened()
    const second = await sqliteStore(file, { driver })
    onTestFinished(() => second.close())
    const followers = [await follow(store), await follow(second), await follow(store)]
    const workers = [new Worker('drip', name, file, 100, 3), new Worker('drip', name, file, 100, 3)]
    let isOver = false
    const over = Promise.all(workers.map((worker) => worker.result<number[]>())).finally(
      () => (isOver = true),
    )
    let count = 200
    for (let n = 0; !isOver && n < 200; n++) {
      // Few, many, and more than the store keeps at hand.
      const size = n % 40 === 39 ? 2_500 : 1 + (n % 7)
      const events = Array.from({ length: size }, (_, i) => happened(n, i % 3 === 0 ? n % 1_500 : 0))
      await (n % 3 === 0 ? second : store).append({ stream: `own-${n % 5}`, events })
      count += size
      for (let turns = n % 5 === 0 ? n % 11 : 0; turns > 0; turns--) await new Promise(setImmediate)
    }
    await over
    const log = await all(store)
    expect(log).toHaveLength(count)
    for (const { events, has } of followers) {
      await has(count)
      expect(events).toEqual(log)
    }
  })

  test('an event that another connection replaced before it was handed out comes as it is stored', async () => {
    const { file, store } = await opened()
    const database = driver(file)
    const followed = await follow(store)
    for (let n = 1; n <= 5; n++) {
      await store.append({ stream: 's', events: [happened(n)] })
      // No subscriber was told yet.
      database.exec(`UPDATE mneme_events SET data = '{"n":${100 + n}}' WHERE revision = ${n - 1}`)
      await followed.has(n)
    }
    database.close()
    expect(followed.events).toEqual(await all(store))
  })

  test('an event that cannot be read ends a subscription with an error, and its checkpoint stays before it', async () => {
    const { file, store } = await opened()
    const { events } = await store.append({ stream: 's', events: [happened(1), happened(2), happened(3)] })
    const database = driver(file)
    database.exec(`UPDATE mneme_events SET data = '{' WHERE revision = 1`)
    database.close()
    const subscription = store.subscribe()
    expect(await subscription.next()).toEqual({ done: false, value: events[0] })
    await expect(subscription.next()).rejects.toThrow(SyntaxError)
    expect(subscription.checkpoint).toMatchObject({ position: events[0]!.position })
    expect(await subscription.next()).toEqual({ done: true, value: undefined })
  })

  test('an event of a process that died before it gave the signal comes with the next poll', async () => {
    const { file, store } = await opened()
    const timers = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => timers.mockRestore())
    const followed = await follow(store)
    expect(timers.mock.calls.map(([, milliseconds]) => milliseconds)).toContain(POLL_INTERVAL_MS)
    for (let n = 1; n <= 3; n++) {
      await new Worker('dying', name, file).ended
      await followed.has(n)
    }
    expect(followed.events.map(({ revision }) => revision)).toEqual([0, 1, 2])
  })

  test('events come with the next poll if the signal file was removed', async () => {
    const { file, store } = await opened()
    const followed = await follow(store)
    rmSync(`${file}-signal`)
    await new Worker('drip', name, file, 1, 0).result()
    await followed.has(1)
  })

  test('events come with the next poll if no file can be watched', async () => {
    const { file, store } = await opened()
    const worker = new Worker('unwatched', name, file, 3)
    await worker.said('following')
    for (let n = 0; n < 3; n++) {
      await store.append({ stream: 's', events: [happened(n)] })
      await worker.said(`event ${n}`)
    }
    expect(await worker.ended).toBe(0)
  })

  test('a history rewound under a subscription ends it with HistoryRewoundError', async () => {
    const { file, store } = await opened()
    await store.append({ stream: 's', events: [happened(1), happened(2), happened(3)] })
    const followed = await follow(store, 'start')
    await followed.has(3)
    // As if an older copy had been restored into the file, and written to.
    const database = driver(file)
    database.exec('DELETE FROM mneme_events WHERE position > 1')
    database.close()
    await new Worker('drip', name, file, 2, 0).result()
    await expect(followed.over).rejects.toBeInstanceOf(HistoryRewoundError)
    expect(followed.events).toHaveLength(3)
  })

  test('a hundred idle subscribers share one watched file and one poll, and leave nothing behind', async () => {
    const { file } = await opened()
    const { statements, watched, left } = await new Worker('idle', name, file, 100).result<{
      statements: string[]
      watched: number
      left: number
    }>()
    // Of two polls.
    expect(statements).toEqual(['PRAGMA data_version', 'PRAGMA data_version'])
    expect({ watched, left }).toEqual({ watched: 1, left: 0 })
  })
})

/** A subscription whose events are taken as they come. */
interface Followed {
  readonly events: readonly Recorded[]
  /** Resolves when so many have come. */
  has(count: number): Promise<void>
  readonly over: Promise<void>
}

async function follow(store: EventStore, from: 'start' | 'end' = 'end'): Promise<Followed> {
  const subscription = store.subscribe({ from })
  const events: Recorded[] = []
  let wake: () => void = () => undefined
  const over = (async () => {
    for await (const event of subscription) {
      events.push(event)
      wake()
    }
  })()
  over.catch(() => undefined)
  await subscription.caughtUp()
  const has = async (count: number) => {
    while (events.length < count) {
      await Promise.race([over, new Promise<void>((resolve) => (wake = resolve))])
    }
  }
  return { events, has, over }
}

async function all(store: EventStore): Promise<Recorded[]> {
  const events: Recorded[] = []
  for await (const event of store.readAll()) events.push(event)
  return events
}
