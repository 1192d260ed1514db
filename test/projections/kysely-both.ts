import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type Compilable,
} from 'kysely'
import { defineAggregate, event } from 'mneme'
import type { PostgresTransaction } from 'mneme/postgres'
import { defineProjection, type ProjectionTarget } from 'mneme/projections'
import type { SqliteDatabase } from 'mneme/sqlite'

type Tx = SqliteDatabase | PostgresTransaction

/** Kysely as the builder of queries, and a function that runs them in the transaction of a handler. */
function kyselyInto<Schema>({ dialect }: ProjectionTarget<Tx>) {
  const build = new Kysely<Schema>({
    dialect: {
      createAdapter: () => (dialect === 'sqlite' ? new SqliteAdapter() : new PostgresAdapter()),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) =>
        dialect === 'sqlite' ? new SqliteIntrospector(db) : new PostgresIntrospector(db),
      createQueryCompiler: () =>
        dialect === 'sqlite' ? new SqliteQueryCompiler() : new PostgresQueryCompiler(),
    },
  })
  /** At once on SQLite; on PostgreSQL one after the other, until the promise resolves. */
  function run(tx: Tx, ...queries: Compilable[]): Promise<void> | undefined {
    const compiled = queries.map((query) => query.compile())
    if ('prepare' in tx) {
      for (const { sql, parameters } of compiled) tx.prepare(sql).run(...parameters)
      return undefined
    }
    return (async () => {
      for (const { sql, parameters } of compiled) await tx.query(sql, [...parameters])
    })()
  }
  return { build, run }
}

const Account = defineAggregate({
  name: 'Account',
  events: { Deposited: event<{ amount: number }>() },
  initial: () => ({ balance: 0 }),
  apply: { Deposited: ({ balance }, { amount }) => ({ balance: balance + amount }) },
})

/** One definition, for a target of either kind. */
export function balancesInto(target: ProjectionTarget<Tx>) {
  const { build, run } = kyselyInto<{ [table: string]: { account: string; balance: number } }>(target)
  return defineProjection({
    name: 'balances',
    into: target,
    from: [Account],
    tables: ['balances'],
    setup: (tx, { tables }) =>
      run(
        tx,
        build.schema
          .createTable(tables.balances)
          .addColumn('account', 'text', (column) => column.primaryKey())
          .addColumn('balance', 'bigint', (column) => column.notNull()),
      ),
    on: {
      'Account.Deposited': ({ stream, data }, tx, { tables }) =>
        run(
          tx,
          build
            .insertInto(tables.balances)
            .values({ account: stream, balance: data.amount })
            .onConflict((conflict) =>
              conflict.column('account').doUpdateSet((row) => ({
                balance: row(`${tables.balances}.balance`, '+', row.ref('excluded.balance')),
              })),
            ),
        ),
    },
  })
}
