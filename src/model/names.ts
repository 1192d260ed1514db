import { InvalidArgumentError } from '../base/errors.ts'
import { bytesOf, limits } from '../base/limits.ts'
import { checkLimit } from '../base/arguments.ts'

/**
 * Checks a stream name. Names are checked alike for every store: a name that one store cannot keep, all refuse.
 * (PostgreSQL keeps no NUL; KurrentDB reserves a leading `$` and restricts the characters of event types.)
 */
export function checkStreamName(name: string, argument: string): void {
  if (checked.has(name)) return
  checkText(name, argument, 'a stream name')
  if (name.startsWith('$')) {
    throw new InvalidArgumentError(
      argument,
      'a stream name that does not begin with $ (reserved by KurrentDB)',
    )
  }
  if (name.startsWith(RESERVED_STREAMS)) {
    throw new InvalidArgumentError(
      argument,
      `a stream name that does not begin with ${RESERVED_STREAMS} (reserved for a store's own streams)`,
    )
  }
  if (name.startsWith('-')) {
    throw new InvalidArgumentError(
      argument,
      "a stream name that does not begin with '-': what stands before the first '-' is its category, and no filter finds an empty one",
    )
  }
  checkLimit(argument, 'streamNameBytes', bytesOf(name, limits.streamNameBytes))
  if (checked.size >= MAX_CHECKED) checked.clear()
  checked.add(name)
}

/** The prefix of streams that a store keeps for itself. */
export const RESERVED_STREAMS = 'mneme:'

/** Names that passed the check, so that a stream in use is checked once. */
const checked = new Set<string>()
const MAX_CHECKED = 10_000

/** @throws InvalidArgumentError */
export function checkEventType(type: string, argument: string): string {
  if (typeof (type as unknown) !== 'string' || !EVENT_TYPE.test(type) || type !== type.normalize('NFC')) {
    throw new InvalidArgumentError(
      argument,
      "an event type of letters, digits and '_.:-', like 'Account.Opened' (in Unicode's form NFC)",
    )
  }
  checkLimit(argument, 'eventTypeBytes', bytesOf(type, limits.eventTypeBytes))
  if (checkedTypes.size >= MAX_CHECKED) checkedTypes.clear()
  checkedTypes.add(type)
  return type
}

/** Whether an event type has passed the check before, which takes longer than the rest of checking an event. */
export function isCheckedEventType(type: string): boolean {
  return checkedTypes.has(type)
}

const checkedTypes = new Set<string>()

/** Letters and digits of the Basic Multilingual Plane: KurrentDB accepts no others in an event type. */
const EVENT_TYPE = /^(?:(?![\u{10000}-\u{10FFFF}])[\p{L}\p{N}_.:-])+$/u

/** The name of an aggregate, of its events or of a group of events. */
export function checkDefinitionName(name: string, argument: string): void {
  if (typeof (name as unknown) !== 'string' || !/^[\p{L}\p{N}_.]+$/u.test(name)) {
    throw new InvalidArgumentError(argument, "a name of letters, digits and '_.', like 'BankAccount'")
  }
}

export function checkText(text: string, argument: string, what: string): void {
  if (typeof (text as unknown) !== 'string' || text.trim() === '') {
    throw new InvalidArgumentError(argument, `${what} that is not blank`)
  }
  if (!isWellFormed(text)) {
    throw new InvalidArgumentError(argument, `${what} of well-formed Unicode (it has half a surrogate pair)`)
  }
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\u0000-\u001F\u007F-\u009F]/.test(text)) {
    throw new InvalidArgumentError(argument, `${what} without control characters`)
  }
}

/** `String.prototype.isWellFormed`, which the library of ES2022 does not declare. Compiling the pattern takes milliseconds. */
function isWellFormed(text: string & { isWellFormed?(): boolean }): boolean {
  return text.isWellFormed ? text.isWellFormed() : !/\p{Surrogate}/u.test(text)
}

/** Compares names by their bytes in UTF-8, unlike `<`, which compares UTF-16 units. Negative if the first comes first. */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (left !== right) return rankOf(left) - rankOf(right)
  }
  return a.length - b.length
}

/** Surrogates stand for characters above all others. */
function rankOf(unit: number): number {
  return unit >= 0xd8_00 && unit < 0xe0_00 ? unit + 0x1_00_00 : unit
}

/** The category of a stream: its name up to the first `-`, which is the name of its aggregate. */
export function categoryOf(stream: string): string {
  const dash = stream.indexOf('-')
  return dash < 0 ? stream : stream.slice(0, dash)
}
