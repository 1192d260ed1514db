import { type FoundStream, type NameRange, streamPages } from '../../adapter/name-ranges.ts'
import type { StreamsRequest, StreamSummary } from '../../adapter/store-adapter.ts'
import type { Connection } from './connection.ts'
import { firstRevisionOf, TOMBSTONE_REVISION } from './erased.ts'
import { retryBusy } from './errors.ts'
import { nextTurn } from '../../base/clock.ts'
import { isTurnDue } from './event-loop.ts'

/** The streams of a store in pages. The index of names and revisions finds each one, in two steps. */
export function streamsPages(
  connection: Connection,
  request: StreamsRequest,
  timeout: number,
): AsyncGenerator<StreamSummary[], undefined> {
  return streamPages(request, PAGE_STREAMS, async (range, wanted) => {
    if (isTurnDue()) await nextTurn()
    return retryBusy(() => takePage(connection, range, wanted), timeout)
  })
}

function takePage(connection: Connection, { from, before }: NameRange, wanted: number): FoundStream[] {
  connection.history.ensure()
  const sql = before === undefined ? ALL : UP_TO
  const values = before === undefined ? [from, wanted] : [from, before, before, wanted]
  return connection.reading((statements) => {
    const rows = connection.prepare(sql).all(...values) as Row[]
    return rows.map(({ stream, revision }) => {
      if (revision >= TOMBSTONE_REVISION) return { stream, revision, events: 0, isErased: true }
      const events = revision + 1 - firstRevisionOf(statements, stream, revision)
      return { stream, revision, events, isErased: events === 0 }
    })
  })
}

interface Row {
  readonly stream: string
  readonly revision: number
}

/** SQLite cannot skip to the next name of an index by itself: `GROUP BY` would walk through all events. */
const listing = (upTo: string) => `
  WITH RECURSIVE names (stream) AS (
    SELECT * FROM (SELECT stream FROM mneme_events WHERE stream >= ?${upTo} ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT (SELECT e.stream FROM mneme_events e WHERE e.stream > names.stream${upTo} ORDER BY e.stream LIMIT 1)
      FROM names WHERE names.stream IS NOT NULL
    LIMIT ?
  )
  SELECT stream, (SELECT max(e.revision) FROM mneme_events e WHERE e.stream = names.stream) AS revision
    FROM names WHERE stream IS NOT NULL`
const ALL = listing('')
const UP_TO = listing(' AND stream < ?')

/** Streams in a page. */
const PAGE_STREAMS = 256
