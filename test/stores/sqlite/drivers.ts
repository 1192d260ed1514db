import { createRequire } from 'node:module'
import type { SqliteDriver } from 'mneme/sqlite'

/** The SQLite drivers that run here, by the names that `worker.mjs` knows: every test runs on each. */
export const drivers: { readonly name: string; readonly driver: SqliteDriver }[] = []

const nodeSqlite = process.getBuiltinModule('node:sqlite') as
  { DatabaseSync: new (file: string) => ReturnType<SqliteDriver> } | undefined
if (nodeSqlite) drivers.push({ name: 'node:sqlite', driver: (file) => new nodeSqlite.DatabaseSync(file) })

try {
  const Database = createRequire(import.meta.url)('better-sqlite3') as new (
    file: string,
  ) => ReturnType<SqliteDriver>
  // Its compiled part is made for one version of Node.
  new Database(':memory:').close()
  drivers.push({ name: 'better-sqlite3', driver: (file) => new Database(file) })
} catch {
  // Not for this Node: then node:sqlite is there.
}
