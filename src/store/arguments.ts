import { InvalidArgumentError, quote, UnsupportedError } from '../base/errors.ts'
import { ERASURES_STREAM } from '../model/erasures.ts'
import { checkStreamName, checkText } from '../model/names.ts'
import type { ExpectedRevision, Position } from '../base/revision.ts'
import type { Capabilities, Direction } from '../adapter/store-adapter.ts'
import { type AnyStream, isStream } from '../model/stream.ts'
import { checkLimit, checkWhole } from '../base/arguments.ts'
import { bytesOf, limits } from '../base/limits.ts'

/** The name of a stream given by name or as `BankAccount('alice')`. @throws InvalidArgumentError */
export function streamName(stream: string | AnyStream, argument: string): string {
  const name: unknown =
    typeof stream === 'object' && (stream as unknown) !== null && isStream(stream) ? stream.stream : stream
  checkStreamName(name as string, argument)
  return name as string
}

/** @throws InvalidArgumentError */
export function checkExpected(expected: ExpectedRevision, argument: string): ExpectedRevision {
  if (expected === 'none' || expected === 'any' || expected === 'exists') return expected
  return checkWhole(expected, argument, 0, "'none', 'any', 'exists' or a revision (a whole number from 0)")
}

/** @throws InvalidArgumentError */
export function checkPosition(position: Position | undefined, argument: string): Position | undefined {
  if (position === undefined || typeof (position as unknown) === 'string') return position
  throw new InvalidArgumentError(argument, 'a position that this store gave')
}

/** @throws InvalidArgumentError */
export function checkDirection(direction: Direction | undefined): Direction {
  if (direction === undefined) return 'forwards'
  if (DIRECTIONS.includes(direction)) return direction
  throw new InvalidArgumentError('direction', "'forwards' or 'backwards'")
}

const DIRECTIONS: readonly Direction[] = ['forwards', 'backwards']

/** An idempotency key. @throws InvalidArgumentError, LimitError, UnsupportedError */
export function checkUsableKey(key: string, capabilities: Capabilities): string {
  checkText(key, 'key', 'an idempotency key')
  checkLimit('key', 'keyBytes', bytesOf(key, limits.keyBytes))
  if (!capabilities.keys) throw lacking('this store keeps no idempotency keys', capabilities)
  return key
}

/** The error for a feature that a store lacks. */
export function lacking(what: string, { needed }: Capabilities): UnsupportedError {
  return new UnsupportedError(needed === undefined ? what : `${what}: ${needed}`)
}

/** The error of a program that writes to the stream of erasures. */
export function ofErasures(): InvalidArgumentError {
  return new InvalidArgumentError('stream', {
    message: `streams like ${quote(ERASURES_STREAM)} belong to the store, which tells of erasures in them; use another stream`,
  })
}
