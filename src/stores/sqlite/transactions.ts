import { OutcomeUnknownError, StoreFailedError } from '../../base/errors.ts'
import type { Connection } from './connection.ts'
import { faultOf, isTaken } from './errors.ts'

/** What became of works: of the first that were given. */
export type WorksOutcome =
  | { readonly kind: 'done'; readonly outcomes: readonly WorkOutcome[] }
  /** SQLite failed before any of it was done. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** What became of one. */
type WorkOutcome =
  | { readonly kind: 'committed'; readonly value: unknown }
  /** It threw this, and nothing that it did counts. */
  | { readonly kind: 'threw'; readonly error: unknown }

/**
 * Does works in a transaction, under SQLite's write lock from its beginning: as many as there are, but for no longer
 * than others can wait. They share one wait for the disk, and nothing else: what one throws undoes that one.
 *
 * Each may be done twice, where it cannot be told which of them was refused when they were committed.
 */
export function commitWorks(connection: Connection, works: readonly (() => unknown)[]): WorksOutcome {
  const { sql } = connection
  try {
    connection.ensureNoTransaction()
    sql.begin.run()
  } catch (error) {
    connection.endTransaction()
    return { kind: 'failed', error }
  }
  const outcomes: WorkOutcome[] = []
  const started = performance.now()
  try {
    for (const work of works) {
      outcomes.push(works.length === 1 ? alone(connection, work) : within(connection, work))
      if (performance.now() - started > LONGEST) break
    }
    if (outcomes.some(isCommitted)) sql.commit.run()
    else connection.endTransaction()
    return { kind: 'done', outcomes }
  } catch (error) {
    const wasCommitting = connection.isInTransaction() && outcomes.some(isCommitted)
    connection.endTransaction()
    if (!wasCommitting) return { kind: 'done', outcomes: [...outcomes.map(lost), { kind: 'threw', error }] }
    // A constraint that is checked at the end is the work's own doing: of one of them.
    if (isTaken(error) && outcomes.length > 1) return commitWorks(connection, works.slice(0, 1))
    const reason = isTaken(error) ? error : overwritten(connection, error)
    return {
      kind: 'done',
      outcomes: outcomes.map((one) => (isCommitted(one) ? { kind: 'threw', error: reason } : one)),
    }
  }
}

/** Does the one work that there is. @throws what it throws. */
function alone(connection: Connection, work: () => unknown): WorkOutcome {
  const value = work()
  assertStands(connection)
  return { kind: 'committed', value }
}

/** Does one of several. @throws where the transaction is gone, with all that was done in it. */
function within(connection: Connection, work: () => unknown): WorkOutcome {
  const { savepoint, rollbackTo, releaseSavepoint } = connection.sql
  savepoint.run()
  let outcome: WorkOutcome
  try {
    outcome = { kind: 'committed', value: work() }
  } catch (error) {
    if (!connection.isInTransaction()) throw error
    rollbackTo.run()
    outcome = { kind: 'threw', error }
  }
  assertStands(connection)
  releaseSavepoint.run()
  return outcome
}

/** What was written outside of the transaction is committed already, and must not pass for done. */
function assertStands(connection: Connection): void {
  if (connection.isInTransaction()) return
  throw new StoreFailedError('the transaction was ended in the middle of the work, which must leave it open')
}

/** Where the log could not be synced, a crash might bring the works back: they are overwritten first. */
function overwritten(connection: Connection, error: unknown): Error {
  try {
    connection.supersede()
    return faultOf(error)
  } catch (cause) {
    const message = 'COMMIT failed, and what is in the log could not be overwritten'
    return new OutcomeUnknownError(message, { cause })
  }
}

function isCommitted(outcome: WorkOutcome): boolean {
  return outcome.kind === 'committed'
}

/** What was done beside work that has ended the transaction is undone with it, or was committed by it. */
function lost(outcome: WorkOutcome): WorkOutcome {
  if (!isCommitted(outcome)) return outcome
  const message = 'other work ended the transaction: look what became of this one, and do it again'
  return { kind: 'threw', error: new StoreFailedError(message) }
}

/** Milliseconds for which works may keep everybody else from writing; one alone may take longer. */
const LONGEST = 10
