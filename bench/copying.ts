import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { EventStore } from 'mneme'
import { copyHistory } from 'mneme/history'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'

import { NOTE } from './account.ts'
import { compare, type Figure, seconds } from './measure.ts'
import { freshDatabase } from './postgres-server.ts'
import { RawPostgres } from './raw-postgres.ts'
import { RawSqlite } from './raw-sqlite.ts'

const EVENTS = Number(process.env.MNEME_BENCH_EVENTS ?? 20_000)
const STREAMS = 200
/** Events of a batch of the raw side, which is durable by itself. */
const BATCH = 500

/**
 * Copying a history, against the slower side alone: writing the same events by the driver, in durable batches of 500. The goal
 * is half of that.
 */
export async function* copyFigures(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const database = await freshDatabase()
  const source = await sqliteStore(join(folder, 'from.db'))
  let run = 0
  try {
    await fill(source)
    const raw = new RawSqlite(join(folder, 'raw.db'))
    const copied = async (open: () => Promise<EventStore>, from = source): Promise<number> => {
      const to = await open()
      let count = 0
      const time = await seconds(async () => {
        count = (await copyHistory(from, to)).appended
      })
      if (count !== EVENTS) throw new Error(`${String(count)} of ${String(EVENTS)} events were copied`)
      await to.close()
      return time
    }
    yield await compare({
      name: 'copyHistory from SQLite to SQLite',
      to: `inserting by the driver, ${String(BATCH)} events in a transaction`,
      goal: 0.5,
      operations: [EVENTS, EVENTS],
      runs: 3,
      ours: () => copied(() => sqliteStore(join(folder, `to-${String(run++)}.db`))),
      theirs: () =>
        seconds(() => {
          raw.nextRun()
          for (let n = 0; n < EVENTS; n += BATCH) raw.insertMany(n, BATCH, STREAMS)
        }),
    })
    const keyed = await sqliteStore(join(folder, 'keyed.db'))
    await fillWithKeys(keyed)
    yield await compare({
      name: 'copyHistory from SQLite to SQLite, each event with a key',
      to: 'the same, without the keys',
      operations: [EVENTS, EVENTS],
      runs: 3,
      ours: () => copied(() => sqliteStore(join(folder, `to-${String(run++)}.db`)), keyed),
      theirs: () => {
        raw.nextRun()
        return seconds(() => {
          for (let n = 0; n < EVENTS; n += BATCH) raw.insertMany(n, BATCH, STREAMS)
        })
      },
    })
    await keyed.close()
    raw.close()
    await RawPostgres.create(database.url)
    const client = await RawPostgres.open(database.url, 1)
    yield await compare({
      name: 'copyHistory from SQLite to PostgreSQL',
      to: `inserting by the driver, ${String(BATCH)} events in a statement`,
      goal: 0.5,
      operations: [EVENTS, EVENTS],
      runs: 3,
      ours: () => copied(() => postgresStore(database.url, { schema: `to_${String(run++)}` })),
      theirs: () => seconds(() => client.insertRows(EVENTS / BATCH, BATCH)),
    })
    await client.close()
    yield memoryOf(join(folder, 'from.db'), join(folder, 'memory.db'))
  } finally {
    await source.close()
    await database.end()
    await rm(folder, { recursive: true })
  }
}

async function fill(store: EventStore): Promise<void> {
  for (let n = 0; n < EVENTS; n += STREAMS) {
    await store.append(
      Array.from({ length: STREAMS }, (_, i) => ({
        stream: `Account-${String(i)}`,
        events: [{ type: 'Account.Deposited', data: { amount: n, note: NOTE } }],
      })),
    )
  }
}

/** The same number of commands with keys, of one event each. */
async function fillWithKeys(store: EventStore): Promise<void> {
  for (let n = 0; n < EVENTS; n += STREAMS) {
    const appends = Array.from({ length: STREAMS }, (_, i) => {
      const events = [{ type: 'Account.Deposited', data: { amount: n, note: NOTE } }]
      return store.append({ stream: `Account-${String(i)}`, events }, { key: `fill ${String(n + i)}` })
    })
    await Promise.all(appends)
  }
}

/** How much larger a process becomes that does nothing but copy and compare. */
function memoryOf(from: string, to: string): Figure {
  const file = fileURLToPath(new URL('copying-memory.js', import.meta.url))
  const megabytes = Number(execFileSync(process.execPath, [file, from, to], { encoding: 'utf8' })) / 2 ** 20
  return {
    name: `memory while a process copies and compares ${String(EVENTS)} events, above that before`,
    value: `${megabytes.toFixed(0)} MiB`,
    goal: '<= 128 MiB',
    reached: megabytes <= 128,
  }
}
