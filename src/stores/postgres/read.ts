import { historyRewound, StoreBusyError, StoreUnavailableError } from '../../base/errors.ts'
import { isBehind, type ScannedPage, type ScanRequest } from '../../adapter/subscription-hub.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type {
  Direction,
  LogFilter,
  LogPlace,
  ReadAllRequest,
  ReadRequest,
  StoredEvent,
} from '../../adapter/store-adapter.ts'
import type { Connections } from './connection.ts'
import type { History } from './history.ts'
import { checkPosition, FIRST, formatNumber, LAST, movedBy, numberOf, positionOf } from './position.ts'
import {
  AT_HORIZON,
  eventOf,
  HEAD,
  HORIZON,
  HORIZON_BEHIND,
  ID_AT,
  LAST_UP_TO,
  page,
  PAGE_BYTES,
  type PageStatements,
  SMALL,
  type Statements,
} from './statements.ts'
import { selection } from './filter.ts'
import type { Parameter, Row } from './wire.ts'

/** Reads in pages, each of them one statement, so that nothing is held open between two. */
export class Reader {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #history: History
  readonly #patience: number
  /** Whether a horizon and what lies below it can be had in one transaction. */
  #looksAtOnce = true

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
    const ask = this.#pager(page(rows, order))
    let next = from ?? (isForwards ? 0 : Number.MAX_SAFE_INTEGER)
    let left = limit
    while (left > 0 && next >= 0) {
      const wanted = Math.min(left, ROWS)
      const { events, isCut } = await ask([stream, String(next), String(wanted)])
      const last = events.at(-1)
      if (last) yield events
      if (!last || (events.length < wanted && !isCut)) return undefined
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
    const { position: end, isStandby, id, isHeldBack, page } = await this.#look(filter, after)
    looked(isHeldBack)
    const head = id === undefined ? undefined : { position: end, id }
    if (head) this.#history.saw(head)
    let place = after
    const range = { direction: 'forwards', start: after?.position ?? FIRST, end, isStandby, page } as const
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
    const horizon = await this.#reached()
    if (horizon.isStandby && horizon.position < position) throw new StoreUnavailableError(NOT_YET)
    return undefined
  }

  /** Looks through the log between two positions, the latter included, in pages; those may be empty. */
  async *#pages(
    filter: LogFilter,
    { direction, start, end, limit = Infinity, isStandby, page }: Range,
  ): AsyncGenerator<Looked, undefined> {
    const isForwards = direction === 'forwards'
    const { statements, values } = selection(filter, direction, isStandby)
    const ask = this.#pager(statements, page)
    let span = firstSpan(values)
    let next = start
    let left = limit
    while (left > 0 && (isForwards ? next < end : next > end)) {
      const wanted = Math.min(left, ROWS)
      // A filter may match nothing for a long while: a page looks at so many numbers at most.
      const bound = boundOf(next, end, span, isForwards)
      const { events, isCut, noted } = await ask([...values, next, bound, String(wanted)])
      const last = events.at(-1)
      const isWhole = events.length < wanted && !isCut
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
      const horizon = await this.#reached()
      // Appends that began earlier, of other processes, are still being committed.
      if (horizon.isStandby || numberOf(horizon.position) >= seen) return horizon
      const waited = performance.now() - started
      if (waited > this.#patience) throw new StoreBusyError(waited)
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }

  /**
   * The horizon just now, for who goes on from a place; with the first page behind that, where one round trip can have
   * both.
   *
   * @throws HistoryRewoundError where there is no such place.
   */
  async #look(filter: LogFilter, place: LogPlace | undefined): Promise<Look> {
    const seen = this.#history.number
    const start = place?.position ?? FIRST
    const { statements, values } = selection(filter, 'forwards', false)
    const bound = boundOf(start, LAST, firstSpan(values), true)
    const behind = { statement: this.#statements.of(HORIZON_BEHIND), values: [place?.position ?? null] }
    const atHorizon = (end: Position | null) => ({
      statement: this.#statements.of(AT_HORIZON),
      values: [end],
    })
    const [first, ...more] = await this.#connections.askAll(
      this.#looksAtOnce
        ? [
            behind,
            atHorizon(null),
            {
              statement: this.#statements.of(statements.small),
              values: [...values, start, bound, String(ROWS)],
            },
          ]
        : [behind],
    )
    const row = first![0]!
    const horizon = this.#horizonOf(row, seen)
    const [idThere, until] = row.slice(3)
    if (place && idThere !== place.id) {
      if (horizon.isStandby && horizon.position < place.position) throw new StoreUnavailableError(NOT_YET)
      throw historyRewound(place.position)
    }
    const isOne = more.length > 0 && until !== ''
    // A server takes over, say, or it is another one.
    this.#looksAtOnce = until !== ''
    const [head] = isOne ? more[0]! : await this.#ask(AT_HORIZON, [horizon.position])
    return {
      ...horizon,
      id: head?.[0] ?? undefined,
      isHeldBack: head?.[1] === 't' && !horizon.isStandby,
      page: isOne ? this.#pageOf(more[1]!) : undefined,
    }
  }

  async #reached(): Promise<Horizon> {
    const seen = this.#history.number
    const [row] = await this.#ask(HORIZON, [])
    return this.#horizonOf(row!, seen)
  }

  /** @param seen the number that was seen before it was asked for. @throws HistoryRewoundError */
  #horizonOf(row: Row, seen: number): Horizon {
    const [reached, drawn, standby] = row as [string, string | null, string]
    if (reached === '-1') throw new StoreUnavailableError(NOT_NOTED)
    const isStandby = standby === 't'
    if (!isStandby) this.#history.checkNumber(Number(drawn), seen)
    return { position: formatNumber(reached), isStandby }
  }

  async #lastUpTo(position: Position): Promise<LogPlace | undefined> {
    const [row] = await this.#ask(LAST_UP_TO, [position])
    return row && { position: formatNumber(row[0]!), id: row[1]! }
  }

  /** Asks for one page after the other, of small events as long as they are. @param first what is known of them. */
  #pager({ small, measured }: PageStatements, first?: Page): (values: readonly Parameter[]) => Promise<Page> {
    let areSmall = true
    let known = first
    return async (values) => {
      if (areSmall) {
        const page = known ?? this.#pageOf(await this.#ask(small, values))
        known = undefined
        areSmall = !page.isCut
        if (areSmall || page.events.length > 0) return page
      }
      const page = this.#pageOf(await this.#ask(measured, values))
      const size = sizeOf(page.events)
      areSmall = page.events.every((event) => sizeOf([event]) <= SMALL)
      // Characters are counted, of which each is up to 3 bytes.
      return { ...page, isCut: size * 3 >= PAGE_BYTES }
    }
  }

  /** A page of rows; it ends before one that is too large for it. */
  #pageOf(rows: readonly Row[]): Page {
    const events: StoredEvent[] = []
    let noted: string | undefined
    let isCut = false
    for (const row of rows) {
      if (row[STREAM] === null) noted = row[0]!
      else if (row[DATA] === null) isCut = true
      else if (!isCut) events.push(eventOf(row))
    }
    for (const end of [events.at(0), events.at(-1)]) if (end) this.#history.saw(end)
    return { events, isCut, noted: noted === undefined ? undefined : formatNumber(noted) }
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

interface Look extends Horizon {
  /** Of the event at the horizon. */
  readonly id: string | undefined
  /** Whether something is committed above it. */
  readonly isHeldBack: boolean
  /** The first page of what is asked for, where it came with the horizon. */
  readonly page: Page | undefined
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
  /** The first page, where it is known already. */
  readonly page?: Page | undefined
}

/** A page, and up to where that was all there is. */
interface Looked {
  readonly events: StoredEvent[]
  readonly upTo: Position
}

interface Page {
  readonly events: StoredEvent[]
  /** Whether it may have ended before its end, because something is large. */
  readonly isCut: boolean
  /** On a standby: up to where the log was complete there. */
  readonly noted: Position | undefined
}

/** In UTF-16 units of JSON. */
function sizeOf(events: readonly StoredEvent[]): number {
  let size = 0
  for (const { data, metadata } of events) size += data.length + metadata.length
  return size
}

/** Numbers at which the first page looks; of all events, none are looked at in vain. */
function firstSpan(selected: readonly Parameter[]): number {
  return selected.length > 0 ? SPAN : Infinity
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

/** Columns of a row that are null only where they say something. */
const [STREAM, DATA] = [1, 7] as const
/** Events in a page. */
const ROWS = 1_000
/** Numbers at which the first page of a filtered reading looks. */
const SPAN = 65_536
