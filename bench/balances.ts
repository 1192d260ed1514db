import { postgresTarget, type PostgresTransaction } from 'mneme/postgres'
import { defineProjection, type Projection } from 'mneme/projections'
import { sqliteTarget, type SqliteDatabase, type SqliteStatement } from 'mneme/sqlite'

import { Account } from './account.ts'
import { isPostgres } from './place.ts'

/** What the benchmarks' projections write for each event: on either side of a comparison the same statement. */
export const UPSERT = `INSERT INTO balances (account, balance) VALUES ($1, $2)
  ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance`
export const BALANCES =
  'CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)'

/** Whose balance an event changes: of a hundred accounts of each stream, so that a batch does not write to a single row. */
export function accountOf({ stream, revision }: { stream: string; revision: number | string }): string {
  return `${stream}-${String(Number(revision) % 100)}`
}

/** A row for each event: none is written twice. */
export function rowOf({ stream, revision }: { stream: string; revision: number }): string {
  return `${stream}-${String(revision)}`
}

/** A projection, and what closes its target. */
export interface Opened {
  readonly projection: Projection
  readonly close: () => Promise<void>
}

/** The row that an event changes. */
export type Key = (event: { stream: string; revision: number }) => string

/** A projection of balances, beside the store or anywhere else. Told of each event that its handler is given. */
export function balancesAt(
  location: string,
  name: string,
  handled: (id: string) => void,
  key: Key = accountOf,
): Opened {
  const options = { name, handled, key }
  return isPostgres(location) ? inPostgres(location, options) : inSqlite(location, options)
}

interface Options {
  readonly name: string
  readonly handled: (id: string) => void
  readonly key: Key
}

function inSqlite(file: string, { name, handled, key }: Options): Opened {
  const into = sqliteTarget(file)
  let upsert: SqliteStatement | undefined
  const projection = defineProjection({
    ...{ name, into, from: [Account] },
    setup: (db: SqliteDatabase) => db.exec(BALANCES),
    on: {
      'Account.Deposited': (event, db) => {
        handled(event.id)
        upsert ??= db.prepare(UPSERT.replace(/\$\d/g, '?'))
        upsert.run(key(event), event.data.amount)
      },
    },
  })
  return { projection, close: () => into.close() }
}

function inPostgres(url: string, { name, handled, key }: Options): Opened {
  const into = postgresTarget<PostgresTransaction & { query(prepared: object): Promise<unknown> }>(url)
  const projection = defineProjection({
    ...{ name, into, from: [Account] },
    setup: (client) => client.query(BALANCES),
    on: {
      'Account.Deposited': async (event, client) => {
        handled(event.id)
        await client.query({ name: 'upsert', text: UPSERT, values: [key(event), event.data.amount] })
      },
    },
  })
  return { projection, close: () => into.close() }
}

/** The same read model, written a page at a time. */
export function balancesByPagesAt(location: string, name: string, key: Key): Opened {
  if (!isPostgres(location)) {
    const into = sqliteTarget(location)
    let upsert: SqliteStatement | undefined
    const projection = defineProjection({
      ...{ name, into, from: [Account] },
      setup: (db: SqliteDatabase) => db.exec(BALANCES),
      onPage: (events, db) => {
        upsert ??= db.prepare(UPSERT.replace(/\$\d/g, '?'))
        for (const [account, amount] of sumsOf(events, key)) upsert.run(account, amount)
      },
    })
    return { projection, close: () => into.close() }
  }
  const into = postgresTarget<PostgresTransaction & { query(prepared: object): Promise<unknown> }>(location)
  const projection = defineProjection({
    ...{ name, into, from: [Account] },
    setup: (client) => client.query(BALANCES),
    onPage: (events, client) => {
      const sums = sumsOf(events, key)
      const values = [[...sums.keys()], [...sums.values()]]
      return client.query({ name: 'upsert-all', text: UPSERT_ALL, values })
    },
  })
  return { projection, close: () => into.close() }
}

const UPSERT_ALL = `INSERT INTO balances (account, balance) SELECT * FROM unnest($1::text[], $2::bigint[])
  ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance`

/** What a page adds to each row: PostgreSQL refuses an upsert that names a row twice. */
function sumsOf(
  events: readonly { stream: string; revision: number; data: { amount: number } }[],
  key: Key,
): Map<string, number> {
  const sums = new Map<string, number>()
  for (const event of events) sums.set(key(event), (sums.get(key(event)) ?? 0) + event.data.amount)
  return sums
}

/** A projection into a SQLite file whose handler only counts. */
export function countingAt(file: string, name: string, handled: () => void): Opened {
  const into = sqliteTarget(file)
  const on = { 'Account.Deposited': handled }
  return { projection: defineProjection({ name, into, from: [Account], on }), close: () => into.close() }
}
