import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import {
  DummyDriver,
  Kysely,
  PostgresDialect,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type ColumnType,
  type Compilable,
} from 'kysely'
import { postgresStore, postgresTarget } from 'mneme/postgres'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import pg from 'pg'
import { describe, expect, test } from 'vitest'

import { ask } from '../../src/adapter/projection-target.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { drivers } from '../stores/sqlite/drivers.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { balancesInto } from './kysely-both.ts'
import { Account, deposit, folded, places, sumsOf } from './rig.ts'

const hasDriver = drivers.some(({ name }) => name === 'better-sqlite3')

/** PostgreSQL gives large integers as text. */
interface Schema {
  readonly [table: string]: { account: string; balance: ColumnType<number | string, number> }
}

/** Kysely over the connection of a transaction, which stays the projection's. */
function kyselyOver(client: pg.PoolClient): Kysely<Schema> {
  const connection = { query: client.query.bind(client), release: () => undefined }
  const pool = { connect: () => Promise.resolve(connection), end: () => Promise.resolve(), options: {} }
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

test.skipIf(serverProblem)('Kysely writes in PostgreSQL', async () => {
  const url = (await testDatabase()).url
  const store = await postgresStore(url)
  const target = postgresTarget<pg.PoolClient>(url)
  const balances = defineProjection({
    name: 'balances',
    into: target,
    from: [Account],
    tables: ['balances'],
    setup: (client, { tables }) =>
      kyselyOver(client)
        .schema.createTable(tables.balances)
        .addColumn('account', 'text', (column) => column.primaryKey())
        .addColumn('balance', 'bigint', (column) => column.notNull())
        .execute(),
    on: {
      'Account.Deposited': async ({ stream, data }, client, { tables }) => {
        await kyselyOver(client)
          .insertInto(tables.balances)
          .values({ account: stream, balance: data.amount })
          .onConflict((conflict) =>
            conflict.column('account').doUpdateSet((row) => ({
              balance: row(`${tables.balances}.balance`, '+', row.ref('excluded.balance')),
            })),
          )
          .execute()
      },
    },
  })
  const pages = defineProjection({
    name: 'pages',
    into: target,
    from: [{ Deposited: Account.events.Deposited }],
    tables: ['kysely_pages'],
    setup: (client, { tables }) =>
      client.query(`CREATE TABLE ${tables.kysely_pages} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)`),
    onPage: (events, client, { tables }) =>
      kyselyOver(client)
        .insertInto(tables.kysely_pages)
        .values(sumsOf(events))
        .onConflict((conflict) =>
          conflict.column('account').doUpdateSet((row) => ({
            balance: row(`${tables.kysely_pages}.balance`, '+', row.ref('excluded.balance')),
          })),
        )
        .execute(),
  })
  await deposit(store, 50)
  const running = await runProjections(store, [balances, pages])
  await running.caughtUp()
  await balances.rebuild(store)
  await pages.rebuild(store)
  await running.stop()

  const pool = new pg.Pool({ connectionString: url })
  // Its sessions may still be there when it has ended, and are ended with the database.
  pool.on('error', () => undefined)
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  for (const table of ['balances', 'kysely_pages']) {
    const rows = await db.selectFrom(table).selectAll().execute()
    expect(Object.fromEntries(rows.map((row) => [row.account, Number(row.balance)]))).toEqual(
      await folded(store),
    )
  }
  await db.destroy()
  await store.close()
  await target.close()
})

/** Kysely as the builder of queries only: in SQLite handlers are synchronous, and it is not. */
const builder = new Kysely<Schema>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
})

function write(db: SqliteDatabase.Database, query: Compilable): void {
  const { sql, parameters } = query.compile()
  db.prepare(sql).run(...parameters)
}

test.skipIf(!hasDriver)(
  'Kysely writes in SQLite' + (hasDriver ? '' : ' (skipped: better-sqlite3 is compiled for another Node)'),
  async () => {
    const file = join(testFolder(), 'bank.db')
    const driver = (path: string) => new SqliteDatabase(path)
    const store = await sqliteStore(file, { driver })
    const target = sqliteTarget(file, { driver })
    const balances = defineProjection({
      name: 'balances',
      into: target,
      from: [Account],
      tables: ['balances'],
      setup: (db, { tables }) => {
        const table = builder.schema
          .createTable(tables.balances)
          .addColumn('account', 'text', (column) => column.primaryKey())
          .addColumn('balance', 'integer', (column) => column.notNull())
        write(db, table)
      },
      on: {
        'Account.Deposited': ({ stream, data }, db, { tables }) => {
          const insert = builder
            .insertInto(tables.balances)
            .values({ account: stream, balance: data.amount })
            .onConflict((conflict) =>
              conflict.column('account').doUpdateSet((row) => ({
                balance: row(`${tables.balances}.balance`, '+', row.ref('excluded.balance')),
              })),
            )
          write(db, insert)
        },
      },
    })
    const pages = defineProjection({
      name: 'pages',
      into: target,
      from: [{ Deposited: Account.events.Deposited }],
      tables: ['kysely_pages'],
      setup: (db, { tables }) =>
        db.exec(`CREATE TABLE ${tables.kysely_pages} (account TEXT, balance INT NOT NULL)`),
      onPage: (events, db, { tables }) => {
        const rows = events.map(({ stream, data }) => ({ account: stream, balance: data.amount }))
        write(db, builder.insertInto(tables.kysely_pages).values(rows))
      },
    })
    await deposit(store, 50)
    const running = await runProjections(store, [balances, pages])
    await running.caughtUp()
    await balances.rebuild(store)
    await pages.rebuild(store)
    await running.stop()
    for (const table of ['balances', 'kysely_pages']) {
      const sums = `SELECT account, sum(balance) AS balance FROM ${table} GROUP BY account`
      const rows = await target.read(() => ask(sums))
      expect(Object.fromEntries(rows.map((row) => [row.account, row.balance]))).toEqual(await folded(store))
    }
    await store.close()
    await target.close()
  },
)

describe.each(places)('one definition for SQLite and PostgreSQL, with $name', ({ open, problem }) => {
  test.skipIf(problem)('Kysely builds its queries, and it can be rebuilt', async () => {
    const { store, target, ...place } = await open()
    const balances = balancesInto(target as Parameters<typeof balancesInto>[0])
    await deposit(store, 20)
    const running = await runProjections(store, [balances])
    await running.caughtUp()
    await balances.rebuild(store)
    await running.stop()
    expect(await place.balances()).toEqual(await folded(store))
  })
})

test('the definition for both is the one that the documentation shows', () => {
  const text = (path: string) => readFileSync(join(import.meta.dirname, path), 'utf8')
  const code = text('kysely-both.ts').replace('export function', 'function')
  expect(text('../../docs/read-models.md')).toContain(code)
})
