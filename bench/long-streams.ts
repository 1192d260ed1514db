import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EventStore, defineAggregate, defineCommand, execute, load } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'
import pg from 'pg'

import { Account, deposit, NOTE } from './account.ts'
import { compare, seconds, type Figure } from './measure.ts'
import { freshDatabase } from './postgres-server.ts'
import { openDatabase } from './raw-sqlite.ts'

/** The same account, with snapshots: the last one is half of `every` behind on average. */
const Kept = defineAggregate({
  name: 'Account',
  events: { Deposited: Account.events.Deposited },
  initial: Account.initial,
  apply: {
    Deposited: (state, { amount }) => ({ balance: state.balance + amount, deposits: state.deposits + 1 }),
  },
  snapshot: { version: 1, every: 500 },
})

const depositKept = defineCommand({
  reads: (input: { account: string; amount: number }) => Kept(input.account),
  handle: (_, { amount }) => Kept.events.Deposited({ amount, note: NOTE }),
})

const EVENTS = 200_000
const KEPT_COMMANDS = 20
/** Each takes a second or more. */
const RUNS = 3

/** A stream of 200,000 events, folded from its beginning and from a snapshot by processes that have cached nothing. */
export async function* longStreamFigures(): AsyncGenerator<Figure> {
  yield* onSqlite()
  yield* onPostgres()
}

async function* onSqlite(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const file = join(folder, 'long.db')
  const store = await sqliteStore(file, { cachedStates: 0 })
  await fillLong(store)
  const database = openDatabase(file)
  const select = database.prepare('SELECT * FROM mneme_events WHERE stream = ? ORDER BY revision')
  const iterate = () => {
    for (const row of select.iterate('Account-long')) JSON.parse((row as Row).data)
  }
  yield* figures('SQLite', store, () => seconds(iterate))
  database.close()
  await store.close()
  await rm(folder, { recursive: true })
}

async function* onPostgres(): AsyncGenerator<Figure> {
  const { url, version, end } = await freshDatabase()
  const store = await postgresStore(url, { cachedStates: 0, prepare: true })
  await fillLong(store)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  yield* figures(`PostgreSQL ${version}`, store, async () =>
    Math.min(await seconds(() => selectAll(client)), await seconds(() => selectPages(client))),
  )
  await client.end()
  await store.close()
  await end()
}

async function* figures(name: string, store: EventStore, raw: () => Promise<number>): AsyncGenerator<Figure> {
  yield await compare({
    name: `${name}: folding a stream of 200,000 events from its beginning`,
    to: 'a raw select of its rows, parsing the data of each, at once or in pages, whichever is faster',
    goal: 0.7,
    runs: RUNS,
    operations: [EVENTS, EVENTS],
    ours: () => seconds(() => load(store, Account('long'))),
    theirs: raw,
  })
  // Writes the snapshot; the events after it are as many as a later process finds on average.
  await load(store, Kept('long'))
  await store.append({ stream: Kept('long'), events: deposits(250) })
  yield await compare({
    name: `${name}: a command on it by a process that has cached nothing, with a snapshot`,
    to: 'the same without snapshots',
    goal: 100,
    runs: RUNS,
    operations: [KEPT_COMMANDS, 1],
    ours: () =>
      seconds(async () => {
        for (let i = 0; i < KEPT_COMMANDS; i++)
          await execute(store, depositKept({ account: 'long', amount: 1 }))
      }),
    theirs: () => seconds(() => execute(store, deposit({ account: 'long', amount: 1 }))),
  })
}

async function fillLong(store: EventStore): Promise<void> {
  for (let i = 0; i < EVENTS; i += 10_000) {
    await store.append({ stream: Account('long'), events: deposits(10_000) })
  }
  // Otherwise the first runs collect the garbage of the events.
  globalThis.gc?.()
}

function deposits(count: number) {
  return Array.from({ length: count }, (_, amount) => Account.events.Deposited({ amount, note: NOTE }))
}

async function selectAll(client: pg.Client): Promise<void> {
  const text = 'SELECT * FROM mneme.events WHERE stream = $1 ORDER BY revision'
  const { rows } = await client.query<Row>({ name: 'all', text, values: ['Account-long'] })
  for (const { data } of rows) JSON.parse(data)
}

async function selectPages(client: pg.Client): Promise<void> {
  const text = 'SELECT * FROM mneme.events WHERE stream = $1 AND revision >= $2 ORDER BY revision LIMIT 1000'
  for (let from = 0; ; from += 1_000) {
    const { rows } = await client.query<Row>({ name: 'page', text, values: ['Account-long', from] })
    for (const { data } of rows) JSON.parse(data)
    if (rows.length < 1_000) return
  }
}

interface Row {
  readonly data: string
}
