import { checkWhole } from '../../store/arguments.ts'
import { InvalidArgumentError } from '../../base/errors.ts'
import type { SqliteDatabase } from './driver.ts'
import type { OpenSettings } from './shared-file.ts'

/** How a file is opened. */
export interface FileOptions<Database extends SqliteDatabase = SqliteDatabase> {
  /**
   * Opens the database. Left out: `node:sqlite` where the runtime has it, else better-sqlite3.
   *
   * Where the program opens the same file itself, in the same process, it has to do so with the same driver:
   * two copies of SQLite in one process undo each other's file locks, which damages files.
   */
  readonly driver?: ((file: string) => Database) | undefined
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

/** Checked and complete. @throws InvalidArgumentError */
export function checkFileOptions(options: FileOptions): OpenSettings {
  const { driver, synchronous = 'full', busyTimeout = 5_000 } = options
  if (driver !== undefined && typeof (driver as unknown) !== 'function') {
    throw new InvalidArgumentError('options.driver', 'a function, like (file) => new Database(file)')
  }
  if ((synchronous as unknown) !== 'full' && (synchronous as unknown) !== 'normal') {
    throw new InvalidArgumentError('options.synchronous', "'full' or 'normal'")
  }
  return { driver, synchronous, busyTimeout: checkWhole(busyTimeout, 'options.busyTimeout', 0) }
}
