import { checkBoolean, checkOptions, checkWhole } from '../../base/arguments.ts'
import { checkKeyRing, createStore, STORE_OPTIONS } from '../../store/create-store.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { sqliteAdapter } from './adapter.ts'
import { refuseKeysIn } from './keys.ts'
import { checkFileOptions, type FileOptions, parseLocation } from './options.ts'
import { openShared } from './shared-file.ts'

export type { SqliteDatabase, SqliteDriver, SqliteStatement } from './driver.ts'
export type { FileOptions } from './options.ts'
export { sqliteKeys } from './keys.ts'
export type { SqliteKeys, SqliteKeysOptions } from './keys.ts'
export { sqliteTarget } from './projection-target.ts'
export type { SqliteTarget, SqliteTargetOptions } from './projection-target.ts'
export { tenantFile } from './tenant-file.ts'

/** Options of `sqliteStore`. */
export interface SqliteOptions extends StoreOptions, FileOptions {
  /**
   * Whether the file is created, and its schema brought up to date. With `false`, opening fails with `OpenError` if there is no
   * store, or one of an earlier schema, and nothing is written. Default: `true`.
   */
  readonly migrate?: boolean | undefined
}

/**
 * Opens a store in a SQLite file. The file is created if it does not exist; its folder has to exist.
 *
 * Any number of processes on one machine may use a file. Stores on one file in one process share one connection.
 * Beside the file lie SQLite's own `-wal` and `-shm` while it is open, a small `-turn`, by which processes take turns
 * at writing, and a `-signal`, by which they tell others of their commits. The file may hold other tables.
 *
 * @param location a path, `:memory:` for a store that lives until it is closed, `sqlite:bank.db`, or a
 *   `file:///` URL.
 * @throws OpenError if it cannot be opened; its `reason` says why, and nothing was changed.
 * @throws StoreBusyError if another process held the file for longer than `busyTimeout`.
 * @throws InvalidArgumentError if the location or an option is wrong, or differs from that of another store that
 *   this process has open on the same file.
 * @example
 * ```ts
 * const store = await sqliteStore('bank.db')
 * ```
 */
export async function sqliteStore(location: string, options: SqliteOptions = {}): Promise<EventStore> {
  const known = ['driver', 'synchronous', 'busyTimeout', 'migrate', ...STORE_OPTIONS] as const
  const { maxPending, cachedStates, personal, migrate = true } = checkOptions(options, 'options', known)
  checkBoolean(migrate, 'options.migrate')
  const settings = { ...checkFileOptions(options), mayMigrate: migrate }
  // `createStore` checks these as well, but only after the file was created.
  if (maxPending !== undefined) checkWhole(maxPending, 'maxPending', 1)
  if (cachedStates !== undefined) checkWhole(cachedStates, 'cachedStates', 0)
  const path = parseLocation(location)
  refuseKeysIn(path, checkKeyRing(personal)?.place)
  const file = await openShared(path, settings)
  return createStore(sqliteAdapter(file, settings.busyTimeout), { maxPending, cachedStates, personal })
}
