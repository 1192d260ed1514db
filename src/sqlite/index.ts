import { checkOptions, checkWhole } from '../checks.ts'
import { createStore } from '../create-store.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { EventStore, StoreOptions } from '../store.ts'
import { sqliteAdapter } from './adapter.ts'
import type { SqliteDriver } from './driver.ts'
import { parseLocation } from './location.ts'
import { openShared } from './shared-file.ts'

export type { SqliteDatabase, SqliteDriver, SqliteStatement } from './driver.ts'

/** Options of `sqliteStore`. */
export interface SqliteOptions extends StoreOptions {
  /**
   * Opens the database. Left out: `node:sqlite` where the runtime has it, else better-sqlite3.
   *
   * Where the program opens the same file itself, in the same process, it has to do so with the same driver:
   * two copies of SQLite in one process undo each other's file locks, which damages files.
   */
  readonly driver?: SqliteDriver | undefined
  /**
   * `'full'` (left out): what is acknowledged is on disk. `'normal'`: faster, but the last commits may be lost
   * when the power fails (not when the process does); the file stays whole.
   */
  readonly synchronous?: 'full' | 'normal' | undefined
  /**
   * How many milliseconds a call waits for its turn while other processes hold the file, before
   * `StoreBusyError`. 5,000.
   */
  readonly busyTimeout?: number | undefined
}

/**
 * Opens a store in a SQLite file, which is made where there is none; its folder has to be there.
 *
 * Any number of processes may use one file on one machine. Stores on one file in one process share one
 * connection. Beside the file lie SQLite's own `-wal` and `-shm` while it is open, and a small `-turn`, by which
 * processes that write take turns. The file may hold other tables.
 *
 * @param location a path, `:memory:` for a store that is gone when it is closed, `sqlite:bank.db`, or a
 *   `file:///` URL.
 * @throws OpenError where it cannot be opened; its `reason` says why, and nothing was changed.
 * @throws StoreBusyError where another process held the file for longer than `busyTimeout`.
 * @throws InvalidArgumentError where the location or an option is wrong, or differs from that of a store that
 *   this process has on the same file.
 * @example
 * ```ts
 * const store = await sqliteStore('bank.db')
 * ```
 */
export async function sqliteStore(location: string, options: SqliteOptions = {}): Promise<EventStore> {
  const known = ['driver', 'synchronous', 'busyTimeout', 'maxPending', 'cachedStates'] as const
  const {
    driver,
    synchronous = 'full',
    busyTimeout = 5_000,
    ...rest
  } = checkOptions(options, 'options', known)
  if (driver !== undefined && typeof (driver as unknown) !== 'function') {
    throw new InvalidArgumentError('options.driver', 'a function, like (file) => new Database(file)')
  }
  if ((synchronous as unknown) !== 'full' && (synchronous as unknown) !== 'normal') {
    throw new InvalidArgumentError('options.synchronous', "'full' or 'normal'")
  }
  checkWhole(busyTimeout, 'options.busyTimeout', 0)
  // `createStore` checks these as well, but by then the file would have been made.
  if (rest.maxPending !== undefined) checkWhole(rest.maxPending, 'maxPending', 1)
  if (rest.cachedStates !== undefined) checkWhole(rest.cachedStates, 'cachedStates', 0)
  const file = await openShared(parseLocation(location), { driver, synchronous, busyTimeout })
  return createStore(sqliteAdapter(file, busyTimeout), rest)
}
