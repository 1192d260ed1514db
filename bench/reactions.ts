import { execFileSync } from 'node:child_process'
import { tracingChannel } from 'node:diagnostics_channel'
import { existsSync, mkdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { defineAggregate, defineCommand, event, execute, type EventStore } from 'mneme'
import { postgresTarget } from 'mneme/postgres'
import { after, at, defineReaction, runReactions } from 'mneme/reactions'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'

import { compare, median, percentile, seconds, type Figure } from './measure.ts'
import { isPostgres, places, storeAt, type Place } from './place.ts'
import { callers } from './work.ts'

const Order = defineAggregate({
  name: 'Order',
  events: { Placed: event<{ total: number }>() },
  initial: () => ({ placed: 0 }),
  apply: { Placed: ({ placed }) => ({ placed: placed + 1 }) },
})
const Shipping = defineAggregate({
  name: 'Shipping',
  events: { Shipped: event<{ total: number }>() },
  initial: () => ({ shipped: 0 }),
  apply: { Shipped: ({ shipped }) => ({ shipped: shipped + 1 }) },
})
const ship = defineCommand({
  name: 'bench.ship',
  reads: (input: { order: string; total: number }) => Shipping(input.order),
  handle: (_, { total }) => Shipping.events.Shipped({ total }),
})

/** Events on so many orders, which are worked on at once. */
const STREAMS = 64

/** Reactions: how many a second, how soon after their event, and timers. */
export async function* reactionFigures(): AsyncGenerator<Figure> {
  yield await besideCallers()
  yield* besideAct()
  for await (const place of places()) yield await latency(place)
  for await (const place of places()) yield await punctuality(place)
  yield await waitingTimers()
}

/** Each event is followed by a command with a key, on SQLite; beside callers that execute the same command with a key. */
async function besideCallers(): Promise<Figure> {
  const { store, file, end } = await openFile()
  const events = 3_200
  await place(store, events)
  let run = 0
  const figure = await compare({
    name: 'SQLite: reactions, each with a command that has a key',
    to: `${String(STREAMS)} callers of execute with a key`,
    goal: 0.5,
    operations: [events, events],
    ours: () => react(store, file, `run-${String(run++)}`),
    theirs: async () => {
      const prefix = `callers-${String(run++)}`
      const one = async (caller: number) => {
        for (let i = 0; i < events / STREAMS; i++) {
          const order = `${prefix}-${String(caller)}`
          await execute(store, ship({ order, total: i }), { key: `${order}-${String(i)}` })
        }
      }
      return seconds(() => callers(STREAMS, one))
    },
  })
  await end()
  return figure
}

/** The seconds in which a reaction that is new has handled all orders. */
async function react(store: EventStore, file: string, name: string): Promise<number> {
  const reaction = defineReaction({
    ...{ name, from: [Order], commands: [ship], startAt: 'start' },
    on: {
      'Order.Placed': ({ stream, data: { total } }) => ship({ order: `${name}-${stream}`, total }),
    },
  })
  const state = sqliteTarget(file)
  await reaction.in(state).timers()
  const taken = await seconds(async () => {
    const running = await runReactions(store, [reaction], { state })
    await running.caughtUp({ timeout: 120_000 })
    await running.stop()
  })
  await state.close()
  return taken
}

/**
 * Beside act's reactions, and its deferred ones when all are due: the same events, one action each, on SQLite with
 * `synchronous = full` on both sides. Act's come at least once; ours take effect once.
 */
async function* besideAct(): AsyncGenerator<Figure> {
  const packages = installedAct()
  if (packages === undefined) return
  for (const kind of ['on', 'defer'] as const) {
    const speeds: [number[], number[]] = [[], []]
    for (let run = 0; run < 3; run++) {
      const theirs = await actOnce(packages, kind)
      const ours = await (kind === 'on' ? reactOnce() : fireOnce())
      speeds[0].push(ours)
      speeds[1].push(theirs)
    }
    const [ours, theirs] = speeds.map(median) as [number, number]
    yield {
      name: `SQLite: ${kind === 'on' ? 'reactions' : 'timers that are all due'}, each with a command`,
      value: `${(ours / theirs).toFixed(1)}  (${String(Math.round(ours))}/s against ${String(Math.round(theirs))}/s of @rotorsoft/act 1.31.26, .${kind}())`,
      goal: '>= 5',
      reached: ours / theirs >= 5,
    }
  }
}

const ACT_EVENTS = 2_560

async function reactOnce(): Promise<number> {
  const { store, file, end } = await openFile()
  await place(store, ACT_EVENTS)
  const taken = await react(store, file, 'beside')
  await end()
  return ACT_EVENTS / taken
}

/** Sets timers that are due at one time, and measures from then on. */
async function fireOnce(): Promise<number> {
  const { store, file, end } = await openFile()
  const due = Date.now() + DUE_IN_MS
  const reaction = defineReaction({
    ...{ name: 'deferred', from: [Order], commands: [ship], startAt: 'start' },
    on: {
      'Order.Placed': ({ id, stream, data: { total } }) =>
        at(new Date(due), ship({ order: stream, total }), { timer: id }),
    },
  })
  const state = sqliteTarget(file)
  await place(store, ACT_EVENTS)
  const fired = new Promise<number>((resolve) => {
    let count = 0
    watch(() => ++count === ACT_EVENTS && resolve(Date.now()))
  })
  const running = await runReactions(store, [reaction], { state })
  await running.caughtUp()
  if (Date.now() >= due) throw new Error('the timers were set too late')
  const taken = ((await fired) - due) / 1_000
  unwatch()
  await running.stop()
  await state.close()
  await end()
  return ACT_EVENTS / taken
}

const DUE_IN_MS = 15_000

async function actOnce(packages: string, kind: 'on' | 'defer'): Promise<number> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-act-'))
  const script = resolve('bench/act-reactions.mjs')
  const numbers = [ACT_EVENTS, STREAMS].map(String)
  const args = [script, packages, join(folder, 'act.db'), ...numbers, kind, String(DUE_IN_MS)]
  const output = execFileSync(process.execPath, args, {
    timeout: 120_000,
    cwd: packages,
    env: { ...process.env, NODE_ENV: 'production', LOG_LEVEL: 'error' },
  })
  await rm(folder, { recursive: true })
  const last = output.toString().trim().split('\n').at(-1)!
  const { reactions, seconds } = JSON.parse(last) as { reactions: number; seconds: number }
  return reactions / seconds
}

/** Where act is installed, under .cache; `undefined` if it cannot be. */
function installedAct(): string | undefined {
  const folder = resolve('.cache/tools/act')
  if (existsSync(join(folder, 'node_modules/@rotorsoft/act-sqlite'))) return folder
  mkdirSync(folder, { recursive: true })
  const exact = ['@rotorsoft/act@1.31.26', '@rotorsoft/act-sqlite@1.19.4', '@libsql/client@0.18.0', 'zod@4']
  try {
    // Act reads its name, description and author from the package.json of the folder.
    const about = 'name=bench version=1.0.0 description=- author=- license=MIT type=module'.split(' ')
    execFileSync('npm', ['init', '-y'], { cwd: folder, stdio: 'pipe' })
    execFileSync('npm', ['pkg', 'set', ...about], { cwd: folder, stdio: 'pipe' })
    execFileSync('npm', ['install', ...exact], { cwd: folder, stdio: 'pipe' })
    return folder
  } catch {
    console.log('@rotorsoft/act could not be installed: is there a network?')
    return undefined
  }
}

/** How long after its event was appended the command of a live reaction is committed, under a hundred a second. */
async function latency({ name, location }: Place): Promise<Figure> {
  const store = await storeAt(location)
  const state = isPostgres(location) ? postgresTarget(location) : sqliteTarget(location)
  const reaction = defineReaction({
    ...{ name: 'live', from: [Order], commands: [ship], startAt: 'end' },
    on: { 'Order.Placed': ({ stream, data: { total } }) => ship({ order: stream, total }) },
  })
  const running = await runReactions(store, [reaction], { state })
  const committed = new Map<string, number>()
  watch((cause) => committed.set(cause, performance.now()))
  const appended = await trickle(store, 800)
  await until(() => committed.size === appended.size)
  unwatch()
  await running.stop()
  await state.close()
  await store.close()
  const late = [...appended].map(([id, { returned }]) => Math.max(0, committed.get(id)! - returned))
  const [p50, p99] = [percentile(late, 50), percentile(late, 99)]
  return {
    name: `${name}: the command of a live reaction is committed after its event's append has returned`,
    value: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms  (of ${String(late.length)}, 100 a second)`,
    goal: 'p50 < 5 ms, p99 < 25 ms',
    reached: p50 < 5 && p99 < 25,
  }
}

/** How long after its due time the command of a timer is committed. */
async function punctuality({ name, location }: Place): Promise<Figure> {
  const store = await storeAt(location)
  const state = isPostgres(location) ? postgresTarget(location) : sqliteTarget(location)
  const reaction = defineReaction({
    ...{ name: 'punctual', from: [Order], commands: [ship], startAt: 'end' },
    on: {
      'Order.Placed': ({ id, stream, data: { total } }) =>
        after({ seconds: 1 }, ship({ order: stream, total }), { timer: id }),
    },
  })
  const running = await runReactions(store, [reaction], { state })
  const fired = new Map<string, number>()
  watch((cause) => fired.set(cause, Date.now()))
  const appended = await trickle(store, 500)
  await until(() => fired.size === appended.size)
  unwatch()
  await running.stop()
  await state.close()
  await store.close()
  const late = [...appended].map(([id, { time }]) => fired.get(id)! - Date.parse(time) - 1_000)
  const p99 = percentile(late, 99)
  return {
    name: `${name}: a timer's command is committed after its due time`,
    value: `p50 ${String(percentile(late, 50))} ms, p99 ${String(p99)} ms, at the earliest ${String(Math.min(...late))} ms  (of ${String(late.length)}, 100 a second)`,
    goal: 'p99 < 50 ms, none early',
    reached: p99 < 50 && Math.min(...late) >= 0,
  }
}

/** What a million waiting timers cost a reaction that has nothing to do. */
async function waitingTimers(): Promise<Figure> {
  const { store, file, end } = await openFile()
  const state = sqliteTarget(file)
  const reaction = defineReaction({
    ...{ name: 'waiting', from: [Order], commands: [ship], startAt: 'end' },
    on: {
      'Order.Placed': ({ stream, data: { total } }) =>
        after({ days: 30 }, ship({ order: stream, total }), { timer: stream }),
    },
  })
  const running = await runReactions(store, [reaction], { state })
  await running.caughtUp()
  await place(store, 1)
  await running.caughtUp()
  await until(async () => (await reaction.in(state).timers()).length === 1)
  const idle = async () => {
    const [cpu, begin] = [process.cpuUsage(), performance.now()]
    await delay(10_000)
    const { user, system } = process.cpuUsage(cpu)
    return (user + system) / 10 / (performance.now() - begin)
  }
  const few = await idle()
  const { default: Database } = await import('better-sqlite3')
  const database = new Database(file)
  database.exec(`
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
    INSERT INTO mneme_timers (name, timer, event_id, state, due, sequence, stream, revision, plan)
    SELECT name, timer || i, event_id || i, state, due + i, sequence || i, stream, revision, plan
    FROM mneme_timers, n WHERE name = 'waiting'`)
  database.close()
  const many = await idle()
  await running.stop()
  await state.close()
  await end()
  return {
    name: 'SQLite: 1,000,000 waiting timers, of a reaction without events',
    value: `${many.toFixed(2)} % of a core  (${few.toFixed(2)} % with one timer)`,
    goal: '< 1 % of a core',
    reached: many < 1,
  }
}

async function openFile(): Promise<{ store: EventStore; file: string; end: () => Promise<void> }> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const file = join(folder, 'mneme.db')
  const store = await sqliteStore(file)
  const end = async () => {
    await store.close()
    await rm(folder, { recursive: true })
  }
  return { store, file, end }
}

/** Places orders, one event in turn on each. */
async function place(store: EventStore, count: number): Promise<void> {
  for (let i = 0; i < count; i += STREAMS) {
    const some = Array.from({ length: Math.min(STREAMS, count - i) }, (_, order) =>
      store.append({ stream: Order(`o${String(order)}`), events: [Order.events.Placed({ total: i })] }),
    )
    await Promise.all(some)
  }
}

/** Appends a hundred events a second, and notes by their ids when each append returned. */
async function trickle(store: EventStore, count: number) {
  const appended = new Map<string, { returned: number; time: string }>()
  const begin = performance.now()
  for (let i = 0; i < count; i++) {
    const wait = begin + i * 10 - performance.now()
    if (wait > 0) await delay(wait)
    const placed = Order.events.Placed({ total: i })
    const { events } = await store.append({ stream: Order(`o${String(i % STREAMS)}`), events: [placed] })
    const { id, time } = events[0]!
    appended.set(id, { returned: performance.now(), time })
  }
  return appended
}

let watching: ((cause: string) => void) | undefined
const executions = tracingChannel('mneme.execute')
const subscribers = {
  asyncEnd: (message: object) => {
    const { command, metadata, outcome } = message as {
      command?: string
      outcome?: string
      metadata: { causation?: string }
    }
    if (command === 'bench.ship' && outcome === 'ok') watching?.(metadata.causation ?? '')
  },
}

/** Calls back when a command is committed, with the id of the event that caused it. */
function watch(committed: (cause: string) => unknown): void {
  watching = committed
  executions.subscribe(subscribers as never)
}

function unwatch(): void {
  executions.unsubscribe(subscribers as never)
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(10)
}
