import { createStore, type EventStore, type Recorded } from 'mneme'
import { expect, onTestFinished, test } from 'vitest'

import { ownServer, sleep, times, uncaught, unique, until } from '../stores/kurrentdb/rig.ts'
import { adapterOf, realServer } from '../stores/kurrentdb/server.ts'
import { startProxy } from '../support/proxy.ts'
import { isBrief } from '../support/soak.ts'
import { freePort, OwnServer } from './kurrentdb/own-server.ts'

const seconds = isBrief ? 8 : 60
const kills = isBrief ? 2 : 6
/** A command that runs a server in the foreground, on `$PORT`, with its data in the folder `$DATA`. */
const command = process.env.MNEME_SOAK_KURRENTDB_RUN
const where = realServer === undefined ? 'the stand-in' : 'the real server'

test(`a connection cut every second for ${String(seconds)} s: every subscriber sees the log, on ${where}`, async () => {
  const missed = uncaught()
  const server = realServer ?? (await ownServer()).connectionString
  const proxy = await startProxy(Number(new URL(server).port))
  const store = createStore(await adapterOf(proxy.url(server), 5_000))
  const direct = createStore(await adapterOf(server))
  const writers = new Writers(direct)
  const subscribers = new Subscribers(store, await direct.logHead())
  for (let second = 0; second < seconds; second++) {
    await sleep(1_000)
    proxy.cut()
    subscribers.add()
  }
  await writers.stop()
  await subscribers.seeAll(direct, writers.written)
  console.log(`cut, on ${where}: ${subscribers.told(writers.written.length)}`)
  await Promise.all([store.close(), direct.close()])
  expect(missed).toEqual([])
})

test.skipIf(command === undefined)(
  `${String(kills)} times SIGKILL to a real server: every subscriber sees the log` +
    (command === undefined ? ' (skipped: MNEME_SOAK_KURRENTDB_RUN names no command that runs a server)' : ''),
  async () => {
    const missed = uncaught()
    const server = new OwnServer(command!, await freePort())
    onTestFinished(() => server.destroy())
    await server.start()
    const store = createStore(await adapterOf(server.connectionString))
    const writing = createStore(await adapterOf(server.connectionString))
    const writers = new Writers(writing)
    const subscribers = new Subscribers(store, undefined)
    for (let round = 0; round < kills; round++) {
      const had = writers.written.length
      await until(() => writers.written.length > had + 200, 'work goes on', 60_000)
      subscribers.add()
      await server.kill()
      await sleep(Math.random() * 1_000)
      await server.start()
    }
    const last = writers.written.length
    await until(() => writers.written.length > last + 200, 'work goes on', 60_000)
    await writers.stop()
    await subscribers.seeAll(writing, writers.written)
    console.log(`kill, on the real server: ${subscribers.told(writers.written.length)}`)
    await Promise.all([store.close(), writing.close()])
    expect(missed).toEqual([])
  },
)

/** Writers to streams of their own, each of which knows where its stream stands. */
class Writers {
  /** The streams of what was acknowledged. */
  readonly written: string[] = []
  readonly #running: Promise<unknown>
  #isStopped = false

  constructor(store: EventStore) {
    this.#running = Promise.all(times(6, () => this.#run(store, unique('soak'))))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(store: EventStore, stream: string): Promise<void> {
    for (let next = 0; !this.#isStopped;) {
      const events = [{ type: next % 10 === 0 ? 'Rare' : 'Often', data: { next } }]
      try {
        await store.append({ stream, events, expected: next === 0 ? 'none' : next - 1 })
        this.written.push(stream)
        next++
      } catch {
        // It was written after all, or was not.
        const head = await store.head(stream).catch(() => undefined)
        if (head !== undefined) next = head === 'none' ? 0 : head + 1
      }
      await sleep(5)
    }
  }
}

/** Subscribers of several kinds, from where the log stood. */
class Subscribers {
  readonly #store: EventStore
  readonly #after: string | undefined
  readonly #seen: { readonly isRare: boolean; readonly events: Recorded[]; readonly over: Promise<void> }[] =
    []
  readonly #ending = new AbortController()
  #interruptions = 0

  constructor(store: EventStore, after: string | undefined) {
    this.#store = store
    this.#after = after
    for (let i = 0; i < 4; i++) this.add()
  }

  /** One more. */
  add(): void {
    const isRare = this.#seen.length % 2 === 1
    const events: Recorded[] = []
    const subscription = this.#store.subscribe({
      from: this.#after ?? 'start',
      ...(isRare && { types: ['Rare'] }),
      signal: this.#ending.signal,
      onInterrupted: () => {
        this.#interruptions++
      },
    })
    const run = async () => {
      for await (const event of subscription) events.push(event)
    }
    this.#seen.push({ isRare, events, over: run() })
  }

  /** Waits until all has come to each of them, and compares. */
  async seeAll(store: EventStore, written: readonly string[]): Promise<void> {
    const own = new Set(written)
    const log: Recorded[] = []
    for await (const event of store.readAll({ after: this.#after }))
      if (own.has(event.stream)) log.push(event)
    expect(log.length).toBeGreaterThanOrEqual(written.length)
    for (const { isRare, events } of this.#seen) {
      const wanted = log.filter(({ type }) => !isRare || type === 'Rare').map(({ id }) => id)
      const ids = () => events.filter(({ stream }) => own.has(stream)).map(({ id }) => id)
      await until(() => ids().length >= wanted.length, `${String(wanted.length)} events have come`, 30_000)
      expect(ids()).toEqual(wanted)
    }
    this.#ending.abort()
    await Promise.all(this.#seen.map(({ over }) => over))
  }

  told(written: number): string {
    return `${String(written)} events acknowledged, ${String(this.#seen.length)} subscribers, ${String(this.#interruptions)} interruptions`
  }
}
