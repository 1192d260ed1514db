import { checkOptions } from '../../base/arguments.ts'
import { InvalidArgumentError, StoreClosedError } from '../../base/errors.ts'
import {
  causesOf,
  HandlerMisuse,
  type ProjectionTarget,
  refusedQuery,
  type TargetQuery,
  type TargetRow,
  type TargetStep,
  type TargetSteps,
  transactionEnded,
  type TargetValue,
} from '../../adapter/projection-target.ts'
import { HandlerHandle } from '../../adapter/handler-handle.ts'
import { faultOf, isBusy, isOfFile, isOfQuery, isReadOnly, retryBusy } from './errors.ts'
import type { Connection } from './connection.ts'
import type { SqliteDatabase } from './driver.ts'
import { checkFileOptions, type FileOptions, type OpenSettings, parseLocation } from './options.ts'
import { openShared, type SharedFile } from './shared-file.ts'

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
  options: FileOptions<Database> = {},
): ProjectionTarget<Database> {
  checkOptions(options, 'options', ['driver', 'synchronous', 'busyTimeout'])
  return new SqliteTarget<Database>(parseLocation(location), checkFileOptions(options))
}

class SqliteTarget<Database extends SqliteDatabase> implements ProjectionTarget<Database> {
  readonly dialect = 'sqlite'
  readonly #path: string
  readonly #settings: OpenSettings
  #file: Promise<SharedFile> | undefined
  #handler: { readonly of: SqliteDatabase; readonly is: HandlerHandle<Database> } | undefined
  #isClosed = false

  constructor(path: string, settings: OpenSettings) {
    this.#path = path
    this.#settings = settings
  }

  async transaction<T>(
    work: (tx: Database, rows: readonly TargetRow[]) => TargetSteps<T>,
    _idleTimeout: number,
    first?: TargetQuery,
  ): Promise<T> {
    const { connection, queue } = await this.#open()
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
    const { connection } = await this.#open()
    const ask = () => askUsersQuery(connection, sql, values) as readonly object[] as readonly Row[]
    return retryBusy(() => connection.reading(ask), this.#settings.busyTimeout)
  }

  async read<T>(work: () => TargetSteps<T>): Promise<T> {
    const { connection } = await this.#open()
    const query = (asked: TargetQuery) => rowsOf(connection, asked)
    return retryBusy(() => connection.reading(() => runAll(work(), query)), this.#settings.busyTimeout)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const file = this.#file
    this.#file = undefined
    await (await file)?.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #open(): Promise<SharedFile> {
    if (this.#isClosed) throw new StoreClosedError()
    this.#file ??= openShared(this.#path, this.#settings).catch((error: unknown) => {
      // The next call opens it again.
      this.#file = undefined
      throw error
    })
    return this.#file
  }
}

function thrown(error: Error): never {
  throw error
}

/** Runs steps to their end, synchronously. @throws what a step throws; a failure of the file as one of Mneme's errors. */
function runAll<T>(steps: TargetSteps<T>, query: (asked: TargetQuery) => TargetRow[]): T {
  try {
    let step = steps.next()
    while (!step.done) {
      step = 'sql' in step.value ? steps.next(query(step.value)) : refuse(steps, step.value.returned)
    }
    return step.value
  } catch (error) {
    // Also if a handler, or its query builder, has wrapped it.
    const fault = [...causesOf(error)].find(isOfFile)
    if (fault === undefined) throw error
    throw isBusy(fault) ? (fault as Error) : faultOf(fault)
  }
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

function rowsOf(connection: Connection, { sql, values }: TargetQuery): TargetRow[] {
  const { text, order, givesRows } = translate(sql)
  const inOrder = order.map((n) => values[n - 1] ?? null)
  try {
    const statement = connection.prepare(text)
    // better-sqlite3 throws if a statement that returns no rows is asked for them.
    if (givesRows) return statement.all(...inOrder) as TargetRow[]
    statement.run(...inOrder)
    return []
  } catch (error) {
    throw isBusy(error) ? error : faultOf(error)
  }
}

/** Rows of node:sqlite have no prototype, which shows when they are printed or compared. */
function plainRow(row: unknown): TargetRow {
  return { ...(row as TargetRow) }
}

/** A query in SQLite's SQL. The drivers share no form of numbered parameters: values are passed in the order of use. */
function translate(sql: string): Translation {
  let translation = translations.get(sql)
  if (!translation) {
    const order: number[] = []
    const text = sql.replace(WORDS, (word, parameter?: string) => {
      if (parameter === undefined) return TEXTS[word] ?? word
      order.push(Number(parameter))
      return '?'
    })
    translation = { text, order, givesRows: /^\s*SELECT|\bRETURNING\b/.test(text) }
    translations.set(sql, translation)
  }
  return translation
}

interface Translation {
  readonly text: string
  readonly order: readonly number[]
  readonly givesRows: boolean
}

/** Only Mneme's own queries, so it stays small. */
const translations = new Map<string, Translation>()

/** Refuses a promise: it would be settled after the end of the transaction. */
function refuse<T>(steps: TargetSteps<T>, returned: unknown): IteratorResult<TargetStep, T> {
  // Its rejection must not become an unhandled one.
  Promise.resolve(returned).catch(() => undefined)
  return steps.throw(new HandlerMisuse('synchronous, as everything is in SQLite, but it returned a promise'))
}

const WORDS = /\$(\d+)|\b(?:NOW|STANDS|PINNED|CLAIMED|PROJECTIONS|PARKED|TIMERS|VERSIONS)\b/g

const TEXTS: Readonly<Record<string, string | undefined>> = {
  // An ended transaction is noticed before the query.
  STANDS: '1',
  // A write transaction excludes all other writers.
  PINNED: '',
  CLAIMED: '',
  NOW: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
  PROJECTIONS: 'mneme_projections',
  PARKED: 'mneme_parked',
  TIMERS: 'mneme_timers',
  VERSIONS: 'mneme_projection_versions',
}
