import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkWhole } from '../../base/arguments.ts'
import { InvalidArgumentError } from '../../base/errors.ts'
import type { SqliteDatabase, SqliteDriver } from './driver.ts'

/** How a file is opened. */
export interface FileOptions<Database extends SqliteDatabase = SqliteDatabase> {
  /**
   * Opens the database. Default: `node:sqlite` if the runtime has it, else better-sqlite3.
   *
   * If the program opens the same file itself, in the same process, it has to use the same driver: two copies of
   * SQLite in one process undo each other's file locks, which damages files.
   */
  readonly driver?: ((file: string) => Database) | undefined
  /**
   * `'full'`: acknowledged events are on disk. `'normal'`: faster, but the last commits may be lost when the power
   * fails (not when the process does); the file stays intact. Default: `'full'`.
   */
  readonly synchronous?: 'full' | 'normal' | undefined
  /**
   * How many milliseconds a call waits while other processes hold the file, before it fails with `StoreBusyError`.
   * Default: 5,000 ms.
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

/** How a file is opened. */
export interface OpenSettings {
  readonly driver: SqliteDriver | undefined
  readonly synchronous: 'full' | 'normal'
  readonly busyTimeout: number
  /** Whether the file may be made, or brought up to date. Default: `true`. */
  readonly mayMigrate?: boolean
}

/** A location in memory, as SQLite names it. */
export const MEMORY = ':memory:'

/**
 * The file that a location names, or {@link MEMORY}: a path, `sqlite:` and a path, or a `file:///` URL.
 *
 * @throws InvalidArgumentError
 */
export function parseLocation(location: string): string {
  const expected = "a path, ':memory:', 'sqlite:bank.db' or a URL like 'file:///data/bank.db'"
  if (typeof (location as unknown) !== 'string') throw new InvalidArgumentError('location', expected)
  const path = location.startsWith('file://') ? fromUrl(location, expected) : location.replace(/^sqlite:/, '')
  // Some drivers trim the path: a blank at either end would then name another file.
  const isPath = path !== '' && path === path.trim() && !path.includes('\0') && !/^(file:|\/\/)/.test(path)
  if (!isPath) throw new InvalidArgumentError('location', expected)
  return path === MEMORY ? MEMORY : resolve(path)
}

/**
 * The path of a file with all links resolved, by which two stores on one file find each other. The file need not exist.
 *
 * @throws what `fs` throws; ENOENT if its folder is missing.
 */
export function realPath(file: string): string {
  const path = join(realpathSync(dirname(file)), basename(file))
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false
  return isLink ? realPath(resolve(dirname(path), readlinkSync(path))) : path
}

function fromUrl(location: string, expected: string): string {
  try {
    const url = new URL(location)
    if (url.search === '' && url.hash === '') return fileURLToPath(url)
  } catch {
    // The error below names the argument.
  }
  throw new InvalidArgumentError('location', expected)
}
