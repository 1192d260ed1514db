import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isMnemeError, OpenError, StoreFailedError } from '../../base/errors.ts'
import { defaultDriver, type SqliteDatabase, type SqliteStatement } from './driver.ts'
import { prepareAny, SELECT_EVENTS } from './rows.ts'
import { faultOf, isBusy, isNoDatabase, isReadOnly, retryBusy } from './errors.ts'
import { identityOf, migrate, VERSION, versionOf } from './schema.ts'
import { History } from './history.ts'
import { MEMORY, type OpenSettings, realPath } from './options.ts'

/**
 * The one connection that a process has to a file, with its statements prepared. Each use of it is synchronous, so no
 * use sees the transaction of another.
 */
export class Connection {
  readonly identity: string
  readonly sql: Statements
  /** Confirms that the file still holds the history that this process knows. */
  readonly history: History
  /** Revisions that streams have reached in the known history. */
  readonly knownHeads = new Map<string, number>()
  /** The driver's database, for work that the write queue runs in a transaction. */
  readonly database: SqliteDatabase
  readonly #filtered = new Map<string, SqliteStatement>()
  /** Set while a transaction that failed could not be ended: nothing may be read or written in it. */
  #isStuck = false

  /**
   * @param path of the file; `undefined` for a database in memory.
   * @throws what the driver throws.
   */
  constructor(database: SqliteDatabase, path: string | undefined) {
    this.database = database
    this.history = new History(path)
    this.identity = identityOf(database)
    this.sql = prepare(database)
  }

  /** Prepares a statement once; those asked for are few, because lists go in as one JSON parameter. */
  prepare(sql: string): SqliteStatement {
    let statement = this.#filtered.get(sql)
    if (!statement) this.#filtered.set(sql, (statement = prepareAny(this.database, sql)))
    return statement
  }

  /** @throws StoreFailedError while a failed transaction cannot be ended. */
  ensureNoTransaction(): void {
    if (this.#isStuck) this.endTransaction()
    if (this.#isStuck) throw new StoreFailedError('SQLite failed: a transaction could not be rolled back')
  }

  /** Whether a transaction is open; `true` if the driver does not say. */
  isInTransaction(): boolean {
    return this.database.inTransaction ?? this.database.isTransaction ?? true
  }

  /** Ends a failed transaction, if SQLite has not done so itself (as it does on a full disk). */
  endTransaction(): void {
    const { inTransaction, isTransaction } = this.database
    if ((inTransaction ?? isTransaction) === false) {
      this.#isStuck = false
      return
    }
    try {
      this.sql.rollback.run()
      this.#isStuck = false
    } catch (error) {
      const isOpen = this.database.inTransaction ?? this.database.isTransaction
      // A driver that does not say whether a transaction is open fails if there is none to roll back.
      this.#isStuck =
        isOpen ?? !String((error as Partial<Error>).message).includes('no transaction is active')
    }
  }

  /**
   * Commits a change after a failed commit, to overwrite it. If the log could not be synced, all of the failed commit may
   * be in it, and a process that opens the file after a crash would take it for committed.
   *
   * @throws what the driver throws; it is then still in doubt what the log holds.
   */
  overwriteFailedCommit(): void {
    this.ensureNoTransaction()
    this.sql.overwriteFailedCommit.run()
  }

  /**
   * Reads, and turns the driver's errors into Mneme's, except that of a busy file: `retryBusy` handles it.
   *
   * @throws StoreFailedError
   */
  reading<T>(read: (sql: Statements) => T): T {
    this.ensureNoTransaction()
    try {
      return read(this.sql)
    } catch (error) {
      throw isBusy(error) ? error : faultOf(error)
    }
  }

  /** @throws StoreFailedError */
  close(): void {
    try {
      this.database.close()
    } catch (error) {
      throw faultOf(error)
    }
  }
}

/** The statements that every store needs. */
export type Statements = Readonly<Record<keyof typeof SQL, SqliteStatement>>

const SQL = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT mneme_work',
  rollbackTo: 'ROLLBACK TO mneme_work',
  releaseSavepoint: 'RELEASE mneme_work',
  head: 'SELECT max(revision) AS revision FROM mneme_events WHERE stream = ?',
  firstFrom: 'SELECT version FROM mneme_events WHERE stream = ? AND revision >= ? ORDER BY revision LIMIT 1',
  logHead: 'SELECT max(position) AS position FROM mneme_events',
  idAt: 'SELECT id FROM mneme_events WHERE position = ?',
  dataVersion: 'PRAGMA data_version',
  insertAfter:
    'INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) ' +
    'SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE (SELECT id FROM mneme_events WHERE position = ?) = ?',
  insert:
    'INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) ' +
    'VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  at: 'SELECT position, id, version FROM mneme_events WHERE stream = ? AND revision = ?',
  key: 'SELECT fingerprint, position, count, heads FROM mneme_keys WHERE key = ?',
  overwriteFailedCommit:
    "INSERT INTO mneme_meta (name, value) VALUES ('superseded', '1') " +
    'ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1',
  insertKey: 'INSERT INTO mneme_keys (key, fingerprint, position, count, heads) VALUES (?, ?, ?, ?, ?)',
  snapshot: 'SELECT revision, id, content FROM mneme_snapshots WHERE stream = ? AND name = ?',
  putSnapshot:
    'INSERT INTO mneme_snapshots (stream, name, revision, id, content) ' +
    'SELECT stream, ?, revision, id, ? FROM mneme_events ' +
    'WHERE stream = ? AND revision = ? AND id = ? AND version > 0 ' +
    'ON CONFLICT (stream, name) DO UPDATE SET ' +
    'revision = excluded.revision, id = excluded.id, content = excluded.content',
  deleteSnapshots: 'DELETE FROM mneme_snapshots WHERE stream = ?',
  listSnapshots: 'SELECT stream FROM mneme_snapshots WHERE name = ? AND stream > ? ORDER BY stream LIMIT ?',
  stored: `${SELECT_EVENTS} WHERE position >= ? AND position < ? ORDER BY position`,
}

function prepare(database: SqliteDatabase): Statements {
  const entries = Object.entries(SQL).map(([name, sql]) => [name, prepareAny(database, sql)])
  return Object.fromEntries(entries) as Statements
}

/**
 * The real path of a database file, after checking that the file system lets it be opened. The check does not open the
 * file: closing it again would drop the locks that SQLite has on it in this process.
 *
 * @throws OpenError
 */
export function realFile(location: string): string {
  let path: string
  try {
    path = realPath(location)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ENOENT' && (cause as { code?: unknown }).code !== 'ENOTDIR') {
      throw cannotOpen(location, cause)
    }
    throw new OpenError('missing-folder', `the folder of ${location} does not exist: create it`, { cause })
  }
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats?.isDirectory()) throw new OpenError('not-a-database', `${location} is a folder`)
  try {
    // SQLite keeps its log beside the file.
    for (const needed of stats ? [path, dirname(path)] : [dirname(path)]) {
      accessSync(needed, constants.R_OK | constants.W_OK)
    }
  } catch (cause) {
    throw new OpenError('read-only', `cannot write ${location}: make the file and its folder writable`, {
      cause,
    })
  }
  return path
}

/**
 * Opens a database, made and migrated if need be.
 *
 * @throws OpenError, StoreBusyError
 */
export async function openConnection(path: string, settings: OpenSettings): Promise<Connection> {
  const driver = settings.driver ?? (await defaultDriver())
  let database: SqliteDatabase | undefined
  try {
    // A driver makes a file that is missing.
    if (settings.mayMigrate === false && path !== MEMORY && !existsSync(path))
      throw new OpenError('no-store', `${path} does not exist`)
    const opened = (database = driver(path))
    return await retryBusy(() => setUp(opened, path, settings), settings.busyTimeout)
  } catch (error) {
    close(database)
    throw cannotOpen(path, error)
  }
}

/** Repeated from its beginning if another process holds the lock. */
function setUp(
  database: SqliteDatabase,
  path: string,
  { synchronous, mayMigrate }: OpenSettings,
): Connection {
  // Waiting inside the driver would block the event loop; Mneme retries by itself.
  database.exec('PRAGMA busy_timeout = 0')
  // Checked before anything is written: it is a database, and its schema is known.
  const version = versionOf(database)
  if (mayMigrate === false && version < VERSION) throw notMigrated(path, version)
  const { journal_mode: mode } = database.prepare('PRAGMA journal_mode = WAL').get() as {
    journal_mode: string
  }
  if (mode !== 'wal' && mode !== 'memory') {
    throw new OpenError(
      'failed',
      `SQLite cannot keep a write-ahead log there (journal mode ${mode}): use a local disk`,
    )
  }
  database.exec(
    `PRAGMA synchronous = ${synchronous}; PRAGMA wal_autocheckpoint = ${String(CHECKPOINT_PAGES)}`,
  )
  // A page that is divided must keep no copy of what moved to another one, or it could not be erased.
  database.exec('PRAGMA secure_delete = FAST')
  migrate(database)
  return new Connection(database, path === MEMORY ? undefined : path)
}

function notMigrated(path: string, version: number): OpenError {
  if (version === 0) return new OpenError('no-store', `${path} holds no store of Mneme`)
  const needed = `this version of Mneme needs schema ${String(VERSION)}`
  return new OpenError(
    'outdated-schema',
    `${path} has schema ${String(version)}, ${needed}: open it with migrate: true`,
  )
}

function cannotOpen(path: string, cause: unknown): unknown {
  if (isMnemeError(cause)) return cause
  if (isNoDatabase(cause))
    return new OpenError('not-a-database', `${path} is not a SQLite database`, { cause })
  if (isReadOnly(cause))
    return new OpenError('read-only', `cannot write ${path}: make the file and its folder writable`, {
      cause,
    })
  return new OpenError('failed', `could not open ${path}: see the cause`, { cause })
}

function close(database: SqliteDatabase | undefined): void {
  try {
    database?.close()
  } catch {
    // The error to report is why it could not be opened.
  }
}

/** Pages in the log before a commit moves them into the file; that commit takes longer. */
const CHECKPOINT_PAGES = 1000
