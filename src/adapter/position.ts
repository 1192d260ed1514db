import { InvalidArgumentError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'

/** The position of the n-th event as text of a fixed width, so that positions compare with `<`. */
export function formatPosition(n: number): Position {
  return String(n).padStart(POSITION_DIGITS, '0')
}

/** The number in a position that {@link formatPosition} made. @throws InvalidArgumentError if it made no such position. */
export function parsePosition(position: Position, argument = 'after'): number {
  if (!FORMAT.test(position)) throw new InvalidArgumentError(argument, 'a position that this store gave')
  return Number(position)
}

/** Digits of the largest safe integer. */
const POSITION_DIGITS = 16
const FORMAT = /^\d{16}$/
