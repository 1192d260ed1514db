import { environment } from '../../base/environment.ts'
import { transactionEnded } from '../../adapter/projection-target.ts'
import { OutcomeUnknownError, StoreFailedError } from '../../base/errors.ts'
import type { SqliteStatement } from './driver.ts'
import type { Connection } from './connection.ts'
import { faultOf, isTaken } from './errors.ts'

/** The outcome of the first of the works that were given. */
export type WorksOutcome =
  | { readonly kind: 'done'; readonly outcomes: readonly WorkOutcome[] }
  /** SQLite failed before any work began. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** The outcome of one work. */
type WorkOutcome =
  | { readonly kind: 'committed'; readonly value: unknown }
  /** It threw this error, and its writes were undone. */
  | { readonly kind: 'threw'; readonly error: unknown }

/**
 * Does works in one transaction that holds SQLite's write lock from its beginning: all of them, or as many as fit into
 * `MAX_WORK_MS`. They share one wait for the disk and nothing else: an error undoes only the work that threw it.
 *
 * Works may be done twice: if COMMIT is refused by a constraint, it does not say whose.
 */
export function commitWorks(connection: Connection, works: readonly (() => unknown)[]): WorksOutcome {
  const { sql } = connection
  try {
    connection.ensureNoTransaction()
    connection.history.ensureFile()
    sql.begin.run()
  } catch (error) {
    connection.endTransaction()
    return { kind: 'failed', error }
  }
  const outcomes: WorkOutcome[] = []
  const started = environment.now()
  let isCommitting = false
  try {
    for (const work of works) {
      outcomes.push(within(connection, work))
      if (environment.now() - started > MAX_WORK_MS) break
    }
    if (outcomes.some(isCommitted)) {
      isCommitting = true
      sql.commit.run()
    } else connection.endTransaction()
    return { kind: 'done', outcomes }
  } catch (error) {
    const wasCommitting = isCommitting && connection.isInTransaction()
    connection.endTransaction()
    if (!wasCommitting) return { kind: 'done', outcomes: [...outcomes.map(lost), { kind: 'threw', error }] }
    // A constraint that is checked at COMMIT was broken by one of the works.
    if (isTaken(error) && outcomes.length > 1) return commitWorks(connection, works.slice(0, 1))
    const reason = isTaken(error) ? error : overwritten(connection, error)
    return {
      kind: 'done',
      outcomes: outcomes.map((one) => (isCommitted(one) ? { kind: 'threw', error: reason } : one)),
    }
  }
}

/**
 * Does a work in a savepoint, which undoes it alone, and which is gone if the work ended the transaction, also if it began
 * another one.
 *
 * @throws if the transaction is gone, with everything that was done in it.
 */
function within(connection: Connection, work: () => unknown): WorkOutcome {
  const { savepoint, rollbackTo, releaseSavepoint } = connection.sql
  savepoint.run()
  let outcome: WorkOutcome
  try {
    outcome = { kind: 'committed', value: work() }
  } catch (error) {
    if (!connection.isInTransaction()) throw error
    inSavepoint(rollbackTo)
    outcome = { kind: 'threw', error }
  }
  if (!connection.isInTransaction()) throw transactionEnded()
  inSavepoint(releaseSavepoint)
  return outcome
}

/** @throws HandlerMisuse if there is no such savepoint any more. */
function inSavepoint(statement: SqliteStatement): void {
  try {
    statement.run()
  } catch (error) {
    throw String((error as Partial<Error>).message).includes('no such savepoint') ? transactionEnded() : error
  }
}

/** If the log could not be synced, a crash might bring the works back, so they are overwritten first. */
function overwritten(connection: Connection, error: unknown): Error {
  try {
    connection.overwriteFailedCommit()
    return faultOf(error)
  } catch (cause) {
    const message =
      'COMMIT failed, and the log could not be overwritten: read back whether the changes are there'
    return new OutcomeUnknownError(message, { cause })
  }
}

function isCommitted(outcome: WorkOutcome): boolean {
  return outcome.kind === 'committed'
}

/** Work beside one that ended the transaction was undone, or committed, with it. */
function lost(outcome: WorkOutcome): WorkOutcome {
  if (!isCommitted(outcome)) return outcome
  const message =
    'another handler ended the transaction: read back whether the changes are there, and do them again if not'
  return { kind: 'threw', error: new StoreFailedError(message) }
}

/** Milliseconds for which several works may hold the write lock; a single one may take longer. */
const MAX_WORK_MS = 10
