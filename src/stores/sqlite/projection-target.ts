import { checkBoolean, checkOptions } from '../../base/arguments.ts'
import { InvalidArgumentError } from '../../base/errors.ts'
import { FirstUse } from '../../base/first-use.ts'
import {
  type ProjectionTarget,
  refusedQuery,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
  transactionEnded,
  type TargetValue,
} from '../../adapter/projection-target.ts'
import { HandlerHandle } from '../../adapter/handler-handle.ts'
import { isOfQuery, isReadOnly, retryBusy } from './errors.ts'
import type { Connection } from './connection.ts'
import type { SqliteDatabase, SqliteDriver } from './driver.ts'
import { checkFileOptions, type FileOptions, type OpenSettings, parseLocation } from './options.ts'
import { openShared } from './shared-file.ts'
import { vacuum } from './forgetting.ts'
import { rowsOf, runAll } from './target-steps.ts'

/** A SQLite file that holds read models. */
export interface SqliteTarget<
  Database extends SqliteDatabase = SqliteDatabase,
> extends ProjectionTarget<Database> {
  /**
   * Writes the file anew, without the bytes of what handlers have deleted or replaced, and empties its write-ahead log. The
   * event loop stands still meanwhile. Call it once the projections have passed an erasure.
   *
   * @throws StoreFailedError if another process is in the way for longer than `busyTimeout`; call it again then.
   */
  vacuum(): Promise<void>
}

/**
 * Keeps read models in a SQLite file: that of the store, or another one. The file is opened at the first use.
 *
 * Handlers are synchronous. They are given the driver's database, in a transaction that they must not end; once they have
 * returned, it refuses every call. Projections and
 * a store on the same file write through one queue in each process.
 *
 * @param location as for `sqliteStore`.
 * @throws InvalidArgumentError if an argument is wrong.
 * @example
 * ```ts
 * const readModels = sqliteTarget('bank.db')
 * ```
 */
export function sqliteTarget<Database extends SqliteDatabase = SqliteDatabase>(
  location: string,
  options: SqliteTargetOptions<Database> = {},
): SqliteTarget<Database> {
  const { migrate = true } = checkOptions(options, 'options', [
    'driver',
    'synchronous',
    'busyTimeout',
    'migrate',
  ])
  checkBoolean(migrate, 'options.migrate')
  return new TargetFile<Database>(parseLocation(location), {
    ...checkFileOptions(options),
    mayMigrate: migrate,
  })
}

/** Options of `sqliteTarget`. */
export interface SqliteTargetOptions<
  Database extends SqliteDatabase = SqliteDatabase,
> extends FileOptions<Database> {
  /** Whether the file and Mneme's tables may be made, and brought up to date; if not, `OpenError` says so. Default: `true`. */
  readonly migrate?: boolean | undefined
}

/** The driver that a target was made with, if it was given one. */
export function driverOf(target: ProjectionTarget<unknown>): SqliteDriver | undefined {
  return target instanceof TargetFile ? target.driver : undefined
}

class TargetFile<Database extends SqliteDatabase> implements SqliteTarget<Database> {
  readonly dialect = 'sqlite'
  readonly #path: string
  readonly #settings: OpenSettings
  readonly #file = new FirstUse(() => openShared(this.#path, this.#settings))
  #handler: { readonly of: SqliteDatabase; readonly is: HandlerHandle<Database> } | undefined

  constructor(path: string, settings: OpenSettings) {
    this.#path = path
    this.#settings = settings
  }

  get migrate(): boolean {
    return this.#settings.mayMigrate !== false
  }

  get driver(): SqliteDriver | undefined {
    return this.#settings.driver
  }

  async transaction<T>(
    work: (tx: Database, rows: readonly TargetRow[]) => TargetSteps<T>,
    _idleTimeout: number,
    first?: TargetQuery,
  ): Promise<T> {
    const { connection, queue } = await this.#file.get()
    const handler = this.#handlerOf(connection)
    const query = (asked: TargetQuery) => {
      handler.endIterators()
      if (!connection.isInTransaction()) throw transactionEnded()
      return rowsOf(connection, asked)
    }
    return queue.write(() => {
      handler.open()
      try {
        return runAll(work(handler.handle, first ? query(first) : []), query)
      } finally {
        handler.close()
      }
    }, this.#settings.busyTimeout)
  }

  async change(query: TargetQuery): Promise<readonly TargetRow[]> {
    const { connection, queue } = await this.#file.get()
    return queue.write(() => rowsOf(connection, query), this.#settings.busyTimeout)
  }

  /** One for all transactions, so that a handler can keep statements from one call to the next. */
  #handlerOf({ database }: Connection): HandlerHandle<Database> {
    if (this.#handler?.of !== database) {
      // The options' driver made it; a shared file is only joined with the same driver.
      this.#handler = { of: database, is: new HandlerHandle(database as Database, thrown) }
    }
    return this.#handler.is
  }

  async query<Row extends object = TargetRow>(
    sql: string,
    values: readonly TargetValue[] = [],
  ): Promise<readonly Row[]> {
    const { connection } = await this.#file.get()
    const ask = () => askUsersQuery(connection, sql, values) as readonly object[] as readonly Row[]
    return retryBusy(() => connection.reading(ask), this.#settings.busyTimeout)
  }

  async read<T>(work: () => TargetSteps<T>): Promise<T> {
    const { connection } = await this.#file.get()
    const query = (asked: TargetQuery) => rowsOf(connection, asked)
    return retryBusy(() => connection.reading(() => runAll(work(), query)), this.#settings.busyTimeout)
  }

  async vacuum(): Promise<void> {
    const { connection } = await this.#file.get()
    await vacuum(connection, this.#settings.busyTimeout)
  }

  async close(): Promise<void> {
    await (await this.#file.end())?.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function thrown(error: Error): never {
  throw error
}

/** @throws InvalidArgumentError if the query is wrong or writes; what the driver throws if the file failed. */
function askUsersQuery(
  connection: Connection,
  sql: string,
  values: readonly TargetValue[],
): readonly TargetRow[] {
  const { database } = connection
  try {
    const statement = database.prepare(sql)
    if (statement.readonly === false) throw onlyReads()
    const read = () => statement.all(...values).map(plainRow)
    // No SELECT writes: it is spared the setting, after which SQLite prepares every statement of the connection anew.
    const isKnownToRead = statement.readonly === true || /^\s*SELECT\b/i.test(sql)
    const rows = isKnownToRead ? read() : withoutWrites(database, read)
    if (database.inTransaction ?? database.isTransaction) {
      connection.endTransaction()
      throw onlyReads()
    }
    return rows
  } catch (error) {
    throw isOfQuery(error) ? refusedQuery('SQLite', (error as Error).message, error) : error
  }
}

/** Reads with a connection that refuses to write meanwhile. */
function withoutWrites<T>(database: SqliteDatabase, read: () => T): T {
  database.exec('PRAGMA query_only = ON')
  try {
    return read()
  } catch (error) {
    throw isReadOnly(error) ? onlyReads(error) : error
  } finally {
    database.exec('PRAGMA query_only = OFF')
  }
}

function onlyReads(cause?: unknown): InvalidArgumentError {
  const message = "query only reads, but this statement writes: write in a projection's handlers"
  return new InvalidArgumentError('sql', { message }, { cause })
}

/** Rows of node:sqlite have no prototype, which shows when they are printed or compared. */
function plainRow(row: unknown): TargetRow {
  return { ...(row as TargetRow) }
}
