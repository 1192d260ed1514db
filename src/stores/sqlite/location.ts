import { lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { InvalidArgumentError } from '../../base/errors.ts'

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
  // Some drivers trim what they are given: a blank at an end would name another file.
  const isPath = path !== '' && path === path.trim() && !path.includes('\0') && !/^(file:|\/\/)/.test(path)
  if (!isPath) throw new InvalidArgumentError('location', expected)
  return path === MEMORY ? MEMORY : resolve(path)
}

/**
 * The one path of a file that need not be there yet, whatever links lead to it: two stores on one file find
 * each other by it.
 *
 * @throws what `fs` throws, ENOENT where its folder is missing.
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
    // Said below, in terms of the argument.
  }
  throw new InvalidArgumentError('location', expected)
}
