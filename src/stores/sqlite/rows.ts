import { formatPosition } from '../../adapter/position.ts'
import type { StoredEvent } from '../../adapter/store-adapter.ts'
import type { SqliteDatabase, SqliteStatement } from './driver.ts'

/** Begins a statement whose rows {@link eventOf} takes. */
export const SELECT_EVENTS =
  'SELECT position, stream, revision, id, type, version, time, data, metadata FROM mneme_events'

/** Bytes of JSON up to which an event is a small one. */
export const SMALL_EVENT_BYTES = 1024

/** It occurs in no name, and JSON escapes it. */
const SEPARATOR = '\u001f'
const IF_SMALL = `CASE WHEN octet_length(data) + octet_length(metadata) <= ${String(SMALL_EVENT_BYTES)} THEN`

/**
 * Begins a statement whose rows {@link smallEventsOf} takes: an event as two texts, because each column costs a driver
 * about as much as a row. The second text is null for large events, so that reading many at once takes little memory.
 * A substring keeps its whole string alive: a kept id thus keeps the names of its event alive, but not the data.
 */
export const SELECT_SMALL_EVENTS =
  `SELECT printf('%s%s%016d%d${SEPARATOR}%d${SEPARATOR}%s${SEPARATOR}%s', ` +
  'id, time, position, revision, version, type, stream) AS names, ' +
  `${IF_SMALL} metadata || '${SEPARATOR}' || data END AS content FROM mneme_events`

/** Prepares a statement; rows of events come as arrays if the driver can. */
export function prepareAny(database: SqliteDatabase, sql: string): SqliteStatement {
  const isOfEvents = sql.startsWith(SELECT_EVENTS) || sql.startsWith(SELECT_SMALL_EVENTS)
  return isOfEvents ? prepareEvents(database, sql) : database.prepare(sql)
}

/**
 * Makes rows come as arrays if the driver can: an object with nine columns costs twice as much as an array and an
 * object made of it here.
 */
function prepareEvents(database: SqliteDatabase, sql: string): SqliteStatement {
  const statement = database.prepare(sql)
  if (statement.setReturnArrays) statement.setReturnArrays(true)
  else statement.raw?.(true)
  return statement
}

/** The event of a row. */
export function eventOf(row: unknown): StoredEvent {
  if (Array.isArray(row)) {
    const [position, stream, revision, id, type, version, time, data, metadata] = row as EventRow
    return { position: formatPosition(position), stream, revision, id, type, version, time, data, metadata }
  }
  const { position, stream, revision, id, type, version, time, data, metadata } = row as EventObject
  return { position: formatPosition(position), stream, revision, id, type, version, time, data, metadata }
}

/** The events of rows, if all of them are small ones. */
export function smallEventsOf(rows: readonly unknown[]): StoredEvent[] | undefined {
  const events: StoredEvent[] = []
  // Mostly an event has the type of the one before it, and often the stream: the same string is hashed once.
  let [type, stream] = ['', '']
  for (const row of rows) {
    const { names, content } = Array.isArray(row) ? smallRowOf(row as SmallRow) : (row as SmallObject)
    if (content === null) return undefined
    const revisionEnd = names.indexOf(SEPARATOR, POSITION_END)
    const versionEnd = names.indexOf(SEPARATOR, revisionEnd + 1)
    const typeEnd = names.indexOf(SEPARATOR, versionEnd + 1)
    const metadataEnd = content.indexOf(SEPARATOR)
    if (!isAt(type, names, versionEnd + 1, typeEnd)) type = names.slice(versionEnd + 1, typeEnd)
    if (!isAt(stream, names, typeEnd + 1, names.length)) stream = names.slice(typeEnd + 1)
    events.push({
      position: names.slice(TIME_END, POSITION_END),
      stream,
      revision: Number(names.slice(POSITION_END, revisionEnd)),
      id: names.slice(0, ID_END),
      type,
      version: Number(names.slice(revisionEnd + 1, versionEnd)),
      time: names.slice(ID_END, TIME_END),
      data: content.slice(metadataEnd + 1),
      metadata: content.slice(0, metadataEnd),
    })
  }
  return events
}

/** Whether a part of a text is this one. */
function isAt(part: string, text: string, from: number, to: number): boolean {
  return to - from === part.length && text.startsWith(part, from)
}

function smallRowOf([names, content]: SmallRow): SmallObject {
  return { names, content }
}

/** Where a UUID, a time in ISO 8601 and a position end: they have fixed widths. */
const [ID_END, TIME_END, POSITION_END] = [36, 60, 76] as const

type SmallRow = [string, string | null]
interface SmallObject {
  readonly names: string
  readonly content: string | null
}
type EventRow = [number, string, number, string, string, number, string, string, string]
type EventObject = Omit<StoredEvent, 'position'> & { readonly position: number }
