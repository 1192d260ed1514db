import { formatPosition } from '../position.ts'
import type { StoredEvent } from '../store-adapter.ts'
import type { SqliteDatabase, SqliteStatement } from './driver.ts'

/** Begins a statement whose rows {@link eventOf} takes. */
export const SELECT_EVENTS =
  'SELECT position, stream, revision, id, type, version, time, data, metadata FROM mneme_events'

/** Bytes of JSON up to which an event is a small one. */
export const SMALL = 1024

/**
 * Begins a statement whose rows {@link smallEventOf} takes: an event as one text, since each column costs a driver as
 * much again as the row. Larger ones are null, so that reading many at once takes little memory whatever they are; nor
 * do parts of such a text, which keep the whole of it, ever keep much.
 *
 * What separates its parts is in none of them: a name has no control characters, and in JSON they are escaped.
 */
export const SELECT_SMALL_EVENTS =
  `SELECT CASE WHEN octet_length(data) + octet_length(metadata) <= ${String(SMALL)} THEN ` +
  `printf('%s%s%016d%d\u001f%d\u001f%s\u001f%s\u001f%s\u001f%s', ` +
  'id, time, position, revision, version, type, stream, metadata, data) END AS event FROM mneme_events'

/** Prepares a statement for events, however it is to be used. */
export function prepareAny(database: SqliteDatabase, sql: string): SqliteStatement {
  const isOfEvents = sql.startsWith(SELECT_EVENTS) || sql.startsWith(SELECT_SMALL_EVENTS)
  return isOfEvents ? prepareEvents(database, sql) : database.prepare(sql)
}

/**
 * Its rows come as arrays where the driver can give them so: an object with nine names costs twice as much as an
 * array and an object made of it here.
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

/** The event of a row, if it is a small one. */
export function smallEventOf(row: unknown): StoredEvent | undefined {
  const text = Array.isArray(row) ? (row as SmallRow)[0] : (row as { readonly event: string | null }).event
  if (text === null) return undefined
  const revision = text.indexOf(SEPARATOR, POSITION_END)
  const version = text.indexOf(SEPARATOR, revision + 1)
  const type = text.indexOf(SEPARATOR, version + 1)
  const stream = text.indexOf(SEPARATOR, type + 1)
  const metadata = text.indexOf(SEPARATOR, stream + 1)
  return {
    position: text.slice(TIME_END, POSITION_END),
    stream: text.slice(type + 1, stream),
    revision: Number(text.slice(POSITION_END, revision)),
    id: text.slice(0, ID_END),
    type: text.slice(version + 1, type),
    version: Number(text.slice(revision + 1, version)),
    time: text.slice(ID_END, TIME_END),
    data: text.slice(metadata + 1),
    metadata: text.slice(stream + 1, metadata),
  }
}

const SEPARATOR = '\u001f'
/** A UUID, a time in ISO 8601 and a position have fixed widths: where each of them ends. */
const [ID_END, TIME_END, POSITION_END] = [36, 60, 76] as const

type SmallRow = [string | null]
type EventRow = [number, string, number, string, string, number, string, string, string]
type EventObject = Omit<StoredEvent, 'position'> & { readonly position: number }
