import { pause, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import {
  historyRewound,
  StoreBusyError,
  StoreUnavailableError,
  StreamDeletedError,
} from '../../base/errors.ts'
import { isBehind, type ScannedPage, type ScanRequest } from '../../adapter/subscription-hub.ts'
import { streamPages } from '../../adapter/name-ranges.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type {
  Direction,
  KeptKey,
  LogFilter,
  LogPlace,
  ReadAllRequest,
  ReadRequest,
  StoredEvent,
  StreamsRequest,
  StreamSummary,
} from '../../adapter/store-adapter.ts'
import type { Connections } from './connection.ts'
import type { History } from './history.ts'
import { checkPosition, FIRST, formatNumber, LAST, movedBy, numberOf, positionOf } from './position.ts'
import {
  AT_HORIZON,
  HEADS,
  HORIZON,
  HORIZON_BEHIND,
  ID_AT,
  isDeleted,
  KEYS_BEHIND,
  LAST_UP_TO,
  LEFT_FROM,
  NOT_ERASED,
  page,
  type Statements,
  streamsFrom,
} from './statements.ts'
import { Selection } from './filter.ts'
import { type Ask, type Page, pageOf, Pager } from './pages.ts'
import { PollTimeout } from './poll-timeout.ts'
import { type Call, type Parameter, type Row, texts } from './wire.ts'

/** How long reading waits, in milliseconds. */
export interface ReadSettings {
  readonly busyTimeout: number
  readonly pollTimeout: number
}

/** Reads in pages, each of them one statement, so that nothing is held open between two. */
export class Reader {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #history: History
  readonly #busyTimeout: number
  readonly #pollTimeout: PollTimeout
  /** Whether one transaction can give the horizon and the events below it. */
  #looksAtOnce = true

  /** @param busyTimeout milliseconds to wait for earlier appends of other processes that are still being committed. */
  constructor(
    connections: Connections,
    statements: Statements,
    history: History,
    { busyTimeout, pollTimeout }: ReadSettings,
  ) {
    this.#connections = connections
    this.#statements = statements
    this.#history = history
    this.#busyTimeout = busyTimeout
    this.#pollTimeout = new PollTimeout(pollTimeout)
  }

  /** The heads of streams as of the snapshot of one statement. */
  async heads(streams: readonly string[]): Promise<Revision[]> {
    const rows = await this.#ask(HEADS, [texts(streams)])
    return rows.map(([revision], i) => {
      const head = revision === null ? 'none' : Number(revision)
      if (isDeleted(head)) throw new StreamDeletedError(streams[i]!)
      return head
    })
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
    to,
    limit = Infinity,
  }: ReadRequest): AsyncGenerator<StoredEvent[], undefined> {
    const isForwards = direction === 'forwards'
    const order = isForwards ? 'revision' : 'revision DESC'
    const [first, last] = isForwards ? ['>=', '<='] : ['<=', '>=']
    const rows = `SELECT * FROM SCHEMA.events
      WHERE stream = $1 AND revision ${first} $2 AND revision ${last} $3 AND ${NOT_ERASED} ORDER BY ${order} LIMIT $4`
    const statements = page(rows, order)
    const pager = new Pager((sql, values) => this.#ask(sql, values), this.#history)
    let next = from ?? (isForwards ? 0 : Number.MAX_SAFE_INTEGER)
    const end = to ?? (isForwards ? Number.MAX_SAFE_INTEGER : 0)
    let left = limit
    while (left > 0 && (isForwards ? next <= end : next >= end)) {
      const wanted = Math.min(left, MAX_EVENTS_PER_PAGE)
      const { events, isCut } = await pager.next(statements, [stream, ...[next, end, wanted].map(String)])
      const last = events.at(-1)
      if (last) yield events
      else if ((await this.#isLost(stream, next)) && isForwards) yield []
      if (!last || (events.length < wanted && !isCut)) return undefined
      left -= events.length
      next = last.revision + (isForwards ? 1 : -1)
    }
    return undefined
  }

  /**
   * Whether a stream has no event to be read from a revision on because it was erased, before reading began or meanwhile. What
   * was appended since the page was read is not erased.
   *
   * @throws StreamDeletedError
   */
  async #isLost(stream: string, from: number): Promise<boolean> {
    const [row] = await this.#ask(LEFT_FROM, [stream, String(from)])
    const [head, version] = row!
    if (head !== null && isDeleted(Number(head))) throw new StreamDeletedError(stream)
    return version === '0'
  }

  /** The streams of the store in pages. */
  streams(request: StreamsRequest): AsyncGenerator<StreamSummary[], undefined> {
    return streamPages(request, MAX_STREAMS_PER_PAGE, async ({ from, before }, wanted) => {
      const values = [from, String(wanted), ...(before === undefined ? [] : [before])]
      const rows = await this.#ask(streamsFrom(before !== undefined), values)
      return rows.map(([stream, revision, first]) => {
        const events = first === null ? 0 : Number(revision) + 1 - Number(first)
        return { stream: stream!, revision: Number(revision), events, isErased: events === 0 }
      })
    })
  }

  /** The idempotency keys that are kept, in pages. There is no index of their positions, so a page looks at all keys. */
  async *keys(after: Position | undefined): AsyncGenerator<KeptKey[], undefined> {
    let last: readonly [position: string, key: string] = [
      after === undefined ? FIRST : checkPosition(after),
      LAST_KEY,
    ]
    for (;;) {
      const rows = await this.#ask(KEYS_BEHIND, [...last, String(MAX_KEYS_PER_PAGE)])
      const end = rows.at(-1)
      if (!end) return undefined
      yield rows.map(([key, fingerprint, from, through, streams]) => ({
        ...{ key: key!, fingerprint: fingerprint!, streams: JSON.parse(streams!) as string[] },
        ...{ from: formatNumber(from!), through: formatNumber(through!) },
      }))
      last = [end[2]!, end[0]!]
    }
  }

  /** The store's events in pages: those below the appends that were under way when reading began. */
  async *all(request: ReadAllRequest): AsyncGenerator<StoredEvent[], undefined> {
    const { direction, after, to, limit = Infinity } = request
    const isForwards = direction === 'forwards'
    if (after !== undefined) checkPosition(after)
    if (to !== undefined) checkPosition(to, 'to')
    const { position, isStandby } = await this.#horizon()
    const start = isForwards ? (after ?? FIRST) : earlier(after, movedBy(position, 1))
    const end = isForwards ? earlier(to, position) : (to ?? FIRST)
    const range = { direction, start, end, limit, isStandby }
    for await (const { events } of this.#pages(request, range)) if (events.length > 0) yield events
    return undefined
  }

  /**
   * Reads the log behind a place, up to the appends that are under way, for which it does not wait.
   *
   * @param looked is told whether an event is committed above them, which comes only when they are over.
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
    const start = after?.position ?? FIRST
    const ask: Ask = (sql, values) => this.#pollOnce(sql, values)
    const range = { direction: 'forwards', start, end, isStandby, page, ask } as const
    for await (const { events, upTo } of this.#pages(filter, range)) {
      const last = events.at(-1)
      // Only positions of events: after a crash, a number without one may be given out again.
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
    const horizon = await this.#currentHorizon()
    if (horizon.isStandby && horizon.position < position) throw new StoreUnavailableError(NOT_YET)
    return undefined
  }

  /** Reads the log between two positions, the latter included, in pages, which may be empty. */
  async *#pages(
    filter: LogFilter,
    { direction, start, end, limit = Infinity, isStandby, page, ask }: Range,
  ): AsyncGenerator<Looked, undefined> {
    const isForwards = direction === 'forwards'
    const selection = new Selection(filter, direction, isStandby)
    const pager = new Pager(ask ?? ((sql, values) => this.#ask(sql, values)), this.#history, page)
    let span = selection.firstSpan
    let next = start
    let left = limit
    while (left > 0 && (isForwards ? next < end : next > end)) {
      const wanted = Math.min(left, MAX_EVENTS_PER_PAGE)
      const bound = boundOf(next, end, span, isForwards)
      const values = [...selection.values, next, bound, String(wanted)]
      const { events, isCut, noted } = await pager.next(selection.statementsFor(span), values)
      const last = events.at(-1)
      const isWhole = events.length < wanted && !isCut
      // This may be a different standby from before, which has not replayed as much.
      const isEnd = isForwards && isWhole && noted !== undefined && noted < bound
      const from = next
      next = isWhole && !isEnd ? bound : (last?.position ?? next)
      span = selection.nextSpan(span, isWhole, Math.abs(numberOf(next) - numberOf(from)))
      left -= events.length
      yield { events, upTo: next }
      if (isEnd) return undefined
    }
    return undefined
  }

  /** Up to where the log can be read: at least as far as this process has seen it or was acknowledged. */
  async #horizon(): Promise<Horizon> {
    const seen = this.#history.number
    const started = environment.now()
    for (let delay = 1; ; delay = Math.min(delay * 2, 50)) {
      const horizon = await this.#currentHorizon()
      // Appends that began earlier, of other processes, are still being committed.
      if (horizon.isStandby || numberOf(horizon.position) >= seen) return horizon
      const waited = environment.now() - started
      if (waited > this.#busyTimeout) throw new StoreBusyError(waited)
      await pause(systemClock, delay)
    }
  }

  /**
   * The current horizon for a reader that continues from a place, with the first page behind it if one round trip can give
   * both.
   *
   * @throws HistoryRewoundError if there is no such place.
   */
  async #look(filter: LogFilter, place: LogPlace | undefined): Promise<Look> {
    const seen = this.#history.number
    const start = place?.position ?? FIRST
    const selection = new Selection(filter, 'forwards', false)
    const bound = boundOf(start, LAST, selection.firstSpan, true)
    const behind = { statement: this.#statements.of(HORIZON_BEHIND), values: [place?.position ?? null] }
    const atHorizon = (end: Position | null) => ({
      statement: this.#statements.of(AT_HORIZON),
      values: [end],
    })
    const [first, ...more] = await this.#poll(
      this.#looksAtOnce
        ? [
            behind,
            atHorizon(null),
            {
              statement: this.#statements.of(selection.statementsFor(selection.firstSpan).small),
              values: [...selection.values, start, bound, String(MAX_EVENTS_PER_PAGE)],
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
    // A standby may take over, or the next connection may reach a different server.
    this.#looksAtOnce = until !== ''
    const [head] = isOne ? more[0]! : await this.#pollOnce(AT_HORIZON, [horizon.position])
    return {
      ...horizon,
      id: head?.[0] ?? undefined,
      isHeldBack: head?.[1] === 't' && !horizon.isStandby,
      page: isOne ? pageOf(more[1]!, this.#history) : undefined,
    }
  }

  async #currentHorizon(): Promise<Horizon> {
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
    const [row] = await this.#pollOnce(LAST_UP_TO, [position])
    return row && { position: formatNumber(row[0]!), id: row[1]! }
  }

  /** Reads for subscribers, with a time-out of its own: on a dead connection they would wait for all of the other one. */
  #poll(calls: readonly Call[]): Promise<Row[][]> {
    return this.#pollTimeout.limit((timeoutMs) => this.#connections.askAll(calls, timeoutMs))
  }

  async #pollOnce(sql: string, values: readonly Parameter[]): Promise<Row[]> {
    return (await this.#poll([{ statement: this.#statements.of(sql), values }]))[0]!
  }

  #ask(sql: string, values: readonly Parameter[]) {
    return this.#connections.ask(this.#statements.of(sql), values)
  }
}

interface Horizon {
  readonly position: Position
  /** Whether the server is a standby, which has the horizon that the primary noted. */
  readonly isStandby: boolean
}

interface Look extends Horizon {
  /** The id of the event at the horizon. */
  readonly id: string | undefined
  /** Whether an event above it is committed. */
  readonly isHeldBack: boolean
  /** The first page, if it came with the horizon. */
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
  /** The first page, if it is known already. */
  readonly page?: Page | undefined
  readonly ask?: Ask
}

/** A page, and up to where it is complete. */
interface Looked {
  readonly events: StoredEvent[]
  readonly upTo: Position
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
  'this standby does not know how far the log is complete: open a store that writes on the primary with standbys: true'
const NOT_YET = 'the standby has not replayed the log up to that position yet: retry later'
/** Behind all keys of a position. */
const LAST_KEY = '\u{10FFFF}'
const MAX_KEYS_PER_PAGE = 10_000
/** Streams in a page of a list. */
const MAX_STREAMS_PER_PAGE = 1_000
/** Events in a page. */
const MAX_EVENTS_PER_PAGE = 1_000
