import type { ProjectionTarget } from 'mneme/projections'
import { postgresTarget, type PostgresTransaction } from 'mneme/postgres'
import { defineProjection, type Projection } from 'mneme/projections'
import { sqliteTarget, type SqliteDatabase } from 'mneme/sqlite'

import { CurrentAccount } from './account.ts'

/**
 * The bank's read models: what each account holds, what was turned over on each day by each kind of operation, and who
 * was overdrawn. They are kept beside the events, or in a SQLite file where the store is none that keeps tables.
 */
export function readModelsOf(url: string): ReadModels {
  const isPostgres = /^postgres(ql)?:/.test(url)
  return readModels(isPostgres ? postgresTarget(url) : sqliteTarget(fileBeside(url)))
}

/** The read models, and what they are kept in. */
export interface ReadModels {
  readonly target: ProjectionTarget<Database>
  readonly projections: readonly Projection[]
  read(): Promise<BankReport>
}

/** Which of the two databases it is makes hardly a difference here: both know this SQL. */
function readModels(into: ProjectionTarget<Database>): ReadModels {
  const from = [CurrentAccount]

  const balances = defineProjection({
    name: 'balances',
    into,
    from,
    tables: ['balances'],
    setup: (db, { tables }) =>
      write(db, `CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)`),
    on: {
      'CurrentAccount.Deposited': ({ stream, data }, db, { tables }) =>
        add(db, tables.balances, stream, data.amount),
      'CurrentAccount.Withdrawn': ({ stream, data }, db, { tables }) =>
        add(db, tables.balances, stream, -data.amount),
    },
  })
  const add = (db: Database, table: string, account: string, amount: number) =>
    write(
      db,
      `INSERT INTO ${table} AS b (account, balance) VALUES (?, ?)
        ON CONFLICT (account) DO UPDATE SET balance = b.balance + excluded.balance`,
      [account, amount],
    )

  const turnover = defineProjection({
    name: 'turnover',
    into,
    from,
    tables: ['turnover'],
    setup: (db, { tables }) =>
      write(
        db,
        `CREATE TABLE ${tables.turnover} (day TEXT NOT NULL, operation TEXT NOT NULL, movements BIGINT NOT NULL,
          amount BIGINT NOT NULL, PRIMARY KEY (day, operation))`,
      ),
    on: {
      'CurrentAccount.Deposited': ({ time, data }, db, { tables }) => count(db, tables.turnover, time, data),
      'CurrentAccount.Withdrawn': ({ time, data }, db, { tables }) => count(db, tables.turnover, time, data),
    },
  })
  // Where the file names no day, it is the one on which the bank was told.
  const count = (
    db: Database,
    table: string,
    time: string,
    data: { amount: number; operation: string; date?: string },
  ) =>
    write(
      db,
      `INSERT INTO ${table} AS t (day, operation, movements, amount) VALUES (?, ?, 1, ?)
        ON CONFLICT (day, operation) DO UPDATE SET movements = t.movements + 1, amount = t.amount + excluded.amount`,
      [data.date ?? time.slice(0, 10), data.operation, data.amount],
    )

  const overdrawn = defineProjection({
    name: 'overdrawn',
    into,
    from,
    tables: ['overdrawn'],
    setup: (db, { tables }) =>
      write(
        db,
        `CREATE TABLE ${tables.overdrawn} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL, times BIGINT NOT NULL,
          lowest BIGINT NOT NULL)`,
      ),
    on: {
      'CurrentAccount.Deposited': ({ stream, data }, db, { tables }) =>
        move(db, tables.overdrawn, stream, data.amount),
      'CurrentAccount.Withdrawn': ({ stream, data }, db, { tables }) =>
        move(db, tables.overdrawn, stream, -data.amount),
    },
  })
  const move = (db: Database, table: string, account: string, amount: number) =>
    write(
      db,
      `INSERT INTO ${table} AS o (account, balance, times, lowest)
        VALUES (?, ?, CASE WHEN ? < 0 THEN 1 ELSE 0 END, CASE WHEN ? < 0 THEN ? ELSE 0 END)
        ON CONFLICT (account) DO UPDATE SET balance = o.balance + excluded.balance,
          times = o.times + CASE WHEN o.balance + excluded.balance < 0 THEN 1 ELSE 0 END,
          lowest = CASE WHEN o.balance + excluded.balance < o.lowest THEN o.balance + excluded.balance ELSE o.lowest END`,
      [account, amount, amount, amount, amount],
    )

  return { target: into, projections: [balances, turnover, overdrawn], read: () => readAll(into) }
}

/** What the read models say. */
export interface BankReport {
  readonly accounts: number
  readonly total: number
  /** By kind of operation, the greatest turnover first. */
  readonly turnover: readonly {
    readonly operation: string
    readonly movements: number
    readonly amount: number
  }[]
  readonly days: number
  /** The accounts that ever were below zero, the lowest first. */
  readonly overdrawn: readonly { readonly account: string; readonly times: number; readonly lowest: number }[]
}

async function readAll(target: ProjectionTarget<Database>): Promise<BankReport> {
  const [sum] = await target.query(
    'SELECT count(*) AS accounts, coalesce(sum(balance), 0) AS total FROM balances',
  )
  const [days] = await target.query('SELECT count(DISTINCT day) AS days FROM turnover')
  const turnover = await target.query(
    'SELECT operation, sum(movements) AS movements, sum(amount) AS amount FROM turnover GROUP BY operation ORDER BY 3 DESC, 1',
  )
  const overdrawn = await target.query(
    'SELECT account, times, lowest FROM overdrawn WHERE times > 0 ORDER BY lowest, account',
  )
  // PostgreSQL gives large numbers as text.
  return {
    accounts: Number(sum?.accounts),
    total: Number(sum?.total),
    days: Number(days?.days),
    turnover: turnover.map(({ operation, movements, amount }) => ({
      operation: String(operation),
      movements: Number(movements),
      amount: Number(amount),
    })),
    overdrawn: overdrawn.map(({ account, times, lowest }) => ({
      account: String(account).slice(CurrentAccount.category.length + 1),
      times: Number(times),
      lowest: Number(lowest),
    })),
  }
}

type Database = SqliteDatabase | PostgresTransaction

/** Writes on the connection of the projection: at once on SQLite, on PostgreSQL when it is awaited. */
function write(db: Database, sql: string, values: readonly (string | number)[] = []): unknown {
  if ('prepare' in db) return db.prepare(sql).run(...values)
  let n = 0
  return db.query(
    sql.replaceAll('?', () => `$${String(++n)}::${typeof values[n - 1] === 'number' ? 'bigint' : 'text'}`),
    [...values],
  )
}

/** The SQLite file for the read models of a store: its own, if it is one. */
function fileBeside(url: string): string {
  if (/^(sqlite|file):/.test(url)) return url
  return url === 'memory:' ? ':memory:' : 'sqlite:bank-read-models.db'
}
