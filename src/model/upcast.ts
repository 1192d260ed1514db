import { FoldError, UnknownEventError } from '../base/errors.ts'
import { isThenable } from '../base/functions.ts'
import type { Event, Recorded, RecordedFacts, StreamEvent } from './event.ts'
import { type EventTypeRecord, personalOf } from './event-type.ts'
import { boxedPersonal, checkedPersonal } from './personal.ts'
import type { Fold } from './stream.ts'

/** When a stored event was recorded. */
export type TimeOf = (event: StreamEvent) => string

/**
 * A stored event under its current name and version. Its schema does not check it again: a stricter schema must not make
 * history unreadable.
 *
 * @param timeOf its time, if it is not part of the event.
 * @throws UnknownEventError if the fold does not know its type or its version.
 * @throws FoldError if an upcast throws.
 * @throws SealBrokenError if a personal value was moved to another event or field.
 */
export function decode<E extends StreamEvent>(fold: KnownTypes, event: E, timeOf?: TimeOf): E {
  const known = knownEventType(fold, event, event.stream)
  const { version } = event
  if (event.type === known.type && version === known.version) {
    return checkedPersonal(event, personalOf(known))
  }
  const old = checkedPersonal(event, personalOf(known, version))
  try {
    const facts = factsOf(event, timeOf)
    let data: unknown = old.data
    for (const upcast of known.upcasts.slice(version - 1)) data = checkUpcast(upcast(data, facts))
    const current = { ...event, type: known.type, version: known.version, data }
    return version === known.version ? current : boxedPersonal(current, personalOf(known))
  } catch (error) {
    throw new FoldError(event, error, 'an upcast')
  }
}

/** @throws TypeError if it is no data: `apply` would take it for an event without any. */
function checkUpcast(data: unknown): unknown {
  const isPromise = isThenable(data)
  if (typeof data === 'object' && data !== null && !isPromise) return data
  // Its rejection must not become an unhandled one.
  if (isPromise) Promise.resolve(data).catch(() => undefined)
  const what = isPromise ? 'a promise' : data === null ? 'null' : typeof data
  throw new TypeError(`it must return the data of the next version, an object, but it returned ${what}`)
}

function factsOf(event: StreamEvent & Partial<Recorded>, timeOf: TimeOf | undefined): RecordedFacts {
  const { id, stream, revision, metadata } = event
  return {
    id,
    stream,
    revision,
    metadata,
    get time() {
      const time = event.time ?? timeOf?.(event)
      if (time !== undefined) return time
      throw new Error('an event that is not stored yet has no time: make events in their present version')
    },
  }
}

/** Event types by their current and former names. */
export type KnownTypes = Pick<Fold<unknown>, 'eventTypes'>

/** The event type of an event, if the fold knows it. @throws UnknownEventError */
export function knownEventType(fold: KnownTypes, event: Event, stream: string): EventTypeRecord {
  const { type, version = 1 } = event
  const known = fold.eventTypes.get(type)
  if (!known) {
    const types = [...fold.eventTypes.keys()].join(', ')
    throw new UnknownEventError({ stream, type, version }, `the aggregate knows ${types || 'no events'}`)
  }
  if (version > known.version) {
    const newest = `this program knows it up to version ${String(known.version)}`
    throw new UnknownEventError({ stream, type, version }, newest)
  }
  return known
}
