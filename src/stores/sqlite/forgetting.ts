import { pause, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import { isMnemeError, StoreFailedError } from '../../base/errors.ts'
import type { Connection } from './connection.ts'
import { BUSY_RETRY_MS, faultOf, isBusy } from './errors.ts'

/**
 * Copies the write-ahead log into the file and empties it: it holds pages as they were before. Another process that reads
 * keeps it from that for a moment.
 *
 * @param inUse the message of the error if that lasts for too long.
 * @throws StoreFailedError
 */
export async function emptyLog(connection: Connection, timeout: number, inUse: string): Promise<void> {
  const empty = () => {
    const row = connection.database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number }
    return row.busy === 0
  }
  if (!(await doneWithin(connection, timeout, empty))) throw new StoreFailedError(inUse)
}

/**
 * Writes the file anew, so that it holds nothing of what was deleted or replaced, and empties the write-ahead log.
 *
 * @throws StoreFailedError
 */
export async function vacuum(connection: Connection, timeout: number): Promise<void> {
  const rewrite = () => {
    connection.database.exec('VACUUM')
    return true
  }
  if (!(await doneWithin(connection, timeout, rewrite))) throw new StoreFailedError(FILE_IN_USE)
  await emptyLog(connection, timeout, LOG_IN_USE)
}

/** Does what another process may delay, between transactions, until it is done. @returns whether that was in time. */
async function doneWithin(connection: Connection, timeout: number, work: () => boolean): Promise<boolean> {
  const until = environment.now() + timeout
  for (let delay = BUSY_RETRY_MS; ; delay = Math.min(delay * 2, MAX_RETRY_MS)) {
    try {
      connection.ensureNoTransaction()
      if (work()) return true
    } catch (error) {
      if (!isBusy(error)) throw isMnemeError(error) ? error : faultOf(error)
    }
    const left = until - environment.now()
    if (left <= 0) return false
    await pause(systemClock, Math.min(delay, left))
  }
}

const MAX_RETRY_MS = 100
const FILE_IN_USE = 'the file was not written anew, because another process is writing to it: call it again'
const LOG_IN_USE =
  'the file was written anew, but the write-ahead log, which another process is reading, still holds what was deleted: call it again'
