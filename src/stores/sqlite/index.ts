import { checkOptions, checkWhole } from '../../base/arguments.ts'
import { createStore } from '../../store/create-store.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { sqliteAdapter } from './adapter.ts'
import { checkFileOptions, type FileOptions, parseLocation } from './options.ts'
import { openShared } from './shared-file.ts'

export type { SqliteDatabase, SqliteDriver, SqliteStatement } from './driver.ts'
export type { FileOptions } from './options.ts'
export { sqliteTarget } from './projection-target.ts'

/** Options of `sqliteStore`. */
export interface SqliteOptions extends StoreOptions, FileOptions {}

/**
 * Opens a store in a SQLite file, which is made where there is none; its folder has to be there.
 *
 * Any number of processes may use one file on one machine. Stores on one file in one process share one
 * connection. Beside the file lie SQLite's own `-wal` and `-shm` while it is open, a small `-turn`, by which
 * processes that write take turns, and a `-signal`, by which they tell others that they wrote. The file may hold other tables.
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
  const { maxPending, cachedStates } = checkOptions(options, 'options', known)
  const settings = checkFileOptions(options)
  // `createStore` checks these as well, but by then the file would have been made.
  if (maxPending !== undefined) checkWhole(maxPending, 'maxPending', 1)
  if (cachedStates !== undefined) checkWhole(cachedStates, 'cachedStates', 0)
  const file = await openShared(parseLocation(location), settings)
  return createStore(sqliteAdapter(file, settings.busyTimeout), { maxPending, cachedStates })
}
