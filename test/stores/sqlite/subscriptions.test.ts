import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { HistoryRewoundError, type EventStore, type Recorded } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened } from './history.ts'
import { Worker } from './processes.ts'

/** Milliseconds after which an event is found of which no signal came. */
const poll = 500
/** Milliseconds that a loaded machine may add. */
const patience = 1_500

describe.each(drivers)('subscriptions of several processes with $name', ({ name, driver }) => {
  async function opened(): Promise<{ file: string; store: EventStore }> {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    onTestFinished(() => store.close())
    return { file, store }
  }

  test('what other processes append comes live', async () => {
    const { file, store } = await opened()
    const followed = await follow(store)
    const workers = [new Worker('drip', name, file, 150, 10), new Worker('drip', name, file, 150, 10)]
    const sent = (await Promise.all(workers.map((worker) => worker.result<number[]>()))).flat()
    await followed.has(300)
    const positions = followed.events.map(({ position }) => position)
    expect(positions).toEqual((await all(store)).map(({ position }) => position))
    // Both lists rise: who was acknowledged first came first.
    sent.sort((a, b) => a - b)
    const late = followed.times.map((time, i) => time - sent[i]!).sort((a, b) => a - b)
    const at = (share: number) => late[Math.floor(share * (late.length - 1))]!.toFixed(1)
    console.log(`an event of another process comes after ${at(0.5)} ms (p50), ${at(0.99)} ms (p99)`)
    expect(late[Math.floor(late.length / 2)]).toBeLessThan(100)
  })

  test('what this process appends comes in order with what others do, as it is stored', async () => {
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
      // Few, many, and more than is kept of them.
      const size = n % 40 === 39 ? 2_500 : 1 + (n % 7)
      const events = Array.from({ length: size }, (_, i) => happened(n, i % 3 === 0 ? n % 1_500 : 0))
      await (n % 3 === 0 ? second : store).append({ stream: `own-${n % 5}`, events })
      count += size
      if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, n % 11))
    }
    await over
    const log = await all(store)
    expect(log).toHaveLength(count)
    for (const { events, has } of followers) {
      await has(count)
      expect(events).toEqual(log)
    }
  })

  test('what another connection replaced, before it was given out, comes as it is stored', async () => {
    const { file, store } = await opened()
    const database = driver(file)
    const followed = await follow(store)
    for (let n = 1; n <= 5; n++) {
      await store.append({ stream: 's', events: [happened(n)] })
      // As by a restore: no subscriber was told yet.
      database.exec(`UPDATE mneme_events SET id = '${crypto.randomUUID()}' WHERE revision = ${n - 1}`)
      await followed.has(n)
    }
    database.close()
    expect(followed.events).toEqual(await all(store))
  })

  test('an event that cannot be read ends them there', async () => {
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

  test('an event of a process that died before it gave the signal comes with the poll', async () => {
    const { file, store } = await opened()
    const followed = await follow(store)
    for (let n = 1; n <= 3; n++) {
      await new Worker('dying', name, file).ended
      const since = performance.now()
      await followed.has(n)
      expect(performance.now() - since).toBeLessThan(poll + patience)
    }
    expect(followed.events.map(({ revision }) => revision)).toEqual([0, 1, 2])
  })

  test('without the file of signals, events come with the poll', async () => {
    const { file, store } = await opened()
    const followed = await follow(store)
    rmSync(`${file}-signal`)
    const [sent] = await new Worker('drip', name, file, 1, 0).result<number[]>()
    await followed.has(1)
    expect(followed.times[0]! - sent!).toBeLessThan(poll + patience)
  })

  test('where no file can be watched, events come with the poll', async () => {
    const { file, store } = await opened()
    const worker = new Worker('unwatched', name, file, 3)
    await worker.said('following')
    const sent: number[] = []
    for (let n = 0; n < 3; n++) {
      await store.append({ stream: 's', events: [happened(n)] })
      sent.push(performance.timeOrigin + performance.now())
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    const came = await worker.result<number[]>()
    for (const [n, time] of came.entries()) expect(time - sent[n]!).toBeLessThan(poll + patience)
  })

  test('a history that was rewound beneath it ends it with an error', async () => {
    const { file, store } = await opened()
    await store.append({ stream: 's', events: [happened(1), happened(2), happened(3)] })
    const followed = await follow(store, 'start')
    await followed.has(3)
    // As where an older copy was restored into the file, and written to.
    const database = driver(file)
    database.exec('DELETE FROM mneme_events WHERE position > 1')
    database.close()
    await new Worker('drip', name, file, 2, 0).result()
    await expect(followed.over).rejects.toBeInstanceOf(HistoryRewoundError)
    expect(followed.events).toHaveLength(3)
  })

  test('a hundred that wait take next to nothing, watch one file, and leave nothing behind', async () => {
    const { file } = await opened()
    const { share, watched, left } = await new Worker('idle', name, file, 100, 5).result<{
      share: number
      watched: number
      left: number
    }>()
    console.log(`a hundred idle subscribers take ${(100 * share).toFixed(2)} % of a core`)
    expect(share).toBeLessThan(0.03)
    expect({ watched, left }).toEqual({ watched: 1, left: 0 })
  })
})

/** A subscription whose events are taken as they come. */
interface Followed {
  readonly events: readonly Recorded[]
  /** When each came, as `performance.timeOrigin + performance.now()`. */
  readonly times: readonly number[]
  /** Resolves when so many have come. */
  has(count: number): Promise<void>
  readonly over: Promise<void>
}

async function follow(store: EventStore, from: 'start' | 'end' = 'end'): Promise<Followed> {
  const subscription = store.subscribe({ from })
  const [events, times]: [Recorded[], number[]] = [[], []]
  let wake: () => void = () => undefined
  const over = (async () => {
    for await (const event of subscription) {
      events.push(event)
      times.push(performance.timeOrigin + performance.now())
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
  return { events, times, has, over }
}

async function all(store: EventStore): Promise<Recorded[]> {
  const events: Recorded[] = []
  for await (const event of store.readAll()) events.push(event)
  return events
}
