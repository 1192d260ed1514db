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

/** A projection, and what closes its target. */
export interface Opened {
  readonly projection: Projection
  readonly close: () => Promise<void>
}

/** A projection of balances, beside the store or anywhere else. Told of each event that its handler is given. */
export function balancesAt(location: string, name: string, handled: (id: string) => void): Opened {
  return isPostgres(location) ? inPostgres(location, name, handled) : inSqlite(location, name, handled)
}

function inSqlite(file: string, name: string, handled: (id: string) => void): Opened {
  const into = sqliteTarget(file)
  let upsert: SqliteStatement | undefined
  const projection = defineProjection({
    ...{ name, into, from: [Account] },
    setup: (db: SqliteDatabase) => db.exec(BALANCES),
    on: {
      'Account.Deposited': (event, db) => {
        handled(event.id)
        upsert ??= db.prepare(UPSERT.replace(/\$\d/g, '?'))
        upsert.run(accountOf(event), event.data.amount)
      },
    },
  })
  return { projection, close: () => into.close() }
}

function inPostgres(url: string, name: string, handled: (id: string) => void): Opened {
  const into = postgresTarget<PostgresTransaction & { query(prepared: object): Promise<unknown> }>(url)
  const projection = defineProjection({
    ...{ name, into, from: [Account] },
    setup: (client) => client.query(BALANCES),
    on: {
      'Account.Deposited': async (event, client) => {
        handled(event.id)
        await client.query({ name: 'upsert', text: UPSERT, values: [accountOf(event), event.data.amount] })
      },
    },
  })
  return { projection, close: () => into.close() }
}

/** A projection into a SQLite file whose handler only counts. */
export function countingAt(file: string, name: string, handled: () => void): Opened {
  const into = sqliteTarget(file)
  const on = { 'Account.Deposited': handled }
  return { projection: defineProjection({ name, into, from: [Account], on }), close: () => into.close() }
}
