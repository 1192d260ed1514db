import { pause, systemClock } from '../../base/clock.ts'
import {
  type AnyMnemeError,
  isMnemeError,
  StoreBusyError,
  StoreFailedError,
  StoreFullError,
} from '../../base/errors.ts'
import { environment } from '../../base/environment.ts'

/** SQLite's primary result codes that are told apart, with its text for each. */
const RESULT_CODES = {
  ERROR: [1, 'SQL logic error'],
  BUSY: [5, 'database is locked'],
  READONLY: [8, 'attempt to write a readonly database'],
  IOERR: [10, 'disk I/O error'],
  CORRUPT: [11, 'database disk image is malformed'],
  FULL: [13, 'database or disk is full'],
  CANTOPEN: [14, 'unable to open database file'],
  PROTOCOL: [15, 'locking protocol'],
  TOOBIG: [18, 'string or blob too big'],
  CONSTRAINT: [19, 'constraint failed'],
  MISMATCH: [20, 'datatype mismatch'],
  RANGE: [25, 'column index out of range'],
  NOTADB: [26, 'file is not a database'],
} as const

/** Whether another connection held a lock: nothing was done, and a later attempt can succeed. */
export function isBusy(error: unknown): boolean {
  return hasCode(error, 'BUSY') || hasCode(error, 'PROTOCOL')
}

/** Whether the disk was full. */
export function isFull(error: unknown): boolean {
  return hasCode(error, 'FULL')
}

/** Whether the file or its disk caused the error, rather than the SQL or the data. */
export function isOfFile(error: unknown): boolean {
  return isBusy(error) || isFull(error) || isReadOnly(error) || isNoDatabase(error) || isUnreadable(error)
}

/** Whether reading or writing failed. */
function isUnreadable(error: unknown): boolean {
  return hasCode(error, 'IOERR') || hasCode(error, 'CANTOPEN')
}

/** Whether a constraint was broken, like that of a unique index. */
export function isTaken(error: unknown): boolean {
  return hasCode(error, 'CONSTRAINT')
}

/** Whether a query itself is wrong, or its values: SQLite says so, or the driver refuses them before it asks SQLite. */
export function isOfQuery(error: unknown): boolean {
  if (isMnemeError(error)) return false
  if (error instanceof TypeError || error instanceof RangeError) return true
  if (QUERY_CODES.some((name) => hasCode(error, name))) return true
  // Deno gives no number; its text for a mistake in the SQL is the mistake.
  const { code, errcode } = (error ?? {}) as { readonly code?: unknown; readonly errcode?: unknown }
  return code === 'ERR_SQLITE_ERROR' && errcode === undefined && !isOfFile(error)
}

const QUERY_CODES = ['ERROR', 'TOOBIG', 'CONSTRAINT', 'MISMATCH', 'RANGE'] as const

/** Turns what the driver threw into an error of Mneme. */
export function faultOf(error: unknown): AnyMnemeError {
  if (isMnemeError(error)) return error
  if (isFull(error)) {
    return new StoreFullError('the disk has no room left for the database: free some, then try again', {
      cause: error,
    })
  }
  return new StoreFailedError('SQLite failed: see the cause', { cause: error })
}

/** Whether the driver says that a file is no database, or a damaged one. */
export function isNoDatabase(error: unknown): boolean {
  return hasCode(error, 'NOTADB') || hasCode(error, 'CORRUPT')
}

/** Whether the driver says that a file cannot be written. */
export function isReadOnly(error: unknown): boolean {
  return hasCode(error, 'READONLY')
}

/**
 * better-sqlite3 names the extended code in `code`, `node:sqlite` gives its number in `errcode`, and that of Deno 2.9 gives
 * for a failed `exec` only the text.
 */
function hasCode(error: unknown, name: keyof typeof RESULT_CODES): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errcode, message } = error as { code?: unknown; errcode?: unknown; message?: unknown }
  const [primary, text] = RESULT_CODES[name]
  if (typeof errcode === 'number') return (errcode & 0xff) === primary
  if (code === 'ERR_SQLITE_ERROR') return typeof message === 'string' && message.includes(text)
  return typeof code === 'string' && (code === `SQLITE_${name}` || code.startsWith(`SQLITE_${name}_`))
}

/**
 * Retries while another process holds the file, with the event loop free in between.
 *
 * @throws StoreBusyError after `timeout` milliseconds; anything else that an attempt throws, at once.
 */
export async function retryBusy<T>(attempt: () => T, timeout: number): Promise<T> {
  const started = environment.now()
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error)) throw error
      const waited = environment.now() - started
      if (waited >= timeout) throw new StoreBusyError(waited, { cause: error })
    }
    await pause(systemClock, BUSY_RETRY_MS)
  }
}

/** Milliseconds between two attempts. */
export const BUSY_RETRY_MS = 1
