import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'

import { isMnemeError, OpenError } from '../../base/errors.ts'
import { retryBusy } from './busy.ts'
import { Connection } from './connection.ts'
import { defaultDriver, type SqliteDatabase } from './driver.ts'
import { isNoDatabase, isReadOnly } from './errors.ts'
import { realPath } from './location.ts'
import { migrate, versionOf } from './schema.ts'
import type { OpenSettings } from './shared-file.ts'

/**
 * The real path of a database file that can be opened as far as the file system goes. The file itself is not
 * opened for that: closing it again would drop the locks that SQLite has on it in this process.
 *
 * @throws OpenError
 */
export function realFile(location: string): string {
  let path: string
  try {
    path = realPath(location)
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ENOENT' && (cause as { code?: unknown }).code !== 'ENOTDIR') {
      throw cannotOpen(location, cause)
    }
    throw new OpenError('missing-folder', `${location}: its folder does not exist`, { cause })
  }
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats?.isDirectory()) throw new OpenError('not-a-database', `${location} is a folder`)
  try {
    // SQLite keeps its log beside the file.
    for (const needed of stats ? [path, dirname(path)] : [dirname(path)]) {
      accessSync(needed, constants.R_OK | constants.W_OK)
    }
  } catch (cause) {
    throw new OpenError('read-only', `${location}: the file and its folder have to be writable`, { cause })
  }
  return path
}

/**
 * Opens a database, made and migrated if need be.
 *
 * @throws OpenError, StoreBusyError
 */
export async function openConnection(path: string, settings: OpenSettings): Promise<Connection> {
  const driver = settings.driver ?? (await defaultDriver())
  let database: SqliteDatabase | undefined
  try {
    const opened = (database = driver(path))
    return await retryBusy(() => setUp(opened, settings), settings.busyTimeout)
  } catch (error) {
    close(database)
    throw cannotOpen(path, error)
  }
}

/** Repeated from its beginning where another process is in the way. */
function setUp(database: SqliteDatabase, { synchronous }: OpenSettings): Connection {
  // Waiting inside the driver would stop the event loop; Mneme waits by itself.
  database.exec('PRAGMA busy_timeout = 0')
  // Before anything is written: is it a database, and one that this program knows?
  versionOf(database)
  const { journal_mode: mode } = database.prepare('PRAGMA journal_mode = WAL').get() as {
    journal_mode: string
  }
  if (mode !== 'wal' && mode !== 'memory') {
    throw new OpenError('failed', `SQLite cannot keep a write-ahead log there (journal mode ${mode})`)
  }
  database.exec(`PRAGMA synchronous = ${synchronous}; PRAGMA wal_autocheckpoint = ${String(CHECKPOINT)}`)
  migrate(database)
  return new Connection(database)
}

function cannotOpen(path: string, cause: unknown): unknown {
  if (isMnemeError(cause)) return cause
  if (isNoDatabase(cause))
    return new OpenError('not-a-database', `${path} is not a SQLite database`, { cause })
  if (isReadOnly(cause)) return new OpenError('read-only', `${path} cannot be written`, { cause })
  return new OpenError('failed', `${path} could not be opened: the cause says why`, { cause })
}

function close(database: SqliteDatabase | undefined): void {
  try {
    database?.close()
  } catch {
    // Why it could not be opened is the error to tell.
  }
}

/** Pages in the log before they are moved into the file: a commit that does so takes longer. */
const CHECKPOINT = 1000
