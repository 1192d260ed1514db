import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { defineAggregate, defineCommand, event, execute } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'

import { seconds } from './measure.ts'
import { openDatabase } from './raw-sqlite.ts'
import { callers } from './work.ts'

// A process that measures one of the cases below, in its first second and without a warm-up, as a program meets the
// store that has just been started. Sends what each round took of each side: node cold-sqlite.js CASE

/** 206 bytes as JSON. */
interface Paid {
  readonly payment: string
  readonly amount: number
  readonly currency: string
  readonly reference: string
  readonly by: string
  readonly note: string
}

const Ledger = defineAggregate({
  name: 'Ledger',
  events: { Paid: event<Paid>() },
  initial: () => ({ total: 0, payments: 0 }),
  apply: {
    Paid: ({ total, payments }, { amount }) => ({ total: total + amount, payments: payments + 1 }),
  },
})

const pay = defineCommand({
  reads: (input: { ledger: string; n: number }) => Ledger(input.ledger),
  handle: (_, { n }) => Ledger.events.Paid(dataOf(n)),
})

function dataOf(n: number): Paid {
  return {
    payment: String(n).padStart(10, '0'),
    amount: 100_000 + (n % 900_000),
    currency: 'EUR',
    reference: 'RF18 5390 0754 7034 and a little more',
    by: 'a customer of the bank',
    note: 'an event that is about as large as those of many programs',
  }
}

const INSERT =
  'INSERT INTO events (stream, revision, id, type, version, time, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'

const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
const database = openDatabase(join(folder, 'raw.db'))
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
database.exec(`CREATE TABLE events (
  position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, id TEXT NOT NULL,
  type TEXT NOT NULL, version INTEGER NOT NULL, time TEXT NOT NULL, data TEXT NOT NULL,
  metadata TEXT NOT NULL, UNIQUE (stream, revision)
) STRICT`)
const insert = database.prepare(INSERT)
const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')]
const store = await sqliteStore(join(folder, 'mneme.db'))

/** Inserts the next events of a raw stream. */
function insertRaw(stream: string, from: number, count: number): void {
  for (let revision = from; revision < from + count; revision++) {
    const data = JSON.stringify(dataOf(revision))
    const time = new Date().toISOString()
    insert.run(`Ledger-${stream}`, revision, crypto.randomUUID(), 'Ledger.Paid', 1, time, data, '{}')
  }
}

async function appendAlone(name: string, count: number): Promise<void> {
  const stream = Ledger(name)
  for (let n = 0; n < count; n++) {
    await store.append({
      stream,
      events: [Ledger.events.Paid(dataOf(n))],
      expected: n === 0 ? 'none' : n - 1,
    })
  }
}

/** Appends of so many events each, to one stream. */
async function appendBatches(name: string, appends: number, size: number): Promise<void> {
  const stream = Ledger(name)
  for (let n = 0; n < appends * size; n += size) {
    const events = Array.from({ length: size }, (_, i) => Ledger.events.Paid(dataOf(n + i)))
    await store.append({ stream, events, expected: n === 0 ? 'none' : n - 1 })
  }
}

async function executeAlone(ledger: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await execute(store, pay({ ledger, n }))
}

/** Transactions of so many inserts each, on one stream. */
function insertBatches(stream: string, transactions: number, size: number): void {
  for (let n = 0; n < transactions * size; n += size) {
    begin.run()
    insertRaw(stream, n, size)
    commit.run()
  }
}

interface Case {
  /** Events of one round, of ours and of the raw side. */
  readonly events: readonly [ours: number, raw: number]
  /** What a round needs and is not measured. */
  readonly prepare?: (round: string) => Promise<void>
  readonly ours: (round: string) => Promise<void>
  readonly raw: (round: string) => void
}

const alone = (round: string) => {
  insertRaw(round, 0, 300)
}
const batches = (appends: number, size: number): Case => ({
  events: [appends * size, appends * size],
  ours: (round) => appendBatches(round, appends, size),
  raw: (round) => {
    insertBatches(round, appends, size)
  },
})

const cases: Readonly<Record<string, Case>> = {
  alone: { events: [300, 300], ours: (round) => appendAlone(round, 300), raw: alone },
  callers: {
    events: [64 * 47, 300],
    ours: (round) => callers(64, (i) => appendAlone(`${round}-${String(i)}`, 47)),
    raw: alone,
  },
  hundreds: batches(20, 100),
  thousands: batches(4, 1_000),
  command: {
    events: [300, 300],
    prepare: (round) => appendBatches(round, 1, 10),
    ours: (round) => executeAlone(round, 300),
    raw: alone,
  },
  commands: {
    events: [64 * 47, 300],
    prepare: (round) => callers(64, (i) => appendBatches(`${round}-${String(i)}`, 1, 100)),
    ours: (round) => callers(64, (i) => executeAlone(`${round}-${String(i)}`, 47)),
    raw: alone,
  },
}

const { events, prepare, ours, raw } = cases[process.argv[2]!]!
const speeds: [ours: number, raw: number][] = []
for (let round = 0; round < 5; round++) {
  const name = String(round)
  await prepare?.(name)
  const rawSeconds = await seconds(() => {
    raw(name)
  })
  const ourSeconds = await seconds(() => ours(name))
  speeds.push([events[0] / ourSeconds, events[1] / rawSeconds])
}
await store.close()
database.close()
await rm(folder, { recursive: true })
if (process.send) {
  process.send(speeds)
  process.disconnect()
} else
  for (const [our, their] of speeds)
    console.log(
      `${(our / their).toFixed(2)}: ${(1e6 / our).toFixed(1)} against ${(1e6 / their).toFixed(1)} µs an event`,
    )
