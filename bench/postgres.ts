import type { EventStore } from 'mneme'
import { postgresStore } from 'mneme/postgres'

import { Account, NOTE } from './account.ts'
import { compare, seconds, type Figure } from './measure.ts'
import { freshDatabase } from './postgres-server.ts'
import { PostgresWorkers } from './postgres-workers.ts'
import { RawPostgres } from './raw-postgres.ts'
import { appendAlone, callers, executeAlone, fill, readAll } from './work.ts'

/** One caller's in a run: few, because what else the machine does shows most in one that waits all the time. */
const APPENDS = 200
const RUNS = 30
const CALLERS = 64
const MANY = 6_400
const BATCH = 1_000
const EVENTS = 100_000

/** The PostgreSQL store against its driver, both with synchronous_commit=on in one database. */
export async function* postgresFigures(): AsyncGenerator<Figure> {
  const { url, version, end } = await freshDatabase()
  console.log(`PostgreSQL ${version}\n`)
  try {
    await RawPostgres.create(url)
    yield* callersFigures(url)
    yield* processesFigures(url)
    yield* commandFigures(url)
    yield* batchFigures(url)
    yield* readingFigures(url)
  } finally {
    await end()
  }
}

/** In one process. */
async function* callersFigures(url: string): AsyncGenerator<Figure> {
  const store = await postgresStore(url, { prepare: true })
  const unprepared = await postgresStore(url, { prepare: false })
  const raw = await RawPostgres.open(url, 1)
  const rawCallers = await RawPostgres.open(url, CALLERS)
  const insertAlone = () => seconds(() => raw.insert(APPENDS))
  let run = 0
  yield await compare({
    name: 'append alone, with prepare: true',
    to: 'a raw prepared insert',
    goal: 0.9,
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => seconds(() => appendAlone(store, `Alone-${String(run++)}`, APPENDS)),
    theirs: insertAlone,
  })
  yield await compare({
    name: 'append alone, as through a transaction pooler',
    to: 'a raw prepared insert',
    goal: 0.8,
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => seconds(() => appendAlone(unprepared, `Alone-${String(run++)}`, APPENDS)),
    theirs: insertAlone,
  })
  yield await compare({
    name: '64 callers of append, on streams of their own',
    to: 'as many callers of a raw prepared insert, on 64 connections',
    goal: 2.5,
    operations: [MANY, MANY],
    ours: () => {
      const name = `Caller-${String(run++)}`
      return seconds(() =>
        callers(CALLERS, (i) => appendAlone(store, `${name}-${String(i)}`, MANY / CALLERS)),
      )
    },
    theirs: () => seconds(() => rawCallers.insert(MANY / CALLERS)),
  })
  yield await compare({
    name: '64 callers of execute, on one stream',
    to: 'a raw prepared insert, alone',
    goal: 2,
    operations: [MANY, APPENDS],
    ours: () => {
      const account = `hot-${String(run++)}`
      return seconds(() => callers(CALLERS, () => executeAlone(store, account, MANY / CALLERS)))
    },
    theirs: insertAlone,
  })
  await Promise.all([store.close(), unprepared.close(), raw.close(), rawCallers.close()])
}

/** In several processes, as that many instances of a program. */
async function* processesFigures(url: string): AsyncGenerator<Figure> {
  yield* workersFigures(url, {
    name: 'four processes of 16 callers each',
    goal: 1.5,
    processes: 4,
    callers: 16,
    count: 100,
  })
  const many = { processes: 50, callers: 1, count: 50, goal: 0.5 }
  yield* workersFigures(url, { ...many, name: '50 processes of one caller each', lockedCount: 10 })
  const late = new URL(url)
  late.searchParams.set('options', '-c commit_delay=2000 -c commit_siblings=0')
  yield* workersFigures(late.href, {
    ...many,
    name: '50 processes of one caller each, a commit 2 ms slower',
    lockedCount: 4,
  })
}

interface Processes {
  readonly name: string
  readonly goal: number
  readonly processes: number
  readonly callers: number
  /** What each caller appends in a run. */
  readonly count: number
  /** What it inserts under a lock of the whole store. */
  readonly lockedCount?: number
}

async function* workersFigures(
  url: string,
  { name, goal, processes, callers, count, lockedCount }: Processes,
): AsyncGenerator<Figure> {
  const workers = await PostgresWorkers.start(url, processes, callers)
  const all = processes * callers
  const theirs = {
    to: 'as many callers of a raw prepared insert in as many processes, a connection each',
    theirs: () => workers.run('raw', count),
  }
  yield await compare({
    ...theirs,
    name,
    goal,
    operations: [all * count, all * count],
    ours: () => workers.run('ours', count),
  })
  if (lockedCount !== undefined) {
    yield await compare({
      ...theirs,
      name: `${name}: not the store, but the raw insert under a store-wide lock`,
      operations: [all * lockedCount, all * count],
      ours: () => workers.run('locked', lockedCount),
    })
  }
  await workers.stop()
}

/** What a cached state saves. */
async function* commandFigures(url: string): AsyncGenerator<Figure> {
  const store = await postgresStore(url, { prepare: true })
  const replaying = await postgresStore(url, { prepare: true, cachedStates: 0 })
  await fill(store, 'long', 10_000)
  await fill(store, 'short', 10)
  const onLong = () => seconds(() => executeAlone(store, 'long', APPENDS))
  yield await compare({
    name: 'execute on a stream of 10,000 events',
    to: 'execute on one of 10',
    goal: 0.9,
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: onLong,
    theirs: () => seconds(() => executeAlone(store, 'short', APPENDS)),
  })
  yield await compare({
    name: 'execute on a stream of 10,000 events',
    to: 'execute without a cached state',
    goal: 100,
    operations: [APPENDS, REPLAYS],
    ours: onLong,
    theirs: () => seconds(() => executeAlone(replaying, 'long', REPLAYS)),
  })
  await Promise.all([store.close(), replaying.close()])
}

const REPLAYS = 5

async function* batchFigures(url: string): AsyncGenerator<Figure> {
  const store = await postgresStore(url, { prepare: true })
  const raw = await RawPostgres.open(url, 1)
  let run = 0
  const name = 'appends of 1,000 events'
  const operations = [BATCHES, BATCHES] as const
  const ours = () => seconds(() => appendBatches(store, `Batches-${String(run++)}`))
  yield await compare({
    name,
    to: 'a raw insert with an array for each column',
    goal: 1.2,
    operations,
    ours,
    theirs: () => seconds(() => raw.insertArrays(BATCHES, BATCH)),
  })
  yield await compare({
    name,
    to: 'a raw insert of 1,000 rows of parameters',
    operations,
    ours,
    theirs: () => seconds(() => raw.insertRows(BATCHES, BATCH)),
  })
  await Promise.all([store.close(), raw.close()])
}

async function appendBatches(store: EventStore, stream: string): Promise<void> {
  for (let i = 0; i < BATCHES; i++) {
    const events = Array.from({ length: BATCH }, (_, n) =>
      Account.events.Deposited({ amount: i * BATCH + n, note: NOTE }),
    )
    await store.append({ stream, events, expected: i === 0 ? 'none' : i * BATCH - 1 })
  }
}

const BATCHES = 20

async function* readingFigures(url: string): AsyncGenerator<Figure> {
  const store = await postgresStore(url, { prepare: true, schema: 'log' })
  const raw = await RawPostgres.open(url, 1)
  for (let i = 0; i < EVENTS; i += 10_000) await fill(store, `log-${String(i)}`, 10_000)
  await raw.refill(EVENTS)
  yield await compare({
    name: 'reading all events',
    to: 'a raw select, at once or in pages of 1,000, whichever is faster',
    goal: 0.9,
    operations: [EVENTS, EVENTS],
    ours: () => seconds(() => readAll(store)),
    theirs: async () => Math.min(await seconds(() => raw.readAll()), await seconds(() => raw.readPages())),
  })
  await Promise.all([store.close(), raw.close()])
}
