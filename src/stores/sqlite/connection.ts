import { StoreFailedError } from '../../base/errors.ts'
import type { SqliteDatabase, SqliteStatement } from './driver.ts'
import { prepareAny, SELECT_EVENTS } from './rows.ts'
import { faultOf, isBusy } from './errors.ts'
import { identityOf } from './schema.ts'

/**
 * The one connection that a process has to a file, with its statements prepared. Whatever uses it is done when
 * it returns, so nobody sees another's transaction.
 */
export class Connection {
  readonly identity: string
  readonly sql: Statements
  /** Revisions that streams are known to have reached: committed ones, so that they never fall below. */
  readonly reached = new Map<string, number>()
  /** What others use of it in their own transactions, in the write queue's turn. */
  readonly database: SqliteDatabase
  readonly #filtered = new Map<string, SqliteStatement>()
  /** Set while a transaction that failed could not be ended: nothing may be read or written in it. */
  #isStuck = false

  /** @throws what the driver throws. */
  constructor(database: SqliteDatabase) {
    this.database = database
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

  /** Whether a transaction is open; `true` where the driver does not say. */
  isInTransaction(): boolean {
    return this.database.inTransaction ?? this.database.isTransaction ?? true
  }

  /** Ends a transaction that failed, if SQLite has not done so itself (as it does on a full disk). */
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
      // A driver that does not say whether a transaction is open says so when there is none to roll back.
      this.#isStuck =
        isOpen ?? !String((error as Partial<Error>).message).includes('no transaction is active')
    }
  }

  /**
   * Commits a change, after a commit that failed. Where the log could not be synced, all of that commit may lie
   * in it, and a process that opens the file after a crash would take it for good; this overwrites it.
   *
   * @throws what the driver throws; what lies in the log is then still in doubt.
   */
  supersede(): void {
    this.ensureNoTransaction()
    this.sql.supersede.run()
  }

  /**
   * Reads, with the driver's errors made Mneme's; that of a busy file is left for `retryBusy`.
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
  logHead: 'SELECT max(position) AS position FROM mneme_events',
  idAt: 'SELECT id FROM mneme_events WHERE position = ?',
  dataVersion: 'PRAGMA data_version',
  insert:
    'INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) ' +
    'VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  at: 'SELECT position, id FROM mneme_events WHERE stream = ? AND revision = ?',
  key: 'SELECT fingerprint, position, count, heads FROM mneme_keys WHERE key = ?',
  supersede:
    "INSERT INTO mneme_meta (name, value) VALUES ('superseded', '1') " +
    'ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1',
  insertKey: 'INSERT INTO mneme_keys (key, fingerprint, position, count, heads) VALUES (?, ?, ?, ?, ?)',
  stored: `${SELECT_EVENTS} WHERE position >= ? AND position < ? ORDER BY position`,
}

function prepare(database: SqliteDatabase): Statements {
  const entries = Object.entries(SQL).map(([name, sql]) => [name, prepareAny(database, sql)])
  return Object.fromEntries(entries) as Statements
}
