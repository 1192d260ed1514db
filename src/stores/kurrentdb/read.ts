import {
  ConflictError,
  InvalidArgumentError,
  OpenError,
  StoreFailedError,
  StreamDeletedError,
} from '../../base/errors.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type { Direction, ReadAllRequest, ReadRequest, StoredEvent } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import type { KurrentRecorded, LogPosition } from './driver.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { clientFilter, isExact, isNothing, serverFilter } from './filter.ts'
import { MAX_EVENTS_PER_LOG_PAGE, PageSize, readPage, type Page } from './page.ts'
import { isTransient, retryUntilReached } from './retry.ts'
import { formatLogPosition, isSamePosition, parseLogPosition } from './position.ts'
import { ReadAhead } from './read-ahead.ts'
import { toStored } from './rows.ts'

/** Which part of a stream is read. */
interface StreamPart {
  readonly direction: Direction
  /** `undefined`: from the end that the direction begins at. */
  readonly from: number | undefined
  readonly count: number
}

/**
 * Reads in pages, each in its own call that is read to its end: the driver cannot end a call early, and on the shared
 * connection a call that is not read would block the other calls.
 */
export class Reader {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** The head of a stream; `'none'` if it was deleted and can begin again. @throws StreamDeletedError */
  async head(stream: string): Promise<Revision> {
    const page = await this.page(stream, { direction: 'backwards', from: undefined, count: 1 })
    if (page === undefined) return 'none'
    const [last] = page.records
    return last ? Number(last.revision) : this.#headOfEmptied(stream)
  }

  /**
   * The heads of several streams as of one moment: how they stood at what is the end of the log when this begins, since the
   * server shows a record only when all up to it are indexed. If that cannot be known, all are asked until none has changed.
   */
  async heads(streams: readonly string[]): Promise<readonly Revision[]> {
    if (streams.length < 2) return Promise.all(streams.map((stream) => this.head(stream)))
    const end = await this.#endOfLog()
    if (end === undefined) return this.#unchangedHeads(streams)
    const heads = await Promise.all(streams.map((stream) => this.#headAt(stream, end)))
    return heads.every((head) => head !== undefined) ? heads : this.#unchangedHeads(streams)
  }

  /** The end of the log; `undefined` if it is empty, or this user may not read it. */
  async #endOfLog(): Promise<Position | undefined> {
    try {
      return await this.logHead()
    } catch (error) {
      if (error instanceof OpenError && error.reason === 'access-denied') return undefined
      throw error
    }
  }

  /** The head that a stream had at a position of the log; `undefined` if the server does not tell where its events lie. */
  async #headAt(stream: string, end: Position): Promise<Revision | undefined> {
    for (let from: number | undefined, count = 1; ; count = 100) {
      const page = await this.page(stream, { direction: 'backwards', from, count })
      if (page === undefined) return 'none'
      const last = page.records.at(-1)
      // What lay below was erased, which folding the stream will find.
      if (!last) return from ?? this.#headOfEmptied(stream)
      if (!last.position) return undefined
      const there = page.records.find(({ position }) => formatLogPosition(position!) <= end)
      if (there) return Number(there.revision)
      if (last.revision === 0n) return 'none'
      from = Number(last.revision) - 1
    }
  }

  /** The heads of streams once two readings of all of them agree: revisions only rise, so all stood there in between. */
  async #unchangedHeads(streams: readonly string[]): Promise<readonly Revision[]> {
    let before: readonly Revision[] = []
    for (let attempt = 1; ; attempt++) {
      const heads = await Promise.all(streams.map((stream) => this.head(stream)))
      const changed = heads.findIndex((head, i) => head !== before[i])
      if (changed < 0) return heads
      if (attempt === MAX_HEAD_READINGS) {
        const [expected, actual] = [before[changed]!, heads[changed]!]
        throw new ConflictError({ stream: streams[changed]!, expected, actual })
      }
      before = heads
    }
  }

  /** The position of the last event of the log. */
  async logHead(): Promise<Position | undefined> {
    for await (const [last] of this.all({ ...EVERYTHING, direction: 'backwards', limit: 1 })) {
      return last?.position
    }
    return undefined
  }

  /** A stream's events in pages. An empty page: there is such a stream, but nothing is left of what is asked for. */
  async *stream({
    stream,
    direction,
    from,
    to,
    limit = Infinity,
  }: ReadRequest): AsyncGenerator<StoredEvent[], undefined> {
    const size = new PageSize()
    const isInside = insideOf(direction, ({ revision }: StoredEvent) => revision, to)
    const most = Math.min(limit, spanOf(direction, from, to))
    if (most <= 0) return undefined
    const count = size.upTo(most)
    const page = await this.page(stream, { direction, from, count })
    const last = page?.records.at(-1)
    if (!page || !last) {
      const isAll = direction === 'forwards' && (from ?? 0) === 0
      if (isAll && (page || (await this.#isDeleted(stream)))) yield []
      return undefined
    }
    const events = size.saw(page.records).map(toStored).filter(isInside)
    if (events.length > 0) yield events
    if (events.length < page.records.length || (page.isWhole && page.records.length < count)) return undefined
    const step = direction === 'forwards' ? 1n : -1n
    let left = most - page.records.length
    let end = last.revision
    const onwards = this.#onwards({
      last,
      left,
      size,
      isExact: true,
      isInside,
      isAskedFor: () => true,
      endOf: (after, count) => ({ ...after, revision: after.revision + step * BigInt(count) }),
      open: ({ revision }, count) =>
        revision + step < 0n
          ? undefined
          : this.#calls.readStream(stream, {
              direction,
              fromRevision: revision + step,
              maxCount: BigInt(count),
            }),
    })
    for await (const more of onwards) {
      left -= more.length
      end = BigInt(more.at(-1)!.revision)
      yield more
    }
    if (direction === 'forwards' && left > 0 && (await this.#isLostAfter(stream, Number(end)))) yield []
    return undefined
  }

  /** Whether events behind a revision, up to which a stream was read, were erased before they were read. */
  async #isLostAfter(stream: string, revision: number): Promise<boolean> {
    const head = await this.head(stream)
    if (head === revision) return false
    const page = await this.page(stream, { direction: 'forwards', from: revision + 1, count: 1 })
    return Number(page?.records[0]?.revision) !== revision + 1
  }

  /** The store's events in pages. */
  async *all(request: ReadAllRequest): AsyncGenerator<StoredEvent[], undefined> {
    const { direction, after, to, limit = Infinity } = request
    const filter = serverFilter(request)
    const isAskedFor = clientFilter(request)
    const size = new PageSize(MAX_EVENTS_PER_LOG_PAGE)
    const from = after === undefined ? undefined : parseLogPosition(after)
    if (to !== undefined) parseLogPosition(to, 'to')
    const isInside = insideOf(direction, ({ position }: StoredEvent) => position, to)
    if (!isNothing(request)) {
      // Forwards, what lies at a position comes with it.
      const known = from && direction === 'forwards' ? 1 : 0
      const count = size.upTo(isExact(request) ? limit : Infinity) + known
      const fromPosition = from ?? (direction === 'forwards' ? 'start' : 'end')
      const page = await this.#call(() =>
        this.#calls.readAll({ direction, fromPosition, maxCount: BigInt(count), filter }),
      ).catch((error: unknown) => {
        // The server fails if no event begins at the position.
        const isGiven = after !== undefined && size.isFirst && error instanceof StoreFailedError
        throw isGiven ? new InvalidArgumentError('after', 'a position that this store gave') : error
      })
      const records = page.records.filter(({ position }) => known === 0 || !isSamePosition(position, from))
      const last = records.at(-1)
      if (!last?.position) return undefined
      const inside = size.saw(records).map(toStored).filter(isInside)
      const events = inside.filter(isAskedFor).slice(0, limit)
      if (events.length > 0) yield events
      if (inside.length < records.length || (page.isWhole && page.records.length < count)) return undefined
      yield* this.#onwards({
        last,
        left: limit - events.length,
        size,
        isExact: isExact(request),
        isInside,
        isAskedFor,
        open: ({ position }, count) => {
          const maxCount = BigInt(direction === 'forwards' ? count + 1 : count)
          return position && this.#calls.readAll({ direction, fromPosition: position, maxCount, filter })
        },
      })
    }
    return undefined
  }

  /**
   * The pages after the first one. Each is handed on as it comes. The next one is asked for when it is complete, except while
   * the consumer has not begun with it; or, if it is known where that begins, when the consumer has taken half of it.
   */
  async *#onwards({
    open,
    endOf,
    size,
    isExact,
    ...begun
  }: Onwards): AsyncGenerator<StoredEvent[], undefined> {
    let { last, left } = begun
    if (left <= 0) return undefined
    let ahead: PageAhead[] = []
    let isOver = false
    const start = (after: KurrentRecorded, wanted: number): PageAhead | undefined => {
      const count = size.upTo(wanted)
      const source = open(after, count)
      if (!source) return undefined
      const page: PageAhead = {
        after,
        count,
        wanted,
        readAhead: undefined!,
        isTaken: false,
        next: undefined,
        rest: undefined,
      }
      page.readAhead = new ReadAhead(source, after, (end) => {
        const { records, bytes, isWhole } = page.readAhead
        size.learn(records, bytes)
        if (isOver || (isWhole && page.next?.after.revision === end.revision)) return
        // What was asked for beforehand does not begin where this one has ended.
        if (page.next) ahead = ahead.slice(0, ahead.indexOf(page.next))
        page.next = undefined
        const isMore = wanted > records && (!isWhole || records >= count)
        if (!isMore || !begun.isInside(toStored(end))) return
        page.rest = end
        if (page.isTaken) follow(page, end, wanted - records)
      })
      ahead.push(page)
      return page
    }
    const follow = (page: PageAhead, end: KurrentRecorded, wanted: number): void => {
      page.rest = undefined
      page.next = start(end, wanted)
    }
    const takePage = (): PageAhead | undefined => {
      const page = ahead.shift()
      if (page) page.isTaken = true
      if (page?.rest) follow(page, page.rest, page.wanted - page.readAhead.records)
      return page
    }
    start(last, isExact ? left : Infinity)
    try {
      for (let page = takePage(); page && left > 0; page = takePage()) {
        const { readAhead, count, wanted } = page
        let taken = 0
        try {
          for (let batch = await readAhead.next(); batch && left > 0; batch = await readAhead.next()) {
            last = batch.last
            const inside = batch.events.filter(begun.isInside)
            const events = inside.filter(begun.isAskedFor).slice(0, left)
            left -= events.length
            taken += batch.events.length
            if (endOf && !page.next && !readAhead.isOver && wanted > count && taken * 2 >= count)
              follow(page, endOf(page.after, count), wanted - count)
            if (events.length > 0) yield events
            if (inside.length < batch.events.length) return undefined
          }
        } catch (error) {
          if (!isTransient(error)) throw asMnemeError(error)
          ahead = []
          // Once there is a server, reading continues after the last event that was handed on.
          const behind = last
          await this.#ask(async () => {
            const source = open(behind, 1)
            if (source) await readPage(source)
          })
          start(last, isExact ? left : Infinity)
        }
      }
    } finally {
      isOver = true
    }
    return undefined
  }

  /** Records of streams whose names begin with a prefix, from a position on, in one call. */
  recordsOf(prefix: string, fromPosition: LogPosition | 'start', count: number): Promise<Page> {
    const filter = { filterOn: 'streamName', regex: `\\A${prefix}` } as const
    const part = { direction: 'forwards', fromPosition, filter } as const
    return this.#call(() => this.#calls.readAll({ ...part, maxCount: BigInt(count) }))
  }

  /** Records of the log from a position on, in one call, also those that the store keeps for itself. */
  recordsFrom(position: LogPosition, count: number): Promise<Page> {
    const part = { direction: 'forwards', fromPosition: position, filter: USERS_AND_STORE } as const
    return this.#call(() => this.#calls.readAll({ ...part, maxCount: BigInt(count) }))
  }

  /** A part of a stream, in one call; `undefined` if there is no such stream. @throws StreamDeletedError */
  async page(stream: string, { direction, from, count }: StreamPart): Promise<Page | undefined> {
    const fromRevision = from === undefined ? (direction === 'forwards' ? 'start' : 'end') : BigInt(from)
    const part = { direction, fromRevision, maxCount: BigInt(count) } as const
    try {
      return await this.#call(() => this.#calls.readStream(stream, part))
    } catch (error) {
      const { kind } = faultOf(error)
      if (kind === 'no-stream') return undefined
      throw kind === 'tombstoned' ? new StreamDeletedError(stream) : error
    }
  }

  /** Whether a stream that is not there was deleted: then its metadata cuts off whatever it had. */
  async #isDeleted(stream: string): Promise<boolean> {
    const page = await this.page(`$$${stream}`, { direction: 'backwards', from: undefined, count: 1 })
    const [metadata] = page?.records ?? []
    return metadata !== undefined && toStored(metadata).data.includes('"$tb"')
  }

  async #call(open: () => AsyncIterable<readonly KurrentRecorded[]>): Promise<Page> {
    return this.#ask(() => readPage(open()))
  }

  /** Makes a call, and repeats it if the connection is lost. Errors about a stream stay the driver's, others become Mneme's. */
  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await retryUntilReached(this.#calls, call)
    } catch (error) {
      const { kind } = faultOf(error)
      throw kind === 'no-stream' || kind === 'tombstoned' ? error : asMnemeError(error)
    }
  }

  /** The head of a stream without readable events: the server reveals it when it refuses a wrong expectation. */
  async #headOfEmptied(stream: string): Promise<Revision> {
    try {
      await retryUntilReached(this.#calls, () => this.#calls.appendToStream({ stream, expected: 'none' }, []))
      return 'none'
    } catch (error) {
      const fault = faultOf(error)
      const actual = fault.kind === 'violated' ? fault.violations[0]?.actual : undefined
      if (typeof actual === 'number') return actual
      throw asMnemeError(error, { stream })
    }
  }
}

/** How to read on. */
interface Onwards {
  /** The last record so far. */
  readonly last: KurrentRecorded
  /** How many events are still wanted. */
  readonly left: number
  readonly size: PageSize
  /** Reads on after a record, which may come again; `undefined` if nothing can follow it. */
  readonly open: (
    after: KurrentRecorded,
    count: number,
  ) => AsyncIterable<readonly KurrentRecorded[]> | undefined
  /** What the last record of a page is, as far as `open` asks, if that is known before it has come. */
  readonly endOf?: (after: KurrentRecorded, count: number) => KurrentRecorded
  /** Whether hardly anything comes but what is asked for. */
  readonly isExact: boolean
  readonly isAskedFor: (event: StoredEvent) => boolean
  /** Whether an event comes no later than the last one that is wanted. */
  readonly isInside: (event: StoredEvent) => boolean
}

/** A page that was asked for. */
interface PageAhead {
  /** What it comes behind. */
  readonly after: KurrentRecorded
  readonly count: number
  /** How many records are wanted of this and the pages behind it. */
  readonly wanted: number
  readAhead: ReadAhead
  /** Whether the consumer has begun with it. */
  isTaken: boolean
  next: PageAhead | undefined
  /** Its last record, behind which the next page is to be asked for when the consumer begins with this one. */
  rest: KurrentRecorded | undefined
}

/** Whether an event comes no later than the place up to which is read, which is inclusive. */
function insideOf<T extends number | string>(
  direction: Direction,
  placeOf: (event: StoredEvent) => T,
  to: T | undefined,
): (event: StoredEvent) => boolean {
  if (to === undefined) return () => true
  return direction === 'forwards' ? (event) => placeOf(event) <= to : (event) => placeOf(event) >= to
}

/** How many events there are at most between two revisions. */
function spanOf(direction: Direction, from: number | undefined, to: number | undefined): number {
  if (to === undefined) return Infinity
  if (direction === 'forwards') return to - (from ?? 0) + 1
  return from === undefined ? Infinity : from - to + 1
}

/** How often the heads of several streams are read before they count as changing too fast. */
const MAX_HEAD_READINGS = 100
/** All but the server's own events. */
const USERS_AND_STORE = { filterOn: 'streamName', regex: '\\A(?!\\$)' } as const

/** A request without a filter. */
export const EVERYTHING = {
  after: undefined,
  to: undefined,
  streams: undefined,
  categories: undefined,
  types: undefined,
} as const
