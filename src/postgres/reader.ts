import { StoreBusyError, StoreUnavailableError } from '../errors.ts'
import { categoryOf } from '../names.ts'
import type { Position, Revision } from '../revision.ts'
import type { ReadAllRequest, ReadRequest, StoredEvent } from '../store-adapter.ts'
import { texts } from './binary.ts'
import type { Connections } from './connections.ts'
import type { History } from './history.ts'
import { checkPosition, FIRST, formatNumber, movedBy, numberOf, positionOf } from './position.ts'
import { eventOf } from './rows.ts'
import { HEAD, HORIZON, page, PAGE_BYTES, type Statements } from './statements.ts'
import type { Parameter } from './wire-query.ts'

/** Reads in pages, each of them one statement, so that nothing is held open between two. */
export class Reader {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #history: History
  readonly #patience: number

  /** @param patience milliseconds to wait for earlier appends of others that are still being committed. */
  constructor(connections: Connections, statements: Statements, history: History, patience: number) {
    this.#connections = connections
    this.#statements = statements
    this.#history = history
    this.#patience = patience
  }

  async head(stream: string): Promise<Revision> {
    const [row] = await this.#ask(HEAD, [stream])
    return row ? Number(row[0]) : 'none'
  }

  async logHead(): Promise<Position | undefined> {
    const { position } = await this.#horizon()
    return numberOf(position) === 0 ? undefined : position
  }

  /** A stream's events in pages. */
  async *stream({
    stream,
    direction,
    from,
    limit = Infinity,
  }: ReadRequest): AsyncGenerator<StoredEvent[], undefined> {
    const isForwards = direction === 'forwards'
    const order = isForwards ? 'revision' : 'revision DESC'
    const rows = `SELECT * FROM SCHEMA.events WHERE stream = $1 AND revision ${isForwards ? '>=' : '<='} $2 ORDER BY ${order} LIMIT $3`
    const sql = page(rows, order)
    let next = from ?? (isForwards ? 0 : Number.MAX_SAFE_INTEGER)
    let left = limit
    while (left > 0 && next >= 0) {
      const wanted = Math.min(left, ROWS)
      const events = await this.#page(sql, [stream, String(next), String(wanted)])
      const last = events.at(-1)
      if (last) yield events
      if (!last || (events.length < wanted && !mayBeCut(events))) return undefined
      left -= events.length
      next = last.revision + (isForwards ? 1 : -1)
    }
    return undefined
  }

  /** The store's events in pages: those below the appends that were under way when the first page was asked for. */
  async *all(request: ReadAllRequest): AsyncGenerator<StoredEvent[], undefined> {
    const { direction, after, limit = Infinity } = request
    const isForwards = direction === 'forwards'
    if (after !== undefined) checkPosition(after)
    const horizon = await this.#horizon()
    const start = isForwards ? (after ?? FIRST) : earlier(after, movedBy(horizon.position, 1))
    const { sql, values } = selection(request, horizon.isStandby)
    const end = isForwards ? horizon.position : FIRST
    let span = values.length > 0 ? SPAN : Infinity
    let next = start
    let left = limit
    while (left > 0 && (isForwards ? next < end : next > end)) {
      const wanted = Math.min(left, ROWS)
      // A filter may match nothing for a long while: a page looks at so many numbers at most.
      const bound = boundOf(next, end, span, isForwards)
      const events = await this.#page(sql, [...values, next, bound, String(wanted)])
      const last = events.at(-1)
      const isWhole = events.length < wanted && !mayBeCut(events)
      next = isWhole ? bound : last!.position
      if (isWhole) span *= 4
      left -= events.length
      if (last) yield events
    }
    return undefined
  }

  /** Up to where the log can be read: as far as this process has seen it and was acknowledged, at least. */
  async #horizon(): Promise<Horizon> {
    const seen = this.#history.number
    const started = performance.now()
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      const [row] = await this.#ask(HORIZON, [])
      const [reached, drawn, standby] = row as [string, string | null, string]
      if (reached === '-1') throw new StoreUnavailableError(NOT_NOTED)
      const position = formatNumber(reached)
      if (standby === 't') return { position, isStandby: true }
      this.#history.checkNumber(Number(drawn), seen)
      // Appends that began earlier, of other processes, are still being committed.
      if (numberOf(position) >= seen) return { position, isStandby: false }
      const waited = performance.now() - started
      if (waited > this.#patience) throw new StoreBusyError(waited)
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }

  #page(sql: string, values: readonly Parameter[]): Promise<StoredEvent[]> {
    return this.#ask(sql, values).then((rows) => {
      const events = rows.map(eventOf)
      for (const end of [events.at(0), events.at(-1)]) if (end) this.#history.saw(end)
      return events
    })
  }

  #ask(sql: string, values: readonly Parameter[]) {
    return this.#connections.ask(this.#statements.of(sql), values)
  }
}

interface Horizon {
  readonly position: Position
  /** Whether the server is a standby, which knows of the horizon what the primary noted. */
  readonly isStandby: boolean
}

/**
 * The statement for a page of what is asked for, and its parameters up to the last three: after which position, up
 * to which, how many at most. Whatever is named is looked up by itself, by an index, and the finds are merged.
 */
function selection(
  { streams, categories, types, direction }: ReadAllRequest,
  isStandby: boolean,
): { sql: string; values: Parameter[] } {
  const values: Parameter[] = []
  const parameter = (names: readonly string[]) =>
    `$${String(values.push(texts([...new Set(names)])))}::text[]`
  // What belongs to a category that is asked for, comes with it.
  const apart = streams?.filter((stream) => !categories?.includes(categoryOf(stream)))
  const byCategory = categories && parameter(categories)
  const byStream = apart && parameter(apart)
  const byType = types && parameter(types)
  const [after, until, limit] = [1, 2, 3].map((i) => `$${String(values.length + i)}::bigint`) as [
    string,
    string,
    string,
  ]

  const isForwards = direction === 'forwards'
  const descending = isForwards ? '' : ' DESC'
  const order = `position${descending}`
  const [beyond, within] = isForwards ? ['>', '<='] : ['<', '>=']
  // In this very statement, since another standby may not have come as far.
  const noted = isStandby ? ' AND e.position <= (SELECT h.position FROM SCHEMA.horizon h)' : ''
  const range = `e.position ${beyond} ${after} AND e.position ${within} ${until}${noted}`
  const ofType = byType ? ` AND e.type = ANY (${byType})` : ''
  const find = (names: string, from: string, by: readonly string[]) =>
    `SELECT f.* FROM unnest(${names}) AS n(name) CROSS JOIN LATERAL (
      SELECT e.* FROM SCHEMA.events ${from} AND ${range}${ofType}
        ORDER BY ${by.map((column) => column + descending).join(', ')} LIMIT ${limit}) f`
  // The index has the first event of each run, which may lie before the page: under the same number, then.
  const findRuns = (names: string, run: string, column: string) => {
    // Compared and ordered by both columns of the index, since the planner would take that of positions and filter.
    const both = `(${column}, r.position)`
    const [low, high] = isForwards ? [after, until] : [until, after]
    const from = `r CROSS JOIN LATERAL (SELECT * FROM SCHEMA.events WHERE position >= r.position
          AND position < r.position + r.${run} ORDER BY position OFFSET 0) e
        WHERE r.${run} > 0 AND ${both} >= (n.name, (${low} >> 16) << 16) AND ${both} <= (n.name, ${high})`
    return find(names, from, [column, 'r.position', 'e.position'])
  }
  const finds: string[] = []
  if (byCategory) finds.push(findRuns(byCategory, 'category_run', `split_part(r.stream, '-', 1)`))
  if (byStream) {
    const first = `SCHEMA.revision_after(n.name, ${isForwards ? after : `${after} - 1`})`
    const from = `e WHERE e.stream = n.name AND e.revision ${isForwards ? '>=' : '<'} ${first}`
    finds.push(find(byStream, from, ['e.revision']))
  }
  if (finds.length === 0 && byType) finds.push(findRuns(byType, 'type_run', 'r.type'))
  const rows = finds.length > 0 ? `(${finds.join(' UNION ALL ')}) e` : `SCHEMA.events e WHERE ${range}`
  return { sql: page(`SELECT e.* FROM ${rows} ORDER BY e.${order} LIMIT ${limit}`, order), values }
}

/** Whether a page may have ended because it was large. Characters are counted, of which each is up to 3 bytes. */
function mayBeCut(events: readonly StoredEvent[]): boolean {
  let size = 0
  for (const { data, metadata } of events) size += data.length + metadata.length
  return size * 3 >= PAGE_BYTES
}

function boundOf(next: Position, end: Position, span: number, isForwards: boolean): Position {
  if (span > Number.MAX_SAFE_INTEGER) return end
  const number = isForwards ? numberOf(next) + span : Math.max(0, numberOf(next) - span)
  if (!Number.isSafeInteger(number)) return end
  const bound = positionOf(number, 0)
  return (isForwards ? bound < end : bound > end) ? bound : end
}

function earlier(a: Position | undefined, b: Position): Position {
  return a !== undefined && a < b ? a : b
}

const NOT_NOTED =
  'a standby can be read when a writer notes for it how far the log is complete (`standbys: true`)'

/** Events in a page. */
const ROWS = 1_000
/** Numbers at which the first page of a filtered reading looks. */
const SPAN = 65_536
