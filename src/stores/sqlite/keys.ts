import { checkOptions, checkWhole } from '../../base/arguments.ts'
import type { KeyEntry, KeyStore, Tombstone, WrappedKey } from '../../adapter/key-store.ts'
import { InvalidArgumentError, OpenError, quote } from '../../base/errors.ts'
import { FirstUse } from '../../base/first-use.ts'
import { realFile } from './connection.ts'
import { defaultDriver, type SqliteDatabase, type SqliteDriver } from './driver.ts'
import { faultOf, isBusy, retryBusy } from './errors.ts'
import { MEMORY, parseLocation, realPath } from './options.ts'

/** Options of {@link sqliteKeys}. */
export interface SqliteKeysOptions {
  /** Opens the database. Default: as for `sqliteStore`. */
  readonly driver?: SqliteDriver | undefined
  /** How many milliseconds a call waits while another process writes to the file. Default: 5,000 ms. */
  readonly busyTimeout?: number | undefined
}

/** A key store in a SQLite file. */
export interface SqliteKeys extends KeyStore {
  /** Closes the file. Close the stores that use it before. */
  close(): Promise<void>
}

/**
 * Keeps the keys of subjects in a SQLite file, for `keyRing` of `mneme/erasure`: a file of its own, which lies in no backup
 * together with the events. The file is made at the first use. A destroyed key is overwritten with zeros.
 *
 * @param location a path, `sqlite:keys.db` or a `file:///` URL.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const keys = sqliteKeys('keys.db')
 * ```
 */
export function sqliteKeys(location: string, options: SqliteKeysOptions = {}): SqliteKeys {
  checkOptions(options, 'options', ['driver', 'busyTimeout'])
  const { driver, busyTimeout = 5_000 } = options
  if (driver !== undefined && typeof (driver as unknown) !== 'function') {
    throw new InvalidArgumentError('options.driver', 'a function, like (file) => new Database(file)')
  }
  const path = parseLocation(location)
  if (path === MEMORY) {
    const message =
      'keys in memory would be lost when the program ends; give a file, or memoryKeys() in tests'
    throw new InvalidArgumentError('location', { message })
  }
  return new KeyFile(path, driver, checkWhole(busyTimeout, 'options.busyTimeout', 0))
}

/** Refuses a store in the file that holds its keys: one backup would hold both. @throws InvalidArgumentError */
export function refuseKeysIn(path: string, placeOfKeys: string | undefined): void {
  if (placeOfKeys === undefined || path === MEMORY || placeOfKeys !== placeOf(path)) return
  throw new InvalidArgumentError('personal', {
    message: `${path} holds the keys of personal data; keep the events in another file, in another backup`,
  })
}

function placeOf(path: string): string {
  try {
    return `sqlite:${realPath(path)}`
  } catch {
    // Its folder does not exist yet.
    return `sqlite:${path}`
  }
}

class KeyFile implements SqliteKeys {
  readonly #path: string
  readonly #driver: SqliteDriver | undefined
  readonly #busyTimeout: number
  readonly #database = new FirstUse(() => this.#open(), 'the key store is closed')

  constructor(path: string, driver: SqliteDriver | undefined, busyTimeout: number) {
    this.#path = path
    this.#driver = driver
    this.#busyTimeout = busyTimeout
  }

  get place(): string {
    return placeOf(this.#path)
  }

  get(subjects: readonly string[]): Promise<readonly KeyEntry[]> {
    return this.#use((database) => {
      const among = `${SELECT} WHERE subject IN (SELECT value FROM json_each(?))`
      return entriesOf(database.prepare(among).all(JSON.stringify(subjects)))
    })
  }

  put({ subject, key, wrappedBy }: WrappedKey, replaced?: WrappedKey): Promise<KeyEntry> {
    return this.#use((database) => {
      if (replaced) {
        const replace = `UPDATE ${TABLE} SET key = ?, wrapped_by = ? WHERE subject = ? AND key = ?`
        database.prepare(replace).run(key, wrappedBy, subject, replaced.key)
      } else {
        const insert = `INSERT INTO ${TABLE} (subject, key, wrapped_by) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
        database.prepare(insert).run(subject, key, wrappedBy)
      }
      return entryOf(database, subject)
    })
  }

  destroy({ subject, erasedAt }: Tombstone): Promise<Tombstone> {
    return this.#use((database) => {
      const destroy = `INSERT INTO ${TABLE} (subject, erased_at) VALUES (?, ?) ON CONFLICT (subject) DO UPDATE
        SET key = NULL, wrapped_by = NULL, erased_at = excluded.erased_at WHERE erased_at IS NULL`
      database.prepare(destroy).run(subject, erasedAt)
      return entryOf(database, subject) as Tombstone
    })
  }

  list(after = '', limit: number): Promise<readonly KeyEntry[]> {
    return this.#use((database) => {
      const page = `${SELECT} WHERE subject > ? ORDER BY subject LIMIT ?`
      return entriesOf(database.prepare(page).all(after, limit))
    })
  }

  async close(): Promise<void> {
    const database = await this.#database.end()?.catch(() => undefined)
    database?.close()
  }

  /** Each statement is a transaction of its own. */
  async #use<T>(work: (database: SqliteDatabase) => T): Promise<T> {
    const database = await this.#database.get()
    try {
      return await retryBusy(() => work(database), this.#busyTimeout)
    } catch (error) {
      throw isBusy(error) ? error : faultOf(error)
    }
  }

  async #open(): Promise<SqliteDatabase> {
    const driver = this.#driver ?? (await defaultDriver())
    const database = driver(realFile(this.#path))
    try {
      await retryBusy(() => {
        setUp(database, this.#path)
      }, this.#busyTimeout)
      return database
    } catch (error) {
      database.close()
      throw error
    }
  }
}

/**
 * No write-ahead log: it would keep a destroyed key until it is overwritten. What SQLite deletes it overwrites with zeros.
 *
 * @throws OpenError if the file holds a store.
 */
function setUp(database: SqliteDatabase, path: string): void {
  database.exec('PRAGMA busy_timeout = 0')
  const store = database.prepare(`SELECT name FROM sqlite_schema WHERE name = 'mneme_events'`).all()
  if (store.length > 0) {
    throw new OpenError(
      'failed',
      `${quote(path)} holds events; keep the keys in another file, in another backup`,
    )
  }
  database.exec('PRAGMA journal_mode = DELETE')
  database.exec('PRAGMA synchronous = FULL')
  database.exec('PRAGMA secure_delete = ON')
  database.exec(`CREATE TABLE IF NOT EXISTS ${TABLE} (
    subject TEXT PRIMARY KEY,
    key TEXT,
    wrapped_by TEXT,
    erased_at TEXT,
    CHECK ((key IS NULL) = (erased_at IS NOT NULL) AND (key IS NULL) = (wrapped_by IS NULL))
  ) WITHOUT ROWID`)
}

const TABLE = 'mneme_subject_keys'
const SELECT = `SELECT subject, key, wrapped_by, erased_at FROM ${TABLE}`

function entryOf(database: SqliteDatabase, subject: string): KeyEntry {
  return entriesOf(database.prepare(`${SELECT} WHERE subject = ?`).all(subject))[0]!
}

function entriesOf(rows: readonly unknown[]): KeyEntry[] {
  return (rows as readonly KeyRow[]).map(({ subject, key, wrapped_by: wrappedBy, erased_at: erasedAt }) =>
    erasedAt === null ? { subject, key: key!, wrappedBy: wrappedBy! } : { subject, erasedAt },
  )
}

interface KeyRow {
  readonly subject: string
  readonly key: string | null
  readonly wrapped_by: string | null
  readonly erased_at: string | null
}
