import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createStore, defineAggregate, event, type EventStore } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { adapterOf } from '../stores/kurrentdb/server.ts'
import { standIn } from '../stores/kurrentdb/stand-in/server.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { ScriptProcess } from '../support/processes.ts'
import { isBrief, rounds } from '../support/soak.ts'
import { freePort, OwnServer } from './kurrentdb/own-server.ts'

const script = new URL('reactions/worker.mjs', import.meta.url)

const Order = defineAggregate({
  name: 'Order',
  events: { Placed: event<{ pay?: number }>(), Paid: event<{ placed: string }>() },
  initial: () => ({}),
  apply: { Placed: (state) => state, Paid: (state) => state },
})

interface Place {
  readonly store: EventStore
  readonly locations: { readonly store: string; readonly state: string }
}

const command = process.env.MNEME_SOAK_KURRENTDB_RUN
const which = command === undefined ? 'a stand-in' : 'a real server'

const places: readonly {
  readonly name: string
  readonly problem?: string | undefined
  open(): Promise<Place>
}[] = [
  { name: 'SQLite, state in the same file', open: () => inSqlite('events.db') },
  { name: 'SQLite, state in PostgreSQL', problem: serverProblem, open: () => inSqlite() },
  { name: 'PostgreSQL, state in the same database', problem: serverProblem, open: () => inPostgres() },
  { name: 'PostgreSQL, state in SQLite', problem: serverProblem, open: () => inPostgres('state.db') },
  { name: `KurrentDB, ${which}, state in SQLite`, open: () => inKurrentdb('state.db') },
  { name: `KurrentDB, ${which}, state in PostgreSQL`, problem: serverProblem, open: () => inKurrentdb() },
]

async function inSqlite(state?: string): Promise<Place> {
  const folder = testFolder()
  const file = join(folder, 'events.db')
  const store = await sqliteStore(file, { busyTimeout: 20_000, synchronous: 'normal' })
  return closed(store, file, state === undefined ? (await testDatabase()).url : join(folder, state))
}

async function inPostgres(state?: string): Promise<Place> {
  const { url } = await testDatabase()
  return closed(await postgresStore(url), url, state === undefined ? url : join(testFolder(), state))
}

/** A server of the test's own: a real one if there is a command that runs it, or else a stand-in. */
async function inKurrentdb(state?: string): Promise<Place> {
  const location = await kurrentdb()
  const store = createStore(await adapterOf(location, 20_000))
  return closed(store, location, state === undefined ? (await testDatabase()).url : join(testFolder(), state))
}

async function kurrentdb(): Promise<string> {
  if (command === undefined) {
    const server = await standIn({ writeTimeout: 20_000 })
    onTestFinished(() => server.stop())
    return server.connectionString
  }
  const server = new OwnServer(command, await freePort())
  onTestFinished(() => server.destroy())
  await server.start()
  return server.connectionString
}

function closed(store: EventStore, location: string, state: string): Place {
  onTestFinished(() => store.close())
  return { store, locations: { store: location, state } }
}

/** A process that runs the reaction. */
class Reacting extends ScriptProcess {
  constructor({ locations }: Place, how: object) {
    super(script, JSON.stringify({ ...locations, timeToPay: TIME_TO_PAY_MS, lease: LEASE_MS, ...how }))
  }
}

interface Done {
  readonly what: 'placed' | 'placed too' | 'paid' | 'expired'
  readonly cause: string
  readonly due: number | null
  readonly version: number
}

/** What the log says: each event, and the effects that name it as their cause. */
async function judge(store: EventStore) {
  const sources: { id: string; type: string; stream: string; time: number; placed: string | undefined }[] = []
  const effects = new Map<string, Done[]>()
  const orderOf = new Map<string, string[]>()
  for await (const { id, type, stream, time, data } of store.readAll()) {
    if (stream.startsWith('Order-')) {
      const { placed } = data as { placed?: string }
      sources.push({ id, type, stream, time: Date.parse(time), placed })
    } else if (stream.startsWith('Effect-')) {
      const done = data as Done
      const before = effects.get(done.cause)
      if (before) before.push(done)
      else effects.set(done.cause, [done])
      if (done.what === 'expired') continue
      const causes = orderOf.get(stream) ?? []
      if (causes.at(-1) !== done.cause) causes.push(done.cause)
      orderOf.set(stream, causes)
    }
  }
  const paid = new Map(sources.filter(({ placed }) => placed).map(({ placed, time }) => [placed, time]))
  const wrong: string[] = []
  let [expired, cancelled] = [0, 0]
  for (const { id, type } of sources) {
    const done = effects.get(id) ?? []
    const count = (what: Done['what']) => done.filter((one) => one.what === what).length
    const at = `${type} ${id}: ${JSON.stringify(done)}`
    if (type === 'Order.Paid') {
      if (done.length !== 1 || count('paid') !== 1) wrong.push(`a payment must be noted once: ${at}`)
      continue
    }
    const [first] = done
    if (count('placed') !== 1) wrong.push(`an order must be noted once: ${at}`)
    if (count('placed too') !== (first?.version === 2 ? 1 : 0))
      wrong.push(`one version must do it all: ${at}`)
    const fired = count('expired')
    if (fired > 1) wrong.push(`a timer must fire once: ${at}`)
    if (fired === 0 && !paid.has(id)) wrong.push(`a timer that nobody cancelled must fire: ${at}`)
    if (fired === 0) cancelled++
    else expired++
    effects.delete(id)
  }
  // The effects of a stream follow in the order of their causes.
  for (const [stream, causes] of orderOf) {
    const inLog = sources
      .filter((one) => one.stream === stream.replace('Effect-', 'Order-'))
      .map(({ id }) => id)
    if (causes.join() !== inLog.join()) wrong.push(`${stream}: out of order`)
  }
  return { wrong, sources: sources.length, expired, cancelled, paid: paid.size }
}

describe.each(places)('killed workers: $name', ({ problem, open }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('every call takes effect once, and every timer fires once or was cancelled', async () => {
      const place = await open()
      const { store } = place
      const started = performance.now()
      let [kills, paused, jumps, order] = [0, 0, 0, 0]
      const placed: { order: string; id: string }[] = []
      const write = async () => {
        for (let i = 0; i < 4; i++) {
          const name = `o${String(order++ % ORDERS)}`
          const { events } = await store.append({ stream: Order(name), events: [Order.events.Placed({})] })
          placed.push({ order: name, id: events[0]!.id })
        }
        // Some of them at about the time that their timers are due.
        while (placed.length > 6) {
          const [one] = placed.splice(Math.floor(Math.random() * placed.length), 1)
          if (Math.random() < 0.4) continue
          await store.append({ stream: Order(one!.order), events: [Order.events.Paid({ placed: one!.id })] })
        }
      }
      const next = (round: number, total: number) =>
        new Reacting(place, {
          version: round > total / 2 ? 2 : 1,
          steps: 1 + Math.floor(Math.random() * Math.random() * 120),
          ahead: [0, 0, 0, HOUR_MS, -HOUR_MS][Math.floor(Math.random() * 5)],
        })
      const length = { full: 100, brief: 10 }
      const total = isBrief ? length.brief : length.full
      const workers = Array.from({ length: WORKERS }, () => next(0, total))
      for (const round of rounds(length)) {
        const [worker] = workers
        for (const each of workers) each.say('go')
        await write()
        const dice = Math.random()
        if (dice < 0.1) {
          // Longer than its lease: another one takes over, and then it goes on.
          paused++
          worker!.child.kill('SIGSTOP')
          await delay(2 * LEASE_MS)
          worker!.child.kill('SIGCONT')
        } else if (dice < 0.25) {
          jumps++
          worker!.say(`jump ${String(Math.random() < 0.5 ? HOUR_MS : -HOUR_MS)}`)
        }
        await Promise.race([worker!.ended, delay(MAX_ROUND_MS)])
        worker!.child.kill('SIGKILL')
        await worker!.ended
        kills++
        workers.shift()
        workers.push(next(round, total))
      }
      for (const { child } of workers) child.kill('SIGKILL')
      kills += workers.length
      const last = new Reacting(place, { version: 2, lease: 10_000, isReady: true, isLast: true })
      await last.said('running')
      last.say('stop')
      const { state, failure } = await last.result<{ state: string; failure: unknown }>()
      expect([state, failure]).toEqual(['running', undefined])
      const verdict = await judge(store)
      const seconds = Math.round((performance.now() - started) / 1000)
      console.log(
        `${String(kills)} kills, ${String(paused)} paused, ${String(jumps)} jumps of an hour; ` +
          `${String(verdict.sources)} events, ${String(verdict.expired)} timers fired, ` +
          `${String(verdict.cancelled)} cancelled of ${String(verdict.paid)} paid, ${String(seconds)} s`,
      )
      expect(verdict.wrong.slice(0, 10)).toEqual([])
    })
  })
})

test('a store and its state that are copied repeat no effect', async () => {
  const place = await inSqlite('state.db')
  for (let i = 0; i < 50; i++) {
    await place.store.append({ stream: Order(`o${String(i)}`), events: [Order.events.Placed({ pay: 1 })] })
  }
  const finish = async (from: Place) => {
    const last = new Reacting(from, { isReady: true, isLast: true })
    await last.said('running')
    last.say('stop')
    await last.result()
  }
  await finish(place)
  const before = await judge(place.store)
  expect(before).toMatchObject({ wrong: [], sources: 50, expired: 50 })
  await place.store.close()
  const folder = testFolder()
  const copies = { store: join(folder, 'events.db'), state: join(folder, 'state.db') }
  for (const of of ['store', 'state'] as const) {
    for (const suffix of ['', '-wal']) {
      const file = place.locations[of] + suffix
      if (existsSync(file)) copyFileSync(file, copies[of] + suffix)
    }
  }
  // The state of a copy that was lost: the keys in the store say what was done.
  for (const state of [copies.state, join(folder, 'lost.db')]) {
    const copy = closed(await sqliteStore(copies.store), copies.store, state)
    await finish(copy)
    expect(await judge(copy.store)).toEqual(before)
    await copy.store.close()
  }
})

const TIMERS = isBrief ? 3_000 : 100_000

test(`${TIMERS.toLocaleString('en')} timers that are due at once fire in their order, in 128 MiB`, async () => {
  const place = await inSqlite('state.db')
  const batch = 1_000
  for (let i = 0; i < TIMERS; i += batch) {
    await place.store.append({
      stream: Order(`o${String(i / batch)}`),
      events: Array.from({ length: batch }, () =>
        Order.events.Placed({ pay: DAY_MS + Math.floor(Math.random() * 100_000) }),
      ),
    })
  }
  const run = (how: object) =>
    new Reacting(place, { ...how, lease: 10_000, isOneSequence: true, isReady: true })
  const setting = run({ isCatchingUp: true })
  await setting.said('running')
  setting.say('stop')
  await setting.result()
  // Two days later, after an outage:
  const late = run({ ahead: 2 * DAY_MS, isLast: true })
  await late.said('running')
  late.say('stop')
  const { grown } = await late.result<{ grown: number }>()
  const dues: number[] = []
  for await (const { stream, data } of place.store.readAll()) {
    if (stream.startsWith('Effect-')) dues.push((data as Done).due!)
  }
  console.log(`${String(TIMERS)} timers at once: grown by ${(grown / 2 ** 20).toFixed(0)} MiB`)
  expect(dues).toHaveLength(TIMERS)
  expect(dues.findIndex((due, i) => i > 0 && due < dues[i - 1]!)).toBe(-1)
  expect(grown).toBeLessThan(128 * 2 ** 20)
})

const ORDERS = 12
const WORKERS = 3
const LEASE_MS = 300
const TIME_TO_PAY_MS = 700
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** After which a worker is killed that has not come to its last step. */
const MAX_ROUND_MS = 3_000
