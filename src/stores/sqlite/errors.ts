import { setTimeout as delay } from 'node:timers/promises'
import { MnemeError, StoreBusyError, StoreFailedError, StoreFullError } from '../../base/errors.ts'

/** SQLite's primary result codes that are told apart. */
const BUSY = 5
const FULL = 13
const CONSTRAINT = 19
const PROTOCOL = 15

/** Whether another connection held a lock: nothing was done, and a later attempt can succeed. */
export function isBusy(error: unknown): boolean {
  return hasCode(error, BUSY, 'SQLITE_BUSY') || hasCode(error, PROTOCOL, 'SQLITE_PROTOCOL')
}

/** Whether the disk was full. */
export function isFull(error: unknown): boolean {
  return hasCode(error, FULL, 'SQLITE_FULL')
}

/** Whether the file or its disk caused the error, rather than the SQL or the data. */
export function isOfFile(error: unknown): boolean {
  return isBusy(error) || isFull(error) || isReadOnly(error) || isNoDatabase(error) || isUnreadable(error)
}

/** Whether reading or writing failed. */
function isUnreadable(error: unknown): boolean {
  return hasCode(error, 10, 'SQLITE_IOERR') || hasCode(error, 14, 'SQLITE_CANTOPEN')
}

/** Whether a constraint was broken, like that of a unique index. */
export function isTaken(error: unknown): boolean {
  return hasCode(error, CONSTRAINT, 'SQLITE_CONSTRAINT')
}

/** Turns what the driver threw into an error of Mneme. */
export function faultOf(error: unknown): MnemeError {
  if (error instanceof MnemeError) return error
  if (isFull(error)) {
    return new StoreFullError('the disk has no room left for the database: free some, then try again', {
      cause: error,
    })
  }
  return new StoreFailedError('SQLite failed: see the cause', { cause: error })
}

/** Whether the driver says that a file is no database, or a damaged one. */
export function isNoDatabase(error: unknown): boolean {
  return hasCode(error, 26, 'SQLITE_NOTADB') || hasCode(error, 11, 'SQLITE_CORRUPT')
}

/** Whether the driver says that a file cannot be written. */
export function isReadOnly(error: unknown): boolean {
  return hasCode(error, 8, 'SQLITE_READONLY')
}

/** better-sqlite3 names the extended code in `code`, `node:sqlite` gives its number in `errcode`. */
function hasCode(error: unknown, primary: number, name: string): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  if (typeof errcode === 'number') return (errcode & 0xff) === primary
  return typeof code === 'string' && (code === name || code.startsWith(`${name}_`))
}

/**
 * Retries while another process holds the file, with the event loop free in between.
 *
 * @throws StoreBusyError after `timeout` milliseconds; anything else that an attempt throws, at once.
 */
export async function retryBusy<T>(attempt: () => T, timeout: number): Promise<T> {
  const started = performance.now()
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error)) throw error
      const waited = performance.now() - started
      if (waited >= timeout) throw new StoreBusyError(waited, { cause: error })
    }
    await delay(BUSY_RETRY_MS)
  }
}

/** Milliseconds between two attempts. */
export const BUSY_RETRY_MS = 1
