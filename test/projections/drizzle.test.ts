import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { sql } from 'drizzle-orm'
import { drizzle as drizzleSqlite } from 'drizzle-orm/better-sqlite3'
import { drizzle as drizzlePostgres } from 'drizzle-orm/node-postgres'
import { bigint, pgTable, text as pgText } from 'drizzle-orm/pg-core'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { postgresStore, postgresTarget } from 'mneme/postgres'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import pg from 'pg'
import { expect, test } from 'vitest'

import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { drivers } from '../stores/sqlite/drivers.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { Account, deposit, folded, sumsOf } from './rig.ts'

const hasDriver = drivers.some(({ name }) => name === 'better-sqlite3')

/** The table, under the name that it is to be written by at present. */
const postgresBalances = (name: string) =>
  pgTable(name, {
    account: pgText().primaryKey(),
    balance: bigint({ mode: 'number' }).notNull(),
  })

test.skipIf(serverProblem)('Drizzle writes in PostgreSQL', async () => {
  const url = (await testDatabase()).url
  const store = await postgresStore(url)
  const target = postgresTarget<pg.PoolClient>(url)
  const projection = defineProjection({
    name: 'balances',
    into: target,
    from: [Account],
    tables: ['balances'],
    setup: (client, { tables }) =>
      client.query(`CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)`),
    on: {
      'Account.Deposited': async ({ stream, data }, client, { tables }) => {
        const table = postgresBalances(tables.balances)
        await drizzlePostgres(client)
          .insert(table)
          .values({ account: stream, balance: data.amount })
          .onConflictDoUpdate({
            target: table.account,
            set: { balance: sql`${table.balance} + excluded.balance` },
          })
      },
    },
  })
  const pages = defineProjection({
    name: 'pages',
    into: target,
    from: [{ Deposited: Account.events.Deposited }],
    tables: ['drizzle_pages'],
    setup: (client, { tables }) =>
      client.query(
        `CREATE TABLE ${tables.drizzle_pages} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)`,
      ),
    onPage: async (events, client, { tables }) => {
      const table = postgresBalances(tables.drizzle_pages)
      await drizzlePostgres(client)
        .insert(table)
        .values(sumsOf(events))
        .onConflictDoUpdate({
          target: table.account,
          set: { balance: sql`${table.balance} + excluded.balance` },
        })
    },
  })
  await deposit(store, 50)
  const running = await runProjections(store, [projection, pages])
  await running.caughtUp()
  await projection.rebuild(store)
  await pages.rebuild(store)
  await running.stop()

  const pool = new pg.Pool({ connectionString: url })
  // Its sessions may still be there when it has ended, and are ended with the database.
  pool.on('error', () => undefined)
  for (const table of ['balances', 'drizzle_pages']) {
    const rows = await drizzlePostgres(pool).select().from(postgresBalances(table))
    expect(Object.fromEntries(rows.map((row) => [row.account, row.balance]))).toEqual(await folded(store))
  }
  await pool.end()
  await store.close()
  await target.close()
})

const sqliteBalances = (name: string) =>
  sqliteTable(name, {
    account: text().primaryKey(),
    balance: integer().notNull(),
  })

test.skipIf(!hasDriver)(
  'Drizzle writes in SQLite' + (hasDriver ? '' : ' (skipped: better-sqlite3 is compiled for another Node)'),
  async () => {
    const file = join(testFolder(), 'bank.db')
    const driver = (path: string) => new SqliteDatabase(path)
    const store = await sqliteStore(file, { driver })
    const target = sqliteTarget(file, { driver })
    let rows: { account: string; balance: number }[] = []
    const projection = defineProjection({
      name: 'balances',
      into: target,
      from: [Account],
      tables: ['balances'],
      setup: (db, { tables }) =>
        db.exec(`CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance INT NOT NULL)`),
      on: {
        'Account.Deposited': ({ stream, data }, db, { tables }) => {
          const table = sqliteBalances(tables.balances)
          drizzleSqlite(db)
            .insert(table)
            .values({ account: stream, balance: data.amount })
            .onConflictDoUpdate({
              target: table.account,
              set: { balance: sql`${table.balance} + excluded.balance` },
            })
            // Not awaited: it runs at once.
            .run()
          rows = drizzleSqlite(db).select().from(table).all()
        },
      },
    })
    const pages = defineProjection({
      name: 'pages',
      into: target,
      from: [{ Deposited: Account.events.Deposited }],
      tables: ['drizzle_pages'],
      setup: (db, { tables }) =>
        db.exec(`CREATE TABLE ${tables.drizzle_pages} (account TEXT PRIMARY KEY, balance INT NOT NULL)`),
      onPage: (events, db, { tables }) => {
        const table = sqliteBalances(tables.drizzle_pages)
        drizzleSqlite(db)
          .insert(table)
          .values(events.map(({ stream, data }) => ({ account: stream, balance: data.amount })))
          .onConflictDoUpdate({
            target: table.account,
            set: { balance: sql`${table.balance} + excluded.balance` },
          })
          .run()
      },
    })
    await deposit(store, 50)
    const running = await runProjections(store, [projection, pages])
    await running.caughtUp()
    await projection.rebuild(store)
    await pages.rebuild(store)
    await running.stop()
    expect(Object.fromEntries(rows.map((row) => [row.account, row.balance]))).toEqual(await folded(store))
    const inPages = await target.query<{ account: string; balance: number }>('SELECT * FROM drizzle_pages')
    expect(Object.fromEntries(inPages.map((row) => [row.account, row.balance]))).toEqual(await folded(store))
    await store.close()
    await target.close()
  },
)
