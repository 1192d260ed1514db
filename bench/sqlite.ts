import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { EventStore } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'

import { Account, NOTE } from './account.ts'
import { compare, percentile, seconds, type Figure } from './measure.ts'
import { RawSqlite } from './raw-sqlite.ts'
import { appendAlone, callers, executeAlone, fill, readAll } from './work.ts'

const APPENDS = 2_000
const CALLERS = 64
const MANY = 16_000
const BATCHED = 20_000
const EVENTS = 100_000

/** The SQLite store against its driver, both with synchronous=FULL on the same disk. */
export async function* sqliteFigures(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const raw = new RawSqlite(join(folder, 'raw.db'))
  const store = await sqliteStore(join(folder, 'mneme.db'))
  const insertAlone = () =>
    seconds(() => {
      raw.insert(APPENDS)
    })
  let run = 0
  try {
    yield await compare({
      name: 'append alone',
      to: 'a raw prepared insert',
      goal: 0.95,
      operations: [APPENDS, APPENDS],
      ours: () => seconds(() => appendAlone(store, `Alone-${String(run++)}`, APPENDS)),
      theirs: insertAlone,
    })
    for (const size of [100, 1_000]) {
      const batches = BATCHED / size
      yield await compare({
        name: `appends of ${size.toLocaleString('en')} events`,
        to: 'as many raw prepared inserts in a transaction',
        goal: 0.9,
        operations: [BATCHED, BATCHED],
        ours: async () => {
          const name = `Batches-${String(run++)}`
          return seconds(async () => {
            for (let i = 0; i < batches; i++) await fill(store, `${name}-${String(i)}`, size)
          })
        },
        theirs: () =>
          seconds(() => {
            for (let i = 0; i < batches; i++) raw.fill(size)
          }),
      })
    }
    yield await compare({
      name: '64 callers of append, on streams of their own',
      to: 'a raw prepared insert, alone',
      goal: 8,
      operations: [MANY, APPENDS],
      ours: () => {
        const name = `Caller-${String(run++)}`
        return seconds(() =>
          callers(CALLERS, (i) => appendAlone(store, `${name}-${String(i)}`, MANY / CALLERS)),
        )
      },
      theirs: insertAlone,
    })
    yield await compare({
      name: '64 callers of execute, on one stream',
      to: 'a raw prepared insert, alone',
      goal: 4,
      operations: [MANY, APPENDS],
      ours: () => {
        const account = `hot-${String(run++)}`
        return seconds(() => callers(CALLERS, () => executeAlone(store, account, MANY / CALLERS)))
      },
      theirs: insertAlone,
    })
    await fill(store, 'long', 10_000)
    await fill(store, 'short', 10)
    yield await compare({
      name: 'execute on a stream of 10,000 events',
      to: 'execute on one of 10',
      goal: 0.9,
      operations: [APPENDS, APPENDS],
      ours: () => seconds(() => executeAlone(store, 'long', APPENDS)),
      theirs: () => seconds(() => executeAlone(store, 'short', APPENDS)),
    })
    yield await lateness(store)
  } finally {
    await store.close()
    raw.close()
  }
  yield* readingFigures(folder)
  await rm(folder, { recursive: true })
}

/** Reading a whole store, in time and in memory. */
async function* readingFigures(folder: string): AsyncGenerator<Figure> {
  const raw = new RawSqlite(join(folder, 'raw-log.db'))
  const store = await sqliteStore(join(folder, 'mneme-log.db'))
  raw.fill(EVENTS)
  for (let i = 0; i < EVENTS; i += 10_000) await fill(store, `log-${String(i)}`, 10_000)
  yield await compare({
    name: 'reading all events',
    to: 'iterating a raw prepared select, parsing its JSON',
    goal: 0.9,
    operations: [EVENTS, EVENTS],
    ours: () => seconds(() => readAll(store)),
    theirs: () => seconds(() => raw.readAll()),
  })
  raw.close()
  for (let i = EVENTS; i < 1_000_000; i += 10_000) await fill(store, `log-${String(i)}`, 10_000)
  await store.close()
  yield await memoryOfReading(join(folder, 'mneme-log.db'))
}

/** How late a timer of 5 ms is while 64 callers append for three seconds. */
async function lateness(store: EventStore): Promise<Figure> {
  const late: number[] = []
  let due = performance.now() + TICK
  const tick = () => {
    const now = performance.now()
    late.push(Math.max(0, now - due))
    due = now + TICK
    timer = setTimeout(tick, TICK)
  }
  let timer = setTimeout(tick, TICK)
  const end = performance.now() + 3_000
  await callers(CALLERS, async (i) => {
    for (let n = 0; performance.now() < end; n++) {
      const events = [Account.events.Deposited({ amount: n, note: NOTE })]
      await store.append({ stream: `Late-${String(i)}`, events, expected: n === 0 ? 'none' : n - 1 })
    }
  })
  clearTimeout(timer)
  const p99 = percentile(late, 99)
  const value = `${p99.toFixed(1)} ms  (p50 ${percentile(late, 50).toFixed(1)} ms, of ${String(late.length)} ticks)`
  return {
    name: 'a timer under 64 callers of append is late by (p99)',
    value,
    goal: '<= 10 ms',
    reached: p99 <= 10,
  }
}

const TICK = 5

/** What reading 1,000,000 events holds above the start, in a process that does nothing else. */
async function memoryOfReading(file: string): Promise<Figure> {
  const reader = fork(new URL('reading.js', import.meta.url), [file], { execArgv: ['--expose-gc'] })
  const [message] = (await once(reader, 'message')) as [{ count: number; bytes: number }]
  const mebibytes = message.bytes / 1024 ** 2
  const value = `${mebibytes.toFixed(0)} MiB above the start  (${message.count.toLocaleString('en')} events)`
  return {
    name: 'memory while reading 1,000,000 events',
    value,
    goal: '< 64 MiB',
    reached: mebibytes < 64,
  }
}
