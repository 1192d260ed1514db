/* eslint-disable @typescript-eslint/prefer-for-of -- until a loop is compiled, it takes half the time by index */
import { InvalidArgumentError, InvalidDataError, quote } from '../base/errors.ts'
import type { Event } from '../model/event.ts'
import { type EventTypeRecord, madeBy, makeEvent, personalOf, personalOfMade } from '../model/event-type.ts'
import { isSealedFor, type PersonalField } from '../model/personal.ts'
import { isSealedText, type SealedAt } from '../model/sealed.ts'
import { bytesOf, bytesOfTwo, limits } from '../base/limits.ts'
import { checkLimit, checkOptions } from '../base/arguments.ts'
import { checkEventType, isCheckedEventType } from '../model/names.ts'
import { copyEventData } from '../model/json.ts'
import type { EventToAppend, StreamWrite } from './event-store.ts'
import type { AppendRequest, Capabilities, Condition, NewEvent } from '../adapter/store-adapter.ts'
import { knownEventType } from '../model/upcast.ts'
import type { Fold } from '../model/stream.ts'
import { checkExpected, lacking, streamName } from './arguments.ts'
import type { ExpectedRevision } from '../base/revision.ts'
import { environment } from '../base/environment.ts'

/** An event that is to be stored, with the checked and frozen event that it encodes. */
export interface EncodedEvent extends NewEvent {
  readonly event: Event
  /** Its size in bytes if it can matter for the limit of an append, otherwise a lower bound. */
  readonly bytes: number
  /** Whether Mneme made its id, rather than the caller. */
  readonly isIdMade: boolean
}

/** The stream of events, and the argument that they came with. */
export interface EventPlace {
  readonly stream: string
  readonly fold: Fold<unknown> | undefined
  /** The name of the argument: a write, or what `handle` returns. */
  readonly argument: string
}

/** An event that is checked and has its id, but whose personal values may still have to be sealed. */
export interface PersonalEvent {
  readonly event: Event
  readonly stream: string
  readonly id: string
  readonly isIdMade: boolean
  /** JSON. */
  readonly metadata: string
  readonly personal: readonly PersonalField[]
  /** What an idempotency key is compared by instead of the data: the data with plain values. */
  readonly compared?: unknown
}

/** A checked event: encoded already, unless it has personal fields. */
export type CheckedEvent = EncodedEvent | PersonalEvent

/** Whether a checked event is encoded already. */
export function isEncoded(checked: CheckedEvent): checked is EncodedEvent {
  return !('personal' in checked)
}

/** What an idempotency key is compared by: the data of an event with plain values. */
export function comparedOf(checked: CheckedEvent): unknown {
  return isEncoded(checked) ? checked.event.data : (checked.compared ?? checked.event.data)
}

/**
 * Checks an event.
 *
 * @param metadata JSON.
 * @param index its index among a write's events.
 */
export function checkEvent(
  given: EventToAppend,
  at: EventPlace,
  metadata: string,
  index?: number,
): CheckedEvent {
  checkShape(given, at, index)
  const record = at.fold && knownEventType(at.fold, given, at.stream)
  const made = madeBy(given)
  const sealed: SealedAt[] | undefined = made ? undefined : []
  const event = sealed ? completed(given, at, record, sealed, index) : given
  const isIdMade = given.id === undefined
  const id = isIdMade ? environment.uuid() : checkId(given.id, at, index)
  if (sealed && sealed.length > 0) checkInPlace(event, id, sealed)
  const personal = made ? personalOf(made) : personalOfMade(event)
  const { stream } = at
  if (personal.length > 0) return { event, stream, id, isIdMade, metadata, personal }
  return encoded(event, stream, id, isIdMade, metadata)
}

/** Encodes a checked event whose personal values are sealed. */
export function encodeEvent(checked: CheckedEvent): EncodedEvent {
  if (isEncoded(checked)) return checked
  const { event, stream, id, isIdMade, metadata } = checked
  return encoded(event, stream, id, isIdMade, metadata)
}

/** Encodes an event, so that every store stores the same text. */
function encoded(
  event: Event,
  stream: string,
  id: string,
  isIdMade: boolean,
  metadata: string,
): EncodedEvent {
  const { type, version = 1 } = event
  const data = JSON.stringify(event.data)
  const bytes = bytesOfTwo(data, metadata, limits.eventBytes)
  if (bytes > limits.eventBytes) checkLimit(`${type} on ${quote(stream)}`, 'eventBytes', bytes)
  return { stream, id, type, version, data, metadata, event, bytes, isIdMade }
}

/** Of an event whose personal fields are not known here, a sealed value can only be kept as it is. @throws InvalidDataError */
function checkInPlace({ type }: Event, id: string, sealed: readonly SealedAt[]): void {
  const issues = sealed.flatMap(({ path, value }) => {
    if (isSealedText(value) && isSealedFor(value.$sealed, id, path)) return []
    const message =
      'holds a sealed value of another event; make the event by its constructor, whose type names its personal fields'
    return [{ path: `data.${path}`, message }]
  })
  if (issues.length > 0) throw new InvalidDataError(type, issues)
}

/** Checks the events of every append: their limits as a whole, and that their ids differ. */
export function checkEvents(events: readonly EncodedEvent[], streams: number): void {
  checkLimit('an append', 'appendStreams', streams)
  checkLimit('an append', 'appendEvents', events.length)
  let bytes = 0
  for (let i = 0; i < events.length; i++) bytes += events[i]!.bytes
  if (bytes * 3 > limits.appendBytes) {
    bytes = 0
    for (const { data, metadata } of events) bytes += bytesOf(data, 0) + bytesOf(metadata, 0)
  }
  checkLimit('an append', 'appendBytes', bytes)
  // Ids that were made here differ.
  if (events.length < 2 || idsOf(events) === 'made') return
  if (new Set(events.map(({ id }) => id)).size < events.length) {
    throw new InvalidArgumentError('id', {
      message: 'two events of one append have the same id; give each event an id of its own',
    })
  }
}

/** The event that is appended for one that no constructor made. */
function completed(
  given: Event,
  at: EventPlace,
  record: EventTypeRecord | undefined,
  sealed: SealedAt[],
  index: number | undefined,
): Event {
  const version = given.version ?? 1
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new InvalidArgumentError(`${nameOf(at, index)}.version`, 'a whole number from 1')
  }
  if (record?.type === given.type && (given.version ?? record.version) === record.version) {
    return makeEvent(record, given.data)
  }
  if (!isCheckedEventType(given.type)) checkEventType(given.type, `${nameOf(at, index)}.type`)
  const data = Object.freeze(copyEventData(given.data, given.type, sealed))
  return Object.freeze(version > 1 ? { type: given.type, data, version } : { type: given.type, data })
}

/** Refuses what would be lost without a word: the fields of an event that was read, and misspelt ones. */
function checkShape(given: Event, at: EventPlace, index: number | undefined): void {
  if (typeof (given as unknown) !== 'object' || (given as unknown) === null) {
    throw new InvalidArgumentError(nameOf(at, index), 'an event: { type, data }')
  }
  if (typeof (given.type as unknown) !== 'string') {
    throw new InvalidArgumentError(`${nameOf(at, index)}.type`, 'the name of an event type')
  }
  const keys = Object.keys(given)
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    if (key === 'type' || key === 'data' || KNOWN_FIELDS.has(key)) continue
    if (given[key as keyof Event] === undefined) continue
    const what = nameOf(at, index)
    const message =
      'position' in given || 'revision' in given
        ? `${what} is an event that was read; append a copy, { type, data, version, id }, and give its metadata in the ` +
          'options (position, revision and time are given by the store)'
        : `unknown field '${key}' of ${what}; known fields: ${[...KNOWN_FIELDS].join(', ')}${HINTS[key] ?? ''}`
    throw new InvalidArgumentError(`${what}.${key}`, { message })
  }
}

const KNOWN_FIELDS: ReadonlySet<string> = new Set(['type', 'data', 'version', 'id'])
const HINTS: Readonly<Record<string, string | undefined>> = Object.assign(Object.create(null) as object, {
  metadata: '; give metadata in the options',
  time: '; the store gives the time, so put times that the domain needs into data',
})

function checkId(id: string | undefined, at: EventPlace, index: number | undefined): string {
  if (typeof id !== 'string' || !UUID.test(id) || id === NIL) {
    throw new InvalidArgumentError(`${nameOf(at, index)}.id`, 'a UUID in lower case that is not nil')
  }
  return id
}

/** The argument's name in an error. */
function nameOf({ argument }: EventPlace, index: number | undefined): string {
  return index === undefined ? argument : `${argument}.events[${String(index)}]`
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NIL = '00000000-0000-0000-0000-000000000000'

/** An append, checked and encoded, with the events that it encodes. */
export interface EncodedAppend extends AppendRequest {
  readonly events: readonly EncodedEvent[]
}

/** What `append` was given, checked. */
export interface CheckedWrites {
  readonly events: readonly CheckedEvent[]
  readonly conditions: readonly Condition[]
}

/** Checks what `append` was given. `metadata` is JSON. */
export function checkWrites(given: StreamWrite | readonly StreamWrite[], metadata: string): CheckedWrites {
  const events: CheckedEvent[] = []
  const conditions: Condition[] = []
  if (Array.isArray(given)) {
    const writes = given as readonly StreamWrite[]
    const expectations = new Map<string, ExpectedRevision | undefined>()
    // By index, so that a hole in the array is an error too.
    for (let i = 0; i < writes.length; i++) {
      const argument = `writes[${String(i)}]`
      const stream = checkWrite(writes[i]!, argument, events, metadata)
      const expected = oneExpectation(expectations.get(stream), writes[i]!.expected, argument)
      expectations.set(stream, expected)
    }
    for (const [stream, expected = 'any'] of expectations) conditions.push({ stream, expected })
  } else {
    const write = given as StreamWrite
    const stream = checkWrite(write, 'write', events, metadata)
    conditions.push({ stream, expected: oneExpectation(undefined, write.expected, 'write') ?? 'any' })
  }
  return { conditions, events }
}

/** Encodes what was checked, and sealed. */
export function encodeWrites(checked: CheckedWrites, capabilities: Capabilities): EncodedAppend {
  const { conditions } = checked
  const events = checked.events.every(isEncoded) ? checked.events : checked.events.map(encodeEvent)
  checkRequest(conditions, events, capabilities)
  return { conditions, events, keys: [], ids: idsOf(events) }
}

/** Checks a write's events; returns the name of its stream. */
function checkWrite(write: StreamWrite, argument: string, events: CheckedEvent[], metadata: string): string {
  checkOptions(write, argument, ['stream', 'events', 'expected'])
  const stream = streamName(write.stream, `${argument}.stream`)
  const fold = typeof write.stream === 'string' ? undefined : write.stream.fold
  const given: unknown = write.events ?? []
  if (!Array.isArray(given)) throw new InvalidArgumentError(`${argument}.events`, 'an array of events')
  const at = { stream, fold, argument }
  for (let index = 0; index < given.length; index++) {
    events.push(checkEvent(given[index] as EventToAppend, at, metadata, index))
  }
  return stream
}

/** Whether the caller gave ids of an append's events. */
export function idsOf(events: readonly EncodedEvent[]): AppendRequest['ids'] {
  for (let i = 0; i < events.length; i++) if (!events[i]!.isIdMade) return 'given'
  return 'made'
}

/** Checks every append, of `append` and of commands. */
export function checkRequest(
  conditions: readonly Condition[],
  events: readonly EncodedEvent[],
  capabilities: Capabilities,
): void {
  checkEvents(events, conditions.length)
  if (conditions.length > 1) {
    if (!capabilities.severalStreams)
      throw lacking('this store appends to one stream at a time', capabilities)
    checkCase(conditions)
  }
}

/** In one append, KurrentDB treats names that differ only in case as one stream: refused on every store. */
function checkCase(conditions: readonly Condition[]): void {
  const seen = new Map<string, string>()
  for (const { stream } of conditions) {
    for (const folded of new Set([stream.toLowerCase(), stream.toUpperCase()])) {
      const other = seen.get(folded)
      if (other !== undefined && other !== stream) {
        throw new InvalidArgumentError('streams', {
          message: `streams ${quote(other)} and ${quote(stream)} differ only in case; append to them one after the other`,
        })
      }
      seen.set(folded, stream)
    }
  }
}

function oneExpectation(
  known: ExpectedRevision | undefined,
  expected: ExpectedRevision | undefined,
  argument: string,
): ExpectedRevision | undefined {
  if (expected === undefined) return known
  checkExpected(expected, `${argument}.expected`)
  if (known !== undefined && known !== expected) {
    throw new InvalidArgumentError(`${argument}.expected`, {
      message: `${argument}.expected differs from an earlier write to the same stream; state it once for each stream`,
    })
  }
  return expected
}
