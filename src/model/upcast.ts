import { FoldError, UnknownEventError } from '../base/errors.ts'
import type { Event, StreamEvent } from './event.ts'
import type { EventTypeRecord } from './event-type.ts'
import type { Fold } from './stream.ts'

/**
 * A stored event under its current name and version. Its schema does not check it again: a stricter schema must not make
 * history unreadable.
 *
 * @throws UnknownEventError if the fold does not know its type or its version.
 * @throws FoldError if an upcast throws.
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
