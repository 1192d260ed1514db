import { InvalidArgumentError, quote } from '../base/errors.ts'
import type { Event } from '../model/event.ts'
import { makeEvent } from '../model/event-type.ts'
import { bytesOf, checkLimit, limits } from '../base/limits.ts'
import { isMade } from '../model/made-event.ts'
import { checkEventType } from '../model/names.ts'
import { copyEventData } from '../model/json.ts'
import type { EventToAppend } from './event-store.ts'
import type { NewEvent } from '../adapter/store-adapter.ts'
import { knownEventType } from '../model/upcast.ts'
import type { Fold } from '../model/stream.ts'

/** An event on its way into a store, with the checked and frozen event that it encodes. */
export interface EncodedEvent extends NewEvent {
  readonly event: Event
  /** Its size, where it can matter for the limit of an append; else a lower bound. */
  readonly bytes: number
  /** Whether its id was made for it, not given. */
  readonly isIdMade: boolean
}

/** Where an event is to be stored, and where it was given. */
export interface EventPlace {
  readonly stream: string
  readonly fold: Fold<unknown> | undefined
  /** What gave it: the write's name, or what `handle` returns. */
  readonly argument: string
  /** Its index among the write's events. */
  readonly index?: number
}

/** Checks an event and encodes it; every store then stores the same text. */
export function encodeEvent(given: EventToAppend, at: EventPlace, metadata: string): EncodedEvent {
  const event = checkedEvent(given, at)
  const data = JSON.stringify(event.data)
  const bytes = bytesOf(data + metadata, limits.eventBytes)
  if (bytes > limits.eventBytes) checkLimit(`${event.type} on ${quote(at.stream)}`, 'eventBytes', bytes)
  const id = given.id === undefined ? crypto.randomUUID() : checkId(given.id, at)
  return {
    event,
    bytes,
    isIdMade: given.id === undefined,
    stream: at.stream,
    id,
    type: event.type,
    version: event.version ?? 1,
    data,
    metadata,
  }
}

/** The limits that hold for all events of an append together. */
export function checkAppend(events: readonly EncodedEvent[], streams: number): void {
  checkLimit('an append', 'appendStreams', streams)
  checkLimit('an append', 'appendEvents', events.length)
  let bytes = 0
  for (const event of events) bytes += event.bytes
  if (bytes * 3 > limits.appendBytes) {
    bytes = 0
    for (const { data, metadata } of events) bytes += bytesOf(data, 0) + bytesOf(metadata, 0)
  }
  checkLimit('an append', 'appendBytes', bytes)
}

function checkedEvent(given: Event, at: EventPlace): Event {
  if (typeof (given as unknown) !== 'object' || (given as unknown) === null) {
    throw new InvalidArgumentError(nameOf(at), 'an event: { type, data }')
  }
  if (typeof (given.type as unknown) !== 'string') {
    throw new InvalidArgumentError(`${nameOf(at)}.type`, 'the name of an event type')
  }
  const record = at.fold && knownEventType(at.fold, given, at.stream)
  if (isMade(given)) return given
  const version = given.version ?? 1
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new InvalidArgumentError(`${nameOf(at)}.version`, 'a whole number from 1')
  }
  if (record?.type === given.type && (given.version ?? record.version) === record.version) {
    return makeEvent(record, given.data)
  }
  checkEventType(given.type, `${nameOf(at)}.type`)
  const data = Object.freeze(copyEventData(given.data, given.type))
  return Object.freeze({ type: given.type, data, ...(version > 1 && { version }) })
}

function checkId(id: string, at: EventPlace): string {
  if (typeof (id as unknown) !== 'string' || !UUID.test(id) || id === NIL) {
    throw new InvalidArgumentError(`${nameOf(at)}.id`, 'a UUID in lower case that is not nil')
  }
  return id
}

/** An event's name in an error: written out only there. */
function nameOf({ argument, index }: EventPlace): string {
  return index === undefined ? argument : `${argument}.events[${String(index)}]`
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NIL = '00000000-0000-0000-0000-000000000000'
