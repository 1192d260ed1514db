import { InvalidArgumentError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'

/** Events of one call, which all have its number. */
export const EVENTS_PER_NUMBER = 65_536
/** Digits of the largest bigint. */
const POSITION_DIGITS = 19

/** Below and above every position. */
export const FIRST = '0'.repeat(POSITION_DIGITS)
export const LAST = String(2n ** 63n - 1n)

/**
 * A position is the number of its append's call, and 16 bits that count the events in it. As text of fixed width,
 * positions compare with `<`.
 */
export function positionOf(number: number, index: number): Position {
  const position = number * EVENTS_PER_NUMBER + index
  const isExact = Number.isSafeInteger(position)
  return formatNumber(String(isExact ? position : (BigInt(number) << 16n) | BigInt(index)))
}

/** A bigint of PostgreSQL as a position. */
export function formatNumber(digits: string): Position {
  return digits.padStart(POSITION_DIGITS, '0')
}

/** The number of a position's call. */
export function numberOf(position: Position): number {
  return Number(BigInt(position) >> 16n)
}

/** The position so many events further within an append. */
export function movedBy(position: Position, events: number): Position {
  return formatNumber(String(BigInt(position) + BigInt(events)))
}

/** A position that this store gave, for a query. @throws InvalidArgumentError */
export function checkPosition(position: Position, argument = 'after'): Position {
  if (!FORMAT.test(position) || position > LAST) {
    throw new InvalidArgumentError(argument, 'a position that this store gave')
  }
  return position
}

const FORMAT = /^\d{19}$/
