import { timeOf } from '../../base/clock.ts'
import type { StoredEvent } from '../../adapter/store-adapter.ts'
import { formatNumber } from './position.ts'
import type { Row } from './wire.ts'

/** The event of a row. */
export function eventOf(row: Row): StoredEvent {
  const [position, stream, revision, id, type, version, time, data, metadata] = row as EventRow
  return {
    position: formatNumber(position),
    stream,
    revision: Number(revision),
    id,
    type,
    version: Number(version),
    time: timeOf(Number(time)),
    data,
    metadata,
  }
}

/** The items of an array of numbers, as PostgreSQL writes it: `{1,2,NULL}`. */
export function numbersIn(array: string): (number | undefined)[] {
  if (array === '{}') return []
  return array
    .slice(1, -1)
    .split(',')
    .map((item) => (item === 'NULL' ? undefined : Number(item)))
}

type EventRow = [string, string, string, string, string, string, string, string, string]
