import { join } from 'node:path'
import { createStore, defineAggregate, event, type EventStore, type RetryOptions } from 'mneme'
import { postgresTarget, type PostgresTransaction } from 'mneme/postgres'
import { defineProjection, type Projection } from 'mneme/projections'
import { sqliteStore, sqliteTarget, type SqliteDatabase } from 'mneme/sqlite'
import { onTestFinished } from 'vitest'

import { ask, type ProjectionTarget, type TargetRow } from '../../src/adapter/projection-target.ts'
import type { Clock } from '../../src/base/clock.ts'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { postgresStore } from '../../src/stores/postgres/index.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { fastClock, onClock } from './clocks.ts'

export const Account = defineAggregate({
  name: 'Account',
  events: {
    Opened: event<{ owner: string }>(),
    Deposited: event<{ amount: number }>().formerly('Account.Credited'),
  },
  initial: () => ({ balance: 0 }),
  apply: {
    Opened: (state) => state,
    Deposited: (state, { amount }) => ({ balance: state.balance + amount }),
  },
})

/** A store, and a database that a read model is kept in. */
export interface Place {
  readonly store: EventStore
  readonly target: ProjectionTarget<unknown>
  /** The same store, as another process has it. */
  another(): Promise<{ readonly store: EventStore; readonly target: ProjectionTarget<unknown> }>
  /** Where it is PostgreSQL: its URL. */
  readonly url?: string
  /** Balances by account, as users read them; `undefined` where there is no such table. */
  balances(table?: string): Promise<Record<string, number> | undefined>
}

/** The databases that read models are kept in, by name: every promise holds for each. */
export const places: readonly { readonly name: string; readonly problem?: string; open(): Promise<Place> }[] =
  [
    { name: 'a SQLite store, in its own file', open: () => inSqlite(true) },
    { name: 'a SQLite store, in another file', open: () => inSqlite(false) },
    { name: 'a memory store, in a SQLite file', open: fromMemory },
    {
      name: 'a PostgreSQL store, in its own database',
      ...(serverProblem !== undefined && { problem: serverProblem }),
      open: inPostgres,
    },
  ]

async function inSqlite(isOwnFile: boolean): Promise<Place> {
  const folder = testFolder()
  const [events, readModel] = [join(folder, 'events.db'), join(folder, isOwnFile ? 'events.db' : 'model.db')]
  const another = async () => ended(await sqliteStore(events), sqliteTarget(readModel))
  const { store, target } = await another()
  return { store, target, another, balances: (table) => balancesIn(target, table) }
}

async function fromMemory(): Promise<Place> {
  const data = new MemoryData()
  const file = join(testFolder(), 'model.db')
  const another = async () => ended(createStore(memoryAdapter(data)), sqliteTarget(file))
  const { store, target } = await another()
  return { store, target, another, balances: (table) => balancesIn(target, table) }
}

async function inPostgres(): Promise<Place> {
  const url = (await testDatabase()).url
  const another = async () => ended(await postgresStore(url), postgresTarget(url))
  const { store, target } = await another()
  return { store, target, another, url, balances: (table) => balancesIn(target, table) }
}

function ended<S extends EventStore>(store: S, target: ProjectionTarget<never>) {
  onTestFinished(async () => {
    await store.close()
    await target.close()
  })
  return { store, target: target as ProjectionTarget<unknown> }
}

export async function balancesIn(
  target: ProjectionTarget<unknown>,
  table = 'balances',
): Promise<Record<string, number> | undefined> {
  try {
    const rows = await target.read(function* () {
      const found: readonly Record<string, unknown>[] = yield {
        sql: `SELECT account, balance FROM ${table} ORDER BY account`,
        values: [],
      }
      return found
    })
    return Object.fromEntries(rows.map(({ account, balance }) => [account as string, Number(balance)]))
  } catch {
    return undefined
  }
}

/** Runs SQL in the target, in the words of Mneme's own. */
export async function sql(target: ProjectionTarget<unknown>, text: string): Promise<readonly TargetRow[]> {
  return target.transaction(() => ask(text), 10_000)
}

/** Runs SQL on whichever connection handlers are given: at once on SQLite, awaited on PostgreSQL. */
export function run(tx: unknown, sql: string, values: readonly (string | number)[] = []): unknown {
  const { query } = tx as Partial<PostgresTransaction>
  if (query) return (tx as PostgresTransaction).query(sql, [...values])
  const texts = sql.replace(/\$\d/g, '?')
  return (tx as SqliteDatabase).prepare(texts).run(...values)
}

/** Adds to an account's balance. */
export function add(tx: unknown, table: string, account: string, amount: number): unknown {
  return run(
    tx,
    `INSERT INTO ${table} AS b (account, balance) VALUES ($1, $2)
      ON CONFLICT (account) DO UPDATE SET balance = b.balance + excluded.balance`,
    [account, amount],
  )
}

/** A projection of balances: how much was deposited, times a factor. */
export function balances(
  target: ProjectionTarget<unknown>,
  options: {
    readonly name?: string
    readonly version?: number
    readonly factor?: number
    readonly onError?: 'block' | 'park'
    /** Called before each event is handled. */
    readonly before?: (event: { stream: string; revision: number; data: unknown }, tx: unknown) => unknown
    readonly maxRetries?: number
    readonly retry?: RetryOptions
    readonly handlerTimeout?: number
    /** Instead of the table alone. */
    readonly setup?: (tx: unknown, table: string) => unknown
    readonly table?: string
    /** Instead of the fast one. */
    readonly clock?: Clock
  } = {},
): Projection {
  const { name = 'balances', version = 1, factor = 1, onError, before, maxRetries = 5 } = options
  const { table = 'balances', setup = makeBalances, clock = fastClock, handlerTimeout } = options
  const { retry = { maxRetries, baseDelay: 5, minDelay: 1 } } = options
  const projection = defineProjection({
    ...{ name, version, into: target, from: [Account], tables: [table], onError },
    ...{ retry, handlerTimeout },
    setup: (tx, { tables }) => setup(tx, tables[table]!),
    on: {
      'Account.Deposited': (event, tx, { tables }) => {
        const waiting = before?.(event, tx)
        const write = () => add(tx, tables[table]!, event.stream, event.data.amount * factor)
        return waiting instanceof Promise ? waiting.then(write) : write()
      },
    },
  })
  return onClock(clock, projection)
}

export function makeBalances(tx: unknown, table: string): unknown {
  return run(tx, `CREATE TABLE ${table} (account TEXT PRIMARY KEY, balance NUMERIC NOT NULL)`)
}

/** Deposits, so many at once, in one append each, on a few accounts. */
export async function deposit(store: EventStore, count: number, amount = 1): Promise<void> {
  for (let i = 0; i < count; i += 500) {
    const events = Array.from({ length: Math.min(500, count - i) }, () =>
      Account.events.Deposited({ amount }),
    )
    await store.append({ stream: Account(`a${(i / 500) % 3}`), events })
  }
}

/** The balances by a fold of the whole log. */
export async function folded(store: EventStore, factor = 1): Promise<Record<string, number>> {
  const totals: Record<string, number> = {}
  for await (const stored of store.readAll()) {
    const event = Account.decode(stored)
    if (event?.type !== 'Account.Deposited') continue
    totals[event.stream] = (totals[event.stream] ?? 0) + event.data.amount * factor
  }
  return totals
}

/** What a page of deposits adds to each account. */
export function sumsOf(
  events: readonly { readonly stream: string; readonly data: { readonly amount: number } }[],
): { account: string; balance: number }[] {
  const sums = new Map<string, number>()
  for (const { stream, data } of events) sums.set(stream, (sums.get(stream) ?? 0) + data.amount)
  return [...sums].map(([account, balance]) => ({ account, balance }))
}

/** A promise that a test resolves. */
export interface Gate {
  readonly opened: Promise<void>
  readonly open: () => void
}

export function gate(): Gate {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** Options of `caughtUpTo` on a machine of any speed. */
export const patiently = { timeout: 25_000 }

/** Waits for a condition. The time-out only ends a test that would fail by its own, with a better message. */
export async function until(isSo: () => unknown, what: string, timeout = 25_000): Promise<void> {
  const end = performance.now() + timeout
  for (let pause = 2; !(await isSo()); pause = Math.min(pause * 1.5, 40)) {
    if (performance.now() > end) throw new Error(`timed out: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}
