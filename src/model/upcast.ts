import { FoldError, UnknownEventError } from '../base/errors.ts'
import type { Event, StreamEvent } from './event.ts'
import type { EventTypeRecord } from './event-type.ts'
import type { Fold } from './stream.ts'

/**
 * A stored event in its present name and version. What the schema says is not asked again: tightening a schema
 * must not make history unreadable.
 *
 * @throws UnknownEventError where the fold knows neither its type nor its version.
 * @throws FoldError where an upcast throws.
 */
export function decode<E extends StreamEvent>(fold: KnownTypes, event: E): E {
  const known = knownEventType(fold, event, event.stream)
  if (event.type === known.type && event.version === known.version) return event
  try {
    let data: unknown = event.data
    for (const upcast of known.upcasts.slice(event.version - 1)) data = upcast(data)
    return { ...event, type: known.type, version: known.version, data }
  } catch (error) {
    throw new FoldError(event, error, 'an upcast')
  }
}

/** Event types by every name under which one was ever stored: a fold has them. */
export type KnownTypes = Pick<Fold<unknown>, 'eventTypes'>

/** What the fold knows of an event's type. @throws UnknownEventError */
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
