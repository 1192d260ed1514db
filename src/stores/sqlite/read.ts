import type { ScannedPage, ScanRequest } from '../../adapter/subscription-hub.ts'
import { selectorOf } from '../../adapter/log-filter.ts'
import { formatPosition, parsePosition } from '../../adapter/position.ts'
import { historyRewound } from '../../base/errors.ts'
import type {
  Direction,
  LogFilter,
  ReadAllRequest,
  ReadRequest,
  StoredEvent,
} from '../../adapter/store-adapter.ts'
import { headOf } from './append.ts'
import { ensureNotDeleted, TOMBSTONE_REVISION } from './erased.ts'
import { retryBusy } from './errors.ts'
import { dataVersionOf } from './history.ts'
import type { RecentEvents } from './subscribe.ts'
import type { Connection, Statements } from './connection.ts'
import { nextTurn } from '../../base/clock.ts'
import { isTurnDue } from './event-loop.ts'
import { eventOf, SELECT_EVENTS, SELECT_SMALL_EVENTS, SMALL_EVENT_BYTES, smallEventsOf } from './rows.ts'

/** A stream's events in pages. Nothing is held open between two pages. */
export async function* streamPages(
  connection: Connection,
  { stream, direction, from, to, limit = Infinity }: ReadRequest,
  timeout: number,
): AsyncGenerator<StoredEvent[], undefined> {
  const isForwards = direction === 'forwards'
  const rows =
    `WHERE stream = ? AND revision ` +
    (isForwards
      ? `>= ? AND revision <= ?${NOT_ERASED} ORDER BY revision LIMIT ?`
      : `<= ? AND revision >= ?${NOT_ERASED} ORDER BY revision DESC LIMIT ?`)
  let next = Math.min(from ?? (isForwards ? 0 : Infinity), TOMBSTONE_REVISION - 1)
  const end = Math.min(to ?? (isForwards ? Infinity : 0), TOMBSTONE_REVISION - 1)
  let left = limit
  const sizes = { areSmall: true }
  while (left > 0 && (isForwards ? next <= end : next >= end)) {
    if (isTurnDue()) await nextTurn()
    const wanted = Math.min(left, PAGE_EVENTS)
    const page = await retryBusy(
      () => takePage(connection, rows, [stream, next, end, wanted], sizes),
      timeout,
    )
    const last = page.events.at(-1)
    if (last) yield page.events
    else {
      const isErased = await retryBusy(() => connection.reading((sql) => isLost(sql, stream, next)), timeout)
      if (isErased && isForwards) yield []
    }
    if (!last || (page.isWhole && page.events.length < wanted)) return undefined
    left -= page.events.length
    next = last.revision + (isForwards ? 1 : -1)
  }
  return undefined
}

/**
 * Whether a stream has no event to be read from a revision on because it was erased, before reading began or meanwhile. What was
 * appended since the page was read is not erased.
 *
 * @throws StreamDeletedError
 */
function isLost(sql: Statements, stream: string, from: number): boolean {
  ensureNotDeleted(stream, headOf(sql, stream))
  const first = sql.firstFrom.get(stream, from) as { readonly version: number } | undefined
  return first?.version === 0
}

/** What is left of an erased event is none. */
const NOT_ERASED = ' AND version > 0'

/** The store's events in pages. Nothing is held open between two pages. */
export async function* allPages(
  connection: Connection,
  request: ReadAllRequest,
  timeout: number,
): AsyncGenerator<StoredEvent[], undefined> {
  const { direction, after, to, limit = Infinity } = request
  const last = to === undefined ? undefined : parsePosition(to, 'to')
  const isForwards = direction === 'forwards'
  const head = await retryBusy(() => connection.reading(logHeadOf), timeout)
  let start = after === undefined ? (isForwards ? 0 : head + 1) : parsePosition(after)
  if (!isForwards) start = Math.min(start, head + 1)
  const end = isForwards ? Math.min(last ?? Infinity, head) : (last ?? 1)
  const range = { start, end, isExact: last !== undefined, limit, timeout }
  for await (const { events } of parts(connection, request, range)) {
    if (events.length > 0) yield events
  }
  return undefined
}

/** The events behind a place of the log, in pages; each page says how far the log was scanned. */
export async function* scanPages(
  connection: Connection,
  recent: RecentEvents,
  { after, ...filter }: ScanRequest,
  timeout: number,
): AsyncGenerator<ScannedPage, undefined> {
  const start = after ? parsePosition(after.position) : 0
  const begin = (sql: Statements) => {
    connection.history.ensureFile()
    const version = dataVersionOf(sql)
    if (after && idAt(sql, start) !== after.id) throw historyRewound(after.position)
    const head = logHeadOf(sql)
    return { head, known: recent.take(start, head, version) }
  }
  const { head, known } = await retryBusy(() => connection.reading(begin), timeout)
  const last = known?.at(-1)
  if (known && last) {
    // Without the places of revisions that were skipped.
    yield { events: selectorOf(filter)(known).filter(({ version }) => version > 0), through: last }
    return undefined
  }
  const request = { ...filter, direction: 'forwards' } as const
  const range = { start, end: head, isExact: false, limit: Infinity, timeout }
  for await (const { events, end } of parts(connection, request, range)) {
    const last = events.at(-1)
    // Events beyond the head were appended since: of those, only the ones in the page count as scanned.
    const through = Math.min(end, head)
    if (last && parsePosition(last.position) >= through) yield { events, through: last }
    else {
      const id = await retryBusy(() => connection.reading((sql) => idAt(sql, through)), timeout)
      if (id === undefined) throw historyRewound(formatPosition(through))
      yield { events, through: { position: formatPosition(through), id } }
    }
  }
  return undefined
}

/** Which positions are scanned: those behind `start`, in the direction, up to `end`. */
interface Range {
  readonly start: number
  readonly end: number
  /** Whether no event beyond the end may come; if it may, it was appended since. */
  readonly isExact: boolean
  readonly limit: number
  readonly timeout: number
}

/** The events of a range that a request asks for, in parts; each part covers the positions up to `end`. */
async function* parts(
  connection: Connection,
  request: LogFilter & { readonly direction: Direction },
  { start, end: last, isExact, limit, timeout }: Range,
): AsyncGenerator<{ readonly events: StoredEvent[]; readonly end: number }, undefined> {
  const isForwards = request.direction === 'forwards'
  const { where, values } = filterOf(request)
  const rows =
    (isForwards ? 'WHERE position > ? AND position <= ?' : 'WHERE position < ? AND position >= ?') +
    `${NOT_ERASED}${where} ORDER BY position ${isForwards ? '' : 'DESC'} LIMIT ?`
  let next = start
  let left = limit
  const sizes = { areSmall: true }
  while (left > 0 && (isForwards ? next < last : next > last)) {
    if (isTurnDue()) await nextTurn()
    const wanted = Math.min(left, PAGE_EVENTS)
    // A filter may match nothing in a long stretch, so a page scans a bounded number of positions.
    const far = isForwards ? next + PAGE_POSITIONS : next - PAGE_POSITIONS
    const end = !isExact ? far : isForwards ? Math.min(far, last) : Math.max(far, last)
    const page = await retryBusy(
      () => takePage(connection, rows, [next, end, ...values, wanted], sizes),
      timeout,
    )
    const { events } = page
    const final = events.at(-1)
    next = final && (!page.isWhole || events.length === wanted) ? parsePosition(final.position) : end
    left -= events.length
    yield { events, end: next }
  }
  return undefined
}

/** The number of the last position; 0 if there is none. */
export function logHeadOf(sql: Statements): number {
  return (sql.logHead.get() as { position: number | null }).position ?? 0
}

/** The id of the event at a position. */
export function idAt(sql: Statements, position: number): string | undefined {
  return (sql.idAt.get(position) as { id: string } | undefined)?.id
}

/** What reading has found out about the sizes of events so far. */
interface Sizes {
  areSmall: boolean
}

/** Takes rows until the page is large enough: all at once if the events are small, as they nearly always are. */
function takePage(
  connection: Connection,
  rows: string,
  values: readonly (string | number)[],
  sizes: Sizes,
): Page {
  return connection.reading((sql) => {
    const page = takeSmall(connection, rows, values, sizes) ?? takeMeasured(connection, rows, values, sizes)
    connection.history.confirmRead(sql, page.events)
    return page
  })
}

/** Takes all rows at once, unless events were found to be large, or one of these is. */
function takeSmall(
  connection: Connection,
  rows: string,
  values: readonly (string | number)[],
  { areSmall }: Sizes,
): Page | undefined {
  if (!areSmall) return undefined
  const events = smallEventsOf(connection.prepare(`${SELECT_SMALL_EVENTS} ${rows}`).all(...values))
  return events && { events, isWhole: true }
}

/**
 * Takes rows after asking for their sizes, so that it can stop before the page gets too large. Rows are never taken one
 * by one: on Deno such a loop ends without an error if a row cannot be read, and libsql keeps its read transaction open
 * after a `break`.
 */
function takeMeasured(
  connection: Connection,
  rows: string,
  values: readonly (string | number)[],
  sizes: Sizes,
): Page {
  const measured = connection.prepare(`${MEASURE} ${rows}`).all(...values) as { readonly size: number }[]
  let count = 0
  let total = 0
  let areSmall = true
  for (const { size } of measured) {
    areSmall &&= size <= SMALL_EVENT_BYTES
    if (total < PAGE_BYTES) count++
    total += size
  }
  if (count === 0) return { events: [], isWhole: true }
  sizes.areSmall = areSmall
  // Other processes may have appended since, so take no more rows than were measured.
  const limited = [...values.slice(0, -1), count]
  const events = connection
    .prepare(`${SELECT_EVENTS} ${rows}`)
    .all(...limited)
    .map(eventOf)
  return { events, isWhole: count === measured.length }
}

const MEASURE = 'SELECT octet_length(data) + octet_length(metadata) AS size FROM mneme_events'

interface Page {
  readonly events: StoredEvent[]
  /** Whether it holds all rows that were asked for; otherwise it ended early because of its size. */
  readonly isWhole: boolean
}

/**
 * A few names are compared one by one, which is much faster; longer lists are passed as one JSON parameter each, so that
 * there are few different statements.
 */
function filterOf({ streams, categories, types }: LogFilter): { where: string; values: string[] } {
  const names: string[] = []
  const values: string[] = []
  if (streams) {
    names.push(`stream ${LISTED}`)
    values.push(JSON.stringify(streams))
  }
  // A category is the name up to the first '-'.
  if (categories && areFew(categories) && categories.every((category) => !category.includes('-'))) {
    for (const category of categories) {
      // Names that begin with the category and '-'; '.' is the next character after '-'. The unary plus keeps SQLite from
      // using the index of stream names, which would lose the order of positions.
      names.push('(+stream >= ? AND +stream < ?)', '+stream = ?')
      values.push(`${category}-`, `${category}.`, category)
    }
  } else if (categories) {
    names.push(`substr(stream, 1, instr(stream || '-', '-') - 1) ${LISTED}`)
    values.push(JSON.stringify(categories))
  }
  const ofType = types && (areFew(types) ? `type IN (${types.map(() => '?').join(', ')})` : `type ${LISTED}`)
  if (types) values.push(...(areFew(types) ? types : [JSON.stringify(types)]))
  const ofNames = names.length > 0 ? ` AND (${names.join(' OR ')})` : ''
  return { where: ofType === undefined ? ofNames : `${ofNames} AND ${ofType}`, values }
}

const LISTED = 'IN (SELECT value FROM json_each(?))'

/** Whether names are compared one by one. */
function areFew(names: readonly string[]): boolean {
  return names.length > 0 && names.length <= MAX_COMPARED_NAMES
}

/** The longest list of names that are compared one by one. */
const MAX_COMPARED_NAMES = 4
/** Events in a page. */
const PAGE_EVENTS = 1_000
/** Bytes of JSON in a page; the event that reaches them is its last one. */
const PAGE_BYTES = 1024 * 1024
/** Positions that a page scans. */
const PAGE_POSITIONS = 8192
