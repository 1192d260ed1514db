import { StoreBusyError, StoreUnavailableError } from '../errors.ts'
import { isBehind, type ScannedPage, type ScanRequest } from '../log-tail.ts'
import type { Position, Revision } from '../revision.ts'
import { rewound } from '../rewound.ts'
import type {
  Direction,
  LogFilter,
  LogPlace,
  ReadAllRequest,
  ReadRequest,
  StoredEvent,
} from '../store-adapter.ts'
import type { Connections } from './connections.ts'
import type { History } from './history.ts'
import { checkPosition, FIRST, formatNumber, movedBy, numberOf, positionOf } from './position.ts'
import { eventOf } from './rows.ts'
import { selection } from './selection.ts'
import {
  HEAD,
  HORIZON,
  HORIZON_BEHIND,
  ID_AT,
  LAST_UP_TO,
  page,
  PAGE_BYTES,
  type Statements,
} from './statements.ts'
import type { Parameter, Row } from './wire-query.ts'

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
      const events = await this.#eventsOf(sql, [stream, String(next), String(wanted)])
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
    const { position, isStandby } = await this.#horizon()
    const start = isForwards ? (after ?? FIRST) : earlier(after, movedBy(position, 1))
    const range = { direction, start, end: isForwards ? position : FIRST, limit, isStandby }
    for await (const { events } of this.#pages(request, range)) if (events.length > 0) yield events
    return undefined
  }

  /**
   * Looks through the log behind a place, up to the appends that are under way, for which it does not wait.
   *
   * @param looked is told whether something is committed that comes only when those are over.
   * @throws HistoryRewoundError
   */
  async *scan(
    { after, ...filter }: ScanRequest,
    looked: (isHeldBack: boolean) => void,
  ): AsyncGenerator<ScannedPage, undefined> {
    const { position: end, isStandby, id, isHeldBack } = await this.#horizonBehind(after)
    looked(isHeldBack)
    const head = id === undefined ? undefined : { position: end, id }
    if (head) this.#history.saw(head)
    let place = after
    const range = { direction: 'forwards', start: after?.position ?? FIRST, end, isStandby } as const
    for await (const { events, upTo } of this.#pages(filter, range)) {
      const last = events.at(-1)
      // Never a number without an event: after a crash it may be given out again.
      const known = [last, head].find((event) => event?.position === upTo)
      const found = known ?? (last && upTo < end ? last : await this.#lastUpTo(upTo))
      const through = isBehind(last, found) ? found : last
      if (!through || !isBehind(place, through)) continue
      place = { position: through.position, id: through.id }
      this.#history.saw(place)
      yield { events, through: place }
    }
    return undefined
  }

  async idAt(position: Position): Promise<string | undefined> {
    const [row] = await this.#ask(ID_AT, [checkPosition(position, 'from')])
    if (row) return row[0]!
    const horizon = await this.#reached(HORIZON, [])
    if (horizon.isStandby && horizon.position < position) throw new StoreUnavailableError(NOT_YET)
    return undefined
  }

  /** Looks through the log between two positions, the latter included, in pages; those may be empty. */
  async *#pages(
    filter: LogFilter,
    { direction, start, end, limit = Infinity, isStandby }: Range,
  ): AsyncGenerator<Looked, undefined> {
    const isForwards = direction === 'forwards'
    const { sql, values } = selection(filter, direction, isStandby)
    let span = values.length > 0 ? SPAN : Infinity
    let next = start
    let left = limit
    while (left > 0 && (isForwards ? next < end : next > end)) {
      const wanted = Math.min(left, ROWS)
      // A filter may match nothing for a long while: a page looks at so many numbers at most.
      const bound = boundOf(next, end, span, isForwards)
      const { events, noted } = await this.#page(sql, [...values, next, bound, String(wanted)])
      const last = events.at(-1)
      const isWhole = events.length < wanted && !mayBeCut(events)
      // This may be another standby than the one that was asked before, and not have come as far.
      const isEnd = isForwards && isWhole && noted !== undefined && noted < bound
      next = isWhole && !isEnd ? bound : (last?.position ?? next)
      if (isWhole) span *= 4
      left -= events.length
      yield { events, upTo: next }
      if (isEnd) return undefined
    }
    return undefined
  }

  /** Up to where the log can be read: as far as this process has seen it and was acknowledged, at least. */
  async #horizon(): Promise<Horizon> {
    const seen = this.#history.number
    const started = performance.now()
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      const horizon = await this.#reached(HORIZON, [])
      // Appends that began earlier, of other processes, are still being committed.
      if (horizon.isStandby || numberOf(horizon.position) >= seen) return horizon
      const waited = performance.now() - started
      if (waited > this.#patience) throw new StoreBusyError(waited)
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }

  /** The horizon just now, for who goes on from a place. @throws HistoryRewoundError where that is none. */
  async #horizonBehind(place: LogPlace | undefined): Promise<HorizonBehind> {
    const horizon = await this.#reached(HORIZON_BEHIND, [place?.position ?? null])
    const [idThere, id, isAbove] = horizon.more
    if (place && idThere !== place.id) {
      if (horizon.isStandby && horizon.position < place.position) throw new StoreUnavailableError(NOT_YET)
      throw rewound(place.position)
    }
    return { ...horizon, id: id ?? undefined, isHeldBack: isAbove === 't' && !horizon.isStandby }
  }

  async #reached(sql: string, values: readonly Parameter[]): Promise<Horizon & { readonly more: Row }> {
    const seen = this.#history.number
    const [row] = await this.#ask(sql, values)
    const [reached, drawn, standby, ...more] = row as [string, string | null, string, ...Row]
    if (reached === '-1') throw new StoreUnavailableError(NOT_NOTED)
    const isStandby = standby === 't'
    if (!isStandby) this.#history.checkNumber(Number(drawn), seen)
    return { position: formatNumber(reached), isStandby, more }
  }

  async #lastUpTo(position: Position): Promise<LogPlace | undefined> {
    const [row] = await this.#ask(LAST_UP_TO, [position])
    return row && { position: formatNumber(row[0]!), id: row[1]! }
  }

  async #eventsOf(sql: string, values: readonly Parameter[]): Promise<StoredEvent[]> {
    return (await this.#page(sql, values)).events
  }

  async #page(sql: string, values: readonly Parameter[]): Promise<Page> {
    const rows = await this.#ask(sql, values)
    const noted = rows.find((row) => row[1] === null)?.[0] ?? undefined
    const events = (noted === undefined ? rows : rows.filter((row) => row[1] !== null)).map(eventOf)
    for (const end of [events.at(0), events.at(-1)]) if (end) this.#history.saw(end)
    return { events, noted: noted === undefined ? undefined : formatNumber(noted) }
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

interface HorizonBehind extends Horizon {
  /** Of the event at the horizon, unless it is too new. */
  readonly id: string | undefined
  /** Whether something is committed above it. */
  readonly isHeldBack: boolean
}

/** Which part of the log to look through. */
interface Range {
  readonly direction: Direction
  /** Exclusive. */
  readonly start: Position
  /** Inclusive. */
  readonly end: Position
  readonly limit?: number
  readonly isStandby: boolean
}

/** A page, and up to where that was all there is. */
interface Looked {
  readonly events: StoredEvent[]
  readonly upTo: Position
}

interface Page {
  readonly events: StoredEvent[]
  /** On a standby: up to where the log was complete there. */
  readonly noted: Position | undefined
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
const NOT_YET = 'the standby has not come as far as that position yet'

/** Events in a page. */
const ROWS = 1_000
/** Numbers at which the first page of a filtered reading looks. */
const SPAN = 65_536
