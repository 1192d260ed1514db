import { InvalidArgumentError } from '../base/errors.ts'
import { isGenerator, isThenable } from '../base/functions.ts'

/**
 * A database for read models: what a projection's handlers write, and its checkpoint, are committed there together. Made
 * by `sqliteTarget` or `postgresTarget`.
 */
export interface ProjectionTarget<Tx> {
  readonly dialect: 'sqlite' | 'postgres'
  /** Whether Mneme may make its tables there, and bring them up to date. Default: `true`. */
  readonly migrate?: boolean | undefined

  /**
   * Runs work in a transaction: all of it is committed when this resolves, or nothing. An error that the work throws is
   * thrown here; a failure of the database (unreachable, a deadlock, a full disk) is one of Mneme's errors.
   *
   * What `tx` does after its handler has returned, or the transaction has ended, is refused.
   *
   * On SQLite, work runs synchronously, and a handler must not return a promise. PostgreSQL ends a transaction that is idle
   * for `idleTimeout` milliseconds, for example because its process is halted.
   *
   * @param first a query that is sent together with the beginning of the transaction, which saves a round trip; the work is
   *   given its rows.
   * @throws StoreBusyError, StoreUnavailableError, StoreFailedError and so on
   */
  transaction<T>(
    work: (tx: Tx, rows: readonly TargetRow[]) => TargetSteps<T>,
    idleTimeout: number,
    first?: TargetQuery,
  ): Promise<T>

  /** Runs one of Mneme's own statements as a transaction of its own, in one round trip. @throws as `transaction` */
  change(query: TargetQuery): Promise<readonly TargetRow[]>

  /**
   * Runs your own query, in the database's own SQL, to read what projections have written. On SQLite, a
   * statement that writes is refused; on PostgreSQL, nothing but the rights of the role keeps it from writing.
   *
   * @typeParam Row the type of the rows, which is not checked at run time.
   * @throws InvalidArgumentError if the database refuses the SQL or its values: the message has what the database said;
   *   and if the statement writes, on SQLite.
   *   StoreBusyError, StoreUnavailableError, StoreFailedError and so on if the database failed.
   * @example
   * ```ts
   * const rows = await readModels.query<{ balance: number }>('SELECT balance FROM balances WHERE account = ?', ['alice'])
   * ```
   */
  query<Row extends object = TargetRow>(sql: string, values?: readonly TargetValue[]): Promise<readonly Row[]>

  /** Runs Mneme's own queries that only read, outside of a transaction. */
  read<T>(work: () => TargetSteps<T>): Promise<T>

  /** Closes its connections. Stop the projections that run in it first. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Work in a database, step by step, written once for synchronous and for asynchronous drivers: it yields a query and is
 * resumed with its rows, or yields what a handler returned and is resumed when that is settled.
 */
export type TargetSteps<T> = Generator<TargetStep, T, readonly TargetRow[]>

/** A query, or what a handler returned. */
export type TargetStep = TargetQuery | HandlerResult

/**
 * A query in the SQL that SQLite and PostgreSQL have in common. Parameters are `$1` and so on. These words are replaced:
 * `NOW` by the database's time in milliseconds since 1970, `STANDS` by whether the transaction is still open, `PINNED` and
 * `CLAIMED` by a shared and an exclusive lock on the rows, `PROJECTIONS`, `PARKED`, `TIMERS` and `VERSIONS` by Mneme's own tables,
 * `HOME` by their schema. In quotes, each is a literal.
 */
export interface TargetQuery {
  readonly sql: string
  readonly values: readonly TargetValue[]
}

/** What a handler returned, which may be a promise. */
export interface HandlerResult {
  readonly returned: unknown
}

/** A parameter of a query. */
export type TargetValue = string | number | null

/** A row, by the names of its columns. PostgreSQL returns large integers as text. */
export type TargetRow = Readonly<Record<string, unknown>>

/** Runs one query. */
export function* ask(sql: string, ...values: readonly TargetValue[]): TargetSteps<readonly TargetRow[]> {
  return yield { sql, values }
}

/** Waits for what a handler returned, if that is a promise. */
export function* settle(
  returned: unknown,
  deadline: { race(returned: PromiseLike<unknown>, what: string): unknown },
  what: string,
): TargetSteps<void> {
  if (isThenable(returned)) yield { returned: deadline.race(returned, what) }
  else checkRun(returned)
}

/** Refuses what a generator function returned: nothing of the handler has run. @throws HandlerMisuse */
export function checkRun(returned: unknown): void {
  if (!isGenerator(returned)) return
  throw new HandlerMisuse(
    'a function that does its work when it is called, but it returned a generator, of which nothing runs',
  )
}

const SOME_HANDLER = 'a handler of a projection'

/**
 * A handler broke its contract: it ended the transaction, or is asynchronous on SQLite. Part of what it wrote may have been
 * committed without the checkpoint, so a retry would make it worse.
 */
export class HandlerMisuse extends InvalidArgumentError {
  constructor(expected: string | { readonly message: string }) {
    super(SOME_HANDLER, expected)
  }

  /** The same error, which names the handler. */
  of(handler: string): HandlerMisuse {
    return new HandlerMisuse({ message: this.message.replace(SOME_HANDLER, handler) })
  }
}

/**
 * A handler did not settle in time. It may still run: its connection must not be used again, so that nothing that it
 * writes later counts.
 */
export class HandlerTimeoutError extends Error {
  /** @param what the handler, in words. @param option what sets the time-out. */
  constructor(what: string, timeout: number, option = "'handlerTimeout' of the projection") {
    super(
      `${what} did not settle within ${String(timeout)} ms: give its work a time-out of its own, or set ${option}`,
    )
    this.name = 'HandlerTimeoutError'
  }
}

/** The error for a handler that has ended the transaction. */
export function transactionEnded(): HandlerMisuse {
  return new HandlerMisuse(
    'one that leaves the transaction open: it was ended, so what was written may count twice. Then reset it',
  )
}

/** An error and its causes, outermost first: query builders wrap a driver's errors. */
export function* causesOf(error: unknown): Generator<unknown, void> {
  for (let [at, depth] = [error, 0]; at !== undefined && at !== null && depth < MAX_CAUSES; depth++) {
    yield at
    at = (at as { readonly cause?: unknown }).cause
  }
}

const MAX_CAUSES = 8

/** The error for a query of the user's own that can never succeed. @param said what the database said of it. */
export function refusedQuery(database: string, said: string, cause: unknown): InvalidArgumentError {
  const message = `${database} refused the query: ${said}; correct its SQL or its values`
  return new InvalidArgumentError('sql', { message }, { cause })
}
