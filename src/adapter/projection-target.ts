import { InvalidArgumentError } from '../base/errors.ts'

/**
 * A database that read models are kept in: what a projection writes, and how far it has come, are committed there
 * together. Made by `sqliteTarget` or `postgresTarget`.
 */
export interface ProjectionTarget<Tx> {
  readonly dialect: 'sqlite' | 'postgres'

  /**
   * Does work in a transaction: all of it is committed once it resolves, or nothing. Work that throws throws the same
   * here; what the database is to blame for (it cannot be had, a deadlock, a full disk) is one of Mneme's errors.
   *
   * In SQLite, work is done in one go, and what a handler returns must not be a promise. PostgreSQL ends a transaction
   * in which nothing is done for `patience` milliseconds, as where its process is stopped.
   *
   * @param first is asked along with the beginning of the transaction, which saves the way there and back; its rows are
   *   given to the work.
   * @throws StoreBusyError, StoreUnavailableError, StoreFailedError and so on
   */
  transaction<T>(
    work: (tx: Tx, rows: readonly TargetRow[]) => TargetSteps<T>,
    patience: number,
    first?: TargetQuery,
  ): Promise<T>

  /**
   * Runs a query of one's own, in the database's own SQL, to read what projections have written.
   *
   * @example
   * ```ts
   * const rows = await readModels.query('SELECT balance FROM balances WHERE account = ?', ['alice'])
   * ```
   */
  query(sql: string, values?: readonly TargetValue[]): Promise<readonly TargetRow[]>

  /** Runs Mneme's own queries that change nothing, each by itself. */
  read<T>(work: () => TargetSteps<T>): Promise<T>

  /** Gives back what it holds. Projections that run in it are to be stopped before. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Work in a database, step by step, written once for drivers that answer at once and for those that make one wait:
 * yields a query and goes on with its rows, or yields what a handler returned and goes on when that is settled.
 */
export type TargetSteps<T> = Generator<TargetStep, T, readonly TargetRow[]>

/** A query, or what a handler returned. */
export type TargetStep = TargetQuery | HandlerResult

/**
 * A query in the SQL that SQLite and PostgreSQL have in common. Parameters are `$1` and so on; `NOW` stands for the
 * database's time in milliseconds since 1970, `STANDS` for whether the transaction still does, `PINNED` and `CLAIMED`
 * for a lock on the rows (many may pin one, which keeps it from being claimed), `PROJECTIONS`, `PARKED` and `VERSIONS`
 * for Mneme's own tables, `HOME` for what they are in. In quotes, each is a literal.
 */
export interface TargetQuery {
  readonly sql: string
  readonly values: readonly TargetValue[]
}

/** What a handler returned: perhaps a promise. */
export interface HandlerResult {
  readonly returned: unknown
}

/** A parameter. */
export type TargetValue = string | number | null

/** A row by the names of its columns. PostgreSQL gives large integers as text. */
export type TargetRow = Readonly<Record<string, unknown>>

/** A query, as a step of its own. */
export function* ask(sql: string, ...values: readonly TargetValue[]): TargetSteps<readonly TargetRow[]> {
  return yield { sql, values }
}

/** Waits for what a handler returned, if it is something to wait for. */
export function* settle(returned: unknown): TargetSteps<void> {
  if (isThenable(returned)) yield { returned }
}

/**
 * A handler did what it must not: it ended the transaction, or is asynchronous in SQLite. Part of what it wrote may have
 * been committed without the checkpoint, so that trying again makes it worse.
 */
export class HandlerMisuse extends InvalidArgumentError {
  constructor(expected: string) {
    super('a handler of a projection', expected)
  }
}

/** A handler, or what it called, has ended the transaction. */
export function transactionEnded(): HandlerMisuse {
  return new HandlerMisuse(
    'one that leaves the transaction open: it was ended, so what was written may count twice. Then reset it',
  )
}

/** An error, and what caused it: tools wrap those of a driver. */
export function* causesOf(error: unknown): Generator<unknown, void> {
  for (let [at, depth] = [error, 0]; at !== undefined && at !== null && depth < DEEPEST; depth++) {
    yield at
    at = (at as { readonly cause?: unknown }).cause
  }
}

const DEEPEST = 8

/** Whether something is to be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
  )
}
