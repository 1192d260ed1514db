import { createStore, type EventStore, type Recorded } from 'mneme'
import { expect, onTestFinished, test } from 'vitest'

import { adapterOf } from '../stores/kurrentdb/server.ts'
import { sleep, uncaught, until } from '../stores/kurrentdb/rig.ts'
import { rounds } from '../support/soak.ts'
import { Callers } from './kurrentdb/callers.ts'
import { freePort, OwnServer } from './kurrentdb/own-server.ts'

/** A command that runs a server in the foreground, on `$PORT`, with its data in the folder `$DATA`. */
const command = process.env.MNEME_SOAK_KURRENTDB_RUN
const problem =
  command === undefined ? ' (skipped: MNEME_SOAK_KURRENTDB_RUN names no command that runs a server)' : ''

test.skipIf(command === undefined)(
  `SIGKILL to a real server under 64 callers: what was acknowledged is there, once, in order${problem}`,
  async () => {
    const missed = uncaught()
    const server = new OwnServer(command!, await freePort())
    onTestFinished(() => server.destroy())
    await server.start()
    const store = createStore(await adapterOf(server.connectionString, 10_000))
    const identity = await store.identity()
    const callers = new Callers(store, { count: 64, prefix: 'kill', pause: 10 })
    const tail = new Tail(store)
    const began = performance.now()
    const outages: number[] = []
    for (const _ of rounds({ full: 10, brief: 3 })) {
      const had = callers.acknowledged
      await until(() => callers.acknowledged > had + 500, 'work goes on', 60_000)
      await sleep(Math.random() * 1_000)
      await server.kill()
      const away = performance.now()
      await sleep(Math.random() * 1_000)
      await server.start()
      const again = callers.acknowledged
      await until(() => callers.acknowledged > again, 'it is there again', 60_000)
      outages.push(Math.round(performance.now() - away))
    }
    const last = callers.acknowledged
    await until(() => callers.acknowledged > last + 200, 'work goes on', 60_000)
    await callers.stop()
    await sleep(200)
    await tail.stop()
    const seconds = Math.round((performance.now() - began) / 1000)
    const log: Recorded[] = []
    for await (const event of store.readAll()) log.push(event)
    const unknown = callers.unheard(log)
    console.log(
      `kill, on the real server: ${String(callers.acknowledged)} acknowledged (${String(callers.repeated)} repeats), ` +
        `${String(callers.unknown)} unknown answers, ${String(unknown)} there unheard, ${String(log.length)} events, ` +
        `${String(outages.length)} kills in ${String(seconds)} s, longest call ${String(Math.round(callers.longest))} ms, ` +
        `from the kill to the next acknowledgement ${outages.join(', ')} ms`,
      Object.fromEntries(callers.codes),
      Object.fromEntries(tail.failures),
    )
    expect(callers.check(log).slice(0, 20)).toEqual([])
    const other = createStore(await adapterOf(server.connectionString))
    expect(await other.identity()).toBe(identity)
    await other.close()
    await store.close()
    const isTransient = (code: string) =>
      /CONFLICT$|OUTCOME_UNKNOWN$|STORE_UNAVAILABLE$|STORE_TIMEOUT$/.test(code)
    expect([...callers.codes.keys(), ...tail.failures.keys()].filter((code) => !isTransient(code))).toEqual(
      [],
    )
    // Each event that was seen is there, and none was missed.
    const there = log.map(({ position, id }) => `${position} ${id}`)
    const isThere = new Set(there)
    expect(tail.seen.filter((seen) => !isThere.has(seen))).toEqual([])
    expect(tail.seen).toEqual(there)
    expect(missed).toEqual([])
  },
)

/** A reader that goes on from what it read last. */
class Tail {
  readonly seen: string[] = []
  readonly failures = new Map<string, number>()
  readonly #running: Promise<void>
  #isStopped = false

  constructor(store: EventStore) {
    this.#running = this.#run(store)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(store: EventStore): Promise<void> {
    let after: string | undefined
    for (let idle = 0; idle < 2;) {
      const wasStopped = this.#isStopped
      const had = this.seen.length
      let isFailed = false
      try {
        for await (const { position, id } of store.readAll({ after })) {
          this.seen.push(`${position} ${id}`)
          after = position
        }
      } catch (error) {
        isFailed = true
        const code = (error as { code?: string }).code ?? String((error as Error).stack)
        this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
      }
      idle = wasStopped && !isFailed && this.seen.length === had ? idle + 1 : 0
      await sleep(20)
    }
  }
}
