import { Given } from '../base/tag.ts'
import type { EventTypeRecord } from './event-type.ts'
import type { Event } from './event.ts'

/**
 * Marks the data of events that a constructor made: checked, copied and deeply frozen. The data rather than the
 * event, so that it holds for a copy of the event, too: `{ ...Opened({ owner }), id }`.
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
