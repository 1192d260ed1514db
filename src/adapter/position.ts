import { InvalidArgumentError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'

/** A counted position as text of fixed width, so that positions compare with `<`. */
export function formatPosition(n: number): Position {
  return String(n).padStart(WIDTH, '0')
}

/** The number in a position that {@link formatPosition} made. @throws InvalidArgumentError */
export function parsePosition(position: Position, argument = 'after'): number {
  if (!FORMAT.test(position)) throw new InvalidArgumentError(argument, 'a position that this store gave')
  return Number(position)
}

/** Digits of the largest safe integer. */
const WIDTH = 16
const FORMAT = /^\d{16}$/
