import { InvalidArgumentError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { LogPosition } from './driver.ts'

/** Digits of the largest position of the server's. */
const POSITION_DIGITS = 19

/**
 * A position of the server's log as text of fixed width, so that positions compare with `<`. An event that was
 * written in a transaction of old, over several requests, has two: that of its commit and its own.
 */
export function formatLogPosition({ commit, prepare }: LogPosition): Position {
  const text = String(commit).padStart(POSITION_DIGITS, '0')
  return prepare === commit ? text : `${text}-${String(prepare).padStart(POSITION_DIGITS, '0')}`
}

/** The position in the log that {@link formatLogPosition} wrote. @throws InvalidArgumentError */
export function parseLogPosition(position: Position, argument = 'after'): LogPosition {
  const match = POSITION_FORMAT.exec(position)
  const commit = match && BigInt(match[1]!)
  const prepare = match?.[2] === undefined ? commit : BigInt(match[2])
  if (commit === null || prepare === null || commit > MAX_POSITION || prepare > commit) {
    throw new InvalidArgumentError(argument, 'a position that this store gave')
  }
  return { commit, prepare }
}

/** Whether two positions are there and the same, or neither is there. */
export function isSamePosition(a: LogPosition | undefined, b: LogPosition | undefined): boolean {
  return a?.commit === b?.commit && a?.prepare === b?.prepare
}

const POSITION_FORMAT = /^(\d{19})(?:-(\d{19}))?$/
const MAX_POSITION = 2n ** 63n - 1n
