import { formatPosition } from '../position.ts'
import type { StoredEvent } from '../store-adapter.ts'
import type { SqliteDatabase, SqliteStatement } from './driver.ts'

/** Begins a statement whose rows {@link eventOf} takes. */
export const SELECT_EVENTS =
  'SELECT position, stream, revision, id, type, version, time, data, metadata FROM mneme_events'

/**
 * Prepares a statement that begins with {@link SELECT_EVENTS}. Its rows come as arrays where the driver can
 * give them so: an object with nine names costs twice as much as an array and an object made of it here.
 */
export function prepareEvents(database: SqliteDatabase, sql: string): SqliteStatement {
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

type EventRow = [number, string, number, string, string, number, string, string, string]
type EventObject = Omit<StoredEvent, 'position'> & { readonly position: number }
