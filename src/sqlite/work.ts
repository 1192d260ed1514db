import { OutcomeUnknownError, StoreFailedError } from '../errors.ts'
import type { Connection } from './connection.ts'
import { faultOf, isTaken } from './faults.ts'

/** What became of work. */
export type WorkOutcome =
  /** Committed: what it returned. */
  | { readonly kind: 'committed'; readonly value: unknown }
  /** It threw this, and nothing was written. */
  | { readonly kind: 'threw'; readonly error: unknown }
  /** SQLite failed, and nothing was written. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** Does work in a transaction, under SQLite's write lock from its beginning. */
export function commitWork(connection: Connection, work: () => unknown): WorkOutcome {
  try {
    connection.ensureNoTransaction()
    connection.sql.begin.run()
  } catch (error) {
    connection.endTransaction()
    return { kind: 'failed', error }
  }
  let value: unknown
  try {
    value = work()
    // What was written outside of one is committed already, and must not pass for done.
    if (!connection.isInTransaction()) {
      throw new StoreFailedError('the transaction ended in the middle of the work: it may not be ended by it')
    }
  } catch (error) {
    connection.endTransaction()
    return { kind: 'threw', error }
  }
  try {
    connection.sql.commit.run()
    return { kind: 'committed', value }
  } catch (error) {
    connection.endTransaction()
    // A constraint that is checked at the end: the work's own doing.
    return isTaken(error) ? { kind: 'threw', error } : overwritten(connection, error)
  }
}

/** Where the log could not be synced, a crash might bring the work back: it is overwritten first. */
function overwritten(connection: Connection, error: unknown): WorkOutcome {
  try {
    connection.supersede()
    return { kind: 'threw', error: faultOf(error) }
  } catch (cause) {
    const message = 'COMMIT failed, and what is in the log could not be overwritten'
    return { kind: 'threw', error: new OutcomeUnknownError(message, { cause }) }
  }
}
