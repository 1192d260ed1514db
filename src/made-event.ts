import type { EventTypeRecord } from './event-type.ts'
import type { Event } from './event.ts'

/** Its constructor returns what it is given, so that a subclass adds its private field to that. */
// eslint-disable-next-line @typescript-eslint/no-extraneous-class -- a constructor is all that is needed
class Given {
  constructor(data: object) {
    return data
  }
}

/**
 * Marks the data of events that a constructor made: checked, copied and deeply frozen. The data rather than the
 * event, so that it holds for a copy of the event, too: `{ ...Opened({ owner }), id }`.
 *
 * A private field on a plain object: nobody else sees, copies or forges it, and it costs less than an entry in
 * a WeakMap, which slows down every garbage collection.
 */
class Mark extends Given {
  readonly #record: EventTypeRecord

  constructor(data: object, record: EventTypeRecord) {
    super(data)
    this.#record = record
  }

  static of(data: unknown): EventTypeRecord | undefined {
    return typeof data === 'object' && data !== null && #record in data ? data.#record : undefined
  }
}

/** An event of marked data. The data is frozen here: what is frozen can take no mark any more. */
export function madeEvent(record: EventTypeRecord, data: object): Event {
  new Mark(data, record)
  Object.freeze(data)
  const { type, version } = record
  return Object.freeze(version > 1 ? { type, data, version } : { type, data })
}

/** Whether an event has the data that a constructor made for one of its type and version. */
export function isMade({ type, data, version = 1 }: Event): boolean {
  const record = Mark.of(data)
  return record?.type === type && record.version === version
}
