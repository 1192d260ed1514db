import { createRequire } from 'node:module'

import { OpenError } from '../../base/errors.ts'

/**
 * Opens a SQLite database: `(file) => new Database(file)` with better-sqlite3, or
 * `(file) => new DatabaseSync(file)` with `node:sqlite`.
 */
export type SqliteDriver = (file: string) => SqliteDatabase

/** What a store needs of a driver's database. All calls are synchronous. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
  close(): unknown
  /** Whether a transaction is open, in better-sqlite3. */
  readonly inTransaction?: boolean
  /** Whether a transaction is open, in `node:sqlite`. */
  readonly isTransaction?: boolean
}

/**
 * What a store needs of a prepared statement. Values are strings, numbers and `null` (they are `unknown` because
 * TypeScript 5.9 accepts the types of better-sqlite3 for nothing narrower). Rows are objects by column name; integers are
 * numbers.
 */
export interface SqliteStatement {
  run(...values: unknown[]): {
    readonly changes: number | bigint
    readonly lastInsertRowid: number | bigint
  }
  get(...values: unknown[]): unknown
  /** Whether it only reads, in better-sqlite3. */
  readonly readonly?: boolean
  all(...values: unknown[]): unknown[]
  /** Switches to rows as arrays, in `node:sqlite`. Used if present, because it is faster. */
  setReturnArrays?(isOn: boolean): unknown
  /** The same in better-sqlite3. */
  raw?(isOn: boolean): unknown
}

/**
 * `node:sqlite` if the runtime has it (Node 22.13 or newer), else better-sqlite3.
 *
 * If the runtime's SQLite is older than 3.51.3, an installed better-sqlite3 is preferred: older versions could, very
 * rarely, damage a file that two processes write and checkpoint at the same instant (the "WAL-reset bug").
 *
 * @throws OpenError if neither is available.
 */
export async function defaultDriver(): Promise<SqliteDriver> {
  const builtIn = nodeSqlite()
  if (builtIn && isSound(process.versions.sqlite)) return builtIn
  const installed = installedVersion()
  if (installed !== undefined && wouldCrash(installed)) {
    if (builtIn) return builtIn
    const message =
      `better-sqlite3 ${installed} was not loaded: 13 and newer need Node 22.14 and would ` +
      `crash Node ${process.versions.node}. Install version 12 (npm install better-sqlite3@12), or use a newer Node, ` +
      'which has SQLite built in'
    throw new OpenError('driver-missing', message)
  }
  try {
    // The `await` directly in a `try` tells bundlers that the package may be missing.
    const { default: Database } = await import('better-sqlite3')
    // Its compiled part is loaded by the first database only, and may be missing or made for another Node.
    new Database(':memory:').close()
    return (file) => new Database(file)
  } catch (cause) {
    if (builtIn) return builtIn
    const message = installed
      ? `better-sqlite3 ${installed} is installed but its compiled part does not load: compile it for this Node ` +
        '(npm rebuild better-sqlite3)'
      : `no SQLite driver: install better-sqlite3 (npm install better-sqlite3${hasNodeApi10() ? '' : '@12'}), or use ` +
        'Node 22.13 or newer, which has SQLite built in'
    throw new OpenError('driver-missing', message, { cause })
  }
}

/** The version of better-sqlite3 that `import()` would load; undefined if it is not installed. */
function installedVersion(): string | undefined {
  // In a bundle `import.meta.url` may be missing, or name the place where the bundle was made.
  for (const place of [import.meta.url, process.argv[1]]) {
    try {
      return (createRequire(place!)('better-sqlite3/package.json') as { readonly version: string }).version
    } catch {
      // Not installed as seen from there.
    }
  }
  return undefined
}

/** Whether the first database of this better-sqlite3 would end the process with a segmentation fault. */
function wouldCrash(version: string): boolean {
  return Number.parseInt(version) >= 13 && !hasNodeApi10()
}

function hasNodeApi10(): boolean {
  return Number(process.versions.napi) >= 10
}

function nodeSqlite(): SqliteDriver | undefined {
  // Not `import()`: bundlers would resolve it, and runtimes without it would fail.
  const module = process.getBuiltinModule('node:sqlite') as NodeSqlite | undefined
  // Before 22.13 it was behind a flag, incomplete, and had no `iterate`.
  if (typeof module?.StatementSync.prototype.iterate !== 'function') return undefined
  const { DatabaseSync } = module
  return (file) => new DatabaseSync(file)
}

function isSound(version: string | undefined): boolean {
  const [major = 0, minor = 0, patch = 0] = (version ?? '').split('.').map(Number)
  return major > 3 || (major === 3 && (minor > 51 || (minor === 51 && patch >= 3)))
}

/** The part of `node:sqlite` used here, which the types of Node 20 do not have. */
interface NodeSqlite {
  readonly DatabaseSync: new (file: string) => SqliteDatabase
  readonly StatementSync: { readonly prototype: { readonly iterate?: unknown } }
}
