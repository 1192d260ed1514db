import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { EventStore } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'

import { Account, NOTE } from './account.ts'
import { type Figure, median } from './measure.ts'
import { openDatabase, RawSqlite } from './raw-sqlite.ts'
import { fill } from './work.ts'

/** Events of the large store: `MNEME_BENCH_EVENTS=10000000` takes minutes and 3 GB. */
const MANY = Number(process.env.MNEME_BENCH_EVENTS ?? 1_000_000)
const FEW = 10_000
const EVENTS = 100_000

/** What events take on disk, and whether a large SQLite store is as fast as a small one. */
export async function* sizeFigures(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  try {
    yield await bytesFigure(folder)
    yield* largeFigures(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Streams of 100 events. */
async function bytesFigure(folder: string): Promise<Figure> {
  const [rawFile, file] = [join(folder, 'raw.db'), join(folder, 'bytes.db')]
  const raw = new RawSqlite(rawFile)
  raw.insertMany(0, EVENTS, EVENTS / 100)
  raw.close()
  const store = await sqliteStore(file)
  for (let stream = 0; stream < EVENTS / 100; stream++) await fill(store, String(stream), 100)
  await store.close()
  const [ours, theirs] = await Promise.all(
    [file, rawFile].map(async (path) => (await stat(path)).size / EVENTS),
  )
  const ratio = ours! / theirs!
  return {
    name: 'bytes of an event on disk, to those in a table of its columns with the same index',
    value: `${ratio.toFixed(2)}  (${ours!.toFixed(0)} against ${theirs!.toFixed(0)} bytes)`,
    goal: '<= 1.15',
    reached: ratio <= 1.15,
  }
}

/** The same calls on a store of many events and on one of few, in turn. */
async function* largeFigures(folder: string): AsyncGenerator<Figure> {
  const files = [join(folder, 'many.db'), join(folder, 'few.db')] as const
  await fillDirectly(files[0], MANY)
  await fillDirectly(files[1], FEW)
  const opened: [number[], number[]] = [[], []]
  const appended: [number[], number[]] = [[], []]
  const read: [number[], number[]] = [[], []]
  for (let run = 0; run < RUNS; run++) {
    const stores: EventStore[] = []
    for (const [side, file] of files.entries()) {
      const begun = performance.now()
      stores.push(await sqliteStore(file))
      opened[side]!.push(performance.now() - begun)
    }
    for (let i = 0; i < CALLS; i++) {
      const write = {
        stream: Account(`new-${String(run)}-${String(i)}`),
        events: [Account.events.Deposited({ amount: i, note: NOTE })],
        expected: 'none',
      } as const
      for (const [side, store] of stores.entries()) {
        const before = performance.now()
        await store.append(write)
        const between = performance.now()
        await store.readAllPage({ direction: 'backwards', limit: 1 })
        appended[side]!.push(between - before)
        read[side]!.push(performance.now() - between)
      }
    }
    await Promise.all(stores.map((store) => store.close()))
  }
  const many = MANY.toLocaleString('en')
  const open = median(opened[0])
  yield {
    name: `opening a store of ${many} events`,
    value: `${open.toFixed(1)} ms  (${median(opened[1]).toFixed(1)} ms with ${FEW.toLocaleString('en')})`,
    goal: '< 50 ms',
    reached: open < 50,
  }
  for (const [what, sides] of [
    ['append', appended],
    ['reading the last event', read],
  ] as const) {
    const [large, small] = [median(sides[0]), median(sides[1])]
    const ratio = small / large
    yield {
      name: `${what} in a store of ${many} events, to the same in one of ${FEW.toLocaleString('en')}`,
      value: `${ratio.toFixed(2)}  (${(large * 1_000).toFixed(0)} against ${(small * 1_000).toFixed(0)} µs)`,
      goal: '>= 0.9',
      reached: ratio >= 0.9,
    }
  }
}

/** Small events in streams of 100, written by SQL, because appending millions takes minutes. */
async function fillDirectly(file: string, count: number): Promise<void> {
  await (await sqliteStore(file)).close()
  const database = openDatabase(file)
  database.exec('PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL')
  const insert = database.prepare(`
    WITH RECURSIVE n (i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
    INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata)
    SELECT printf('Account-%08d', i / 100), i % 100, printf('%08x-0000-4000-8000-000000000000', i), 'Account.Deposited', 1,
      '2026-12-01T00:00:00.000Z', '{"amount":1,"note":"a deposit"}', '{}' FROM n`)
  for (let i = 0; i < count; i += PER_TRANSACTION) insert.run(i, Math.min(count, i + PER_TRANSACTION))
  database.close()
}

const RUNS = 7
const CALLS = 100
const PER_TRANSACTION = 100_000
