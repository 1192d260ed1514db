import type { ScannedPage, ScanRequest } from '../../adapter/subscription-hub.ts'
import type { LogFilter, LogPlace } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import type { KurrentRecorded, LogPosition } from './driver.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { clientFilter, isNothing, serverFilter } from './filter.ts'
import { Semaphore } from './semaphore.ts'
import { bytesOf, PageSize } from './page.ts'
import { placeOf, type Locator } from './locate.ts'
import { parseLogPosition } from './position.ts'
import { ReadAhead } from './read-ahead.ts'
import type { Reader } from './read.ts'
import { toStored } from './rows.ts'

/**
 * Scans the log to its end. If many of its events match, it reads pages, which is quick. If few match, it uses a
 * subscription of the server's, because only that reports progress when nothing matches; the subscription ends with each
 * page.
 */
export class CatchUp {
  readonly #calls: Calls
  readonly #reader: Reader
  readonly #locator: Locator
  /** The server limits the calls on a connection, and appends and reads need some as well. */
  readonly #semaphore = new Semaphore(MAX_LOOKING_SUBSCRIPTIONS)

  constructor(calls: Calls, reader: Reader, locator: Locator) {
    this.#calls = calls
    this.#reader = reader
    this.#locator = locator
  }

  /** @throws HistoryRewoundError */
  async *scan(
    { after, ...filter }: ScanRequest,
    signal: AbortSignal = NEVER,
  ): AsyncGenerator<ScannedPage, undefined> {
    if (after) await this.#locator.confirm(after)
    if (isNothing(filter)) return
    try {
      yield* this.#calls.canFollow ? this.#look(after, filter, signal) : this.#read(after, filter)
    } catch (error) {
      const { kind } = faultOf(error)
      if (kind === 'not-leader' || kind === 'late') await this.#calls.reconnect()
      throw asMnemeError(error)
    }
    return undefined
  }

  async *#look(
    after: LogPlace | undefined,
    filter: LogFilter,
    signal: AbortSignal,
  ): AsyncGenerator<ScannedPage, undefined> {
    const isAskedFor = clientFilter(filter)
    const size = new PageSize()
    for (let place = after; ;) {
      const found = await this.#semaphore.run(1, () => this.#find(place, filter, signal))
      if (!found) return undefined
      const { records, checkpoint, isCaughtUp } = found
      let last = records.at(-1)
      // The lookup costs a call: it is made at the end, and after a stretch without any match, whose progress would be lost.
      const passed = checkpoint && (isCaughtUp || !last) ? await this.#locator.upTo(checkpoint) : undefined
      const through = passed ?? (last && placeOf(last))
      if (through) {
        place = through
        yield { events: records.map(toStored).filter(isAskedFor), through }
      }
      if (isCaughtUp) return undefined
      if (!last || passed || found.isRare) continue
      size.saw(records)
      const part = {
        direction: 'forwards',
        fromPosition: last.position!,
        filter: serverFilter(filter),
      } as const
      const maxCount = BigInt(size.upTo(Infinity) + 1)
      const readAhead = new ReadAhead(this.#calls.readAll({ ...part, maxCount }), last, () => undefined)
      for (let batch = await readAhead.next(); batch; batch = await readAhead.next()) {
        last = batch.last
        place = placeOf(last)
        yield { events: batch.events.filter(isAskedFor), through: place }
      }
      size.learn(readAhead.records, readAhead.bytes)
    }
  }

  /**
   * The next few events after a place; fewer at the end of the log or if they take long. `undefined` once `signal` is
   * aborted.
   */
  async #find(
    place: LogPlace | undefined,
    filter: LogFilter,
    signal: AbortSignal,
  ): Promise<Found | undefined> {
    const part = {
      fromPosition: place ? parseLogPosition(place.position) : 'start',
      filter: serverFilter(filter),
      window: WINDOW_EVENTS,
    } as const
    const until = this.#calls.clock.now() + PAGE_TIME_MS
    const records: KurrentRecorded[] = []
    let checkpoint: LogPosition | undefined
    let [windows, bytes] = [0, 0]
    for await (const followed of this.#calls.follow(part, signal)) {
      records.push(...followed.records)
      for (const record of followed.records) bytes += bytesOf(record)
      if (followed.records.length > 0) checkpoint = undefined
      checkpoint = followed.checkpoint ?? checkpoint
      if (followed.checkpoint) windows++
      const { isCaughtUp } = followed
      const isLong = (checkpoint !== undefined || records.length > 0) && this.#calls.clock.now() > until
      if (isCaughtUp || isLong || records.length >= ENOUGH_EVENTS || bytes > ENOUGH_BYTES) {
        return { records, checkpoint, isCaughtUp, isRare: isLong || windows > MAX_WINDOWS_OF_FREQUENT_EVENTS }
      }
    }
    return undefined
  }

  /** Scans by reads only, if the driver lacks the parts for subscriptions. Reads report no progress without a match. */
  async *#read(after: LogPlace | undefined, filter: LogFilter): AsyncGenerator<ScannedPage, undefined> {
    const request = {
      ...filter,
      after: after?.position,
      to: undefined,
      direction: 'forwards',
      limit: undefined,
    } as const
    for await (const events of this.#reader.all(request)) {
      const through = events.at(-1)
      if (through) yield { events, through }
    }
    return undefined
  }
}

/** The events of one page. */
interface Found {
  readonly records: readonly KurrentRecorded[]
  /** How far the server has looked after the last of them. */
  readonly checkpoint: LogPosition | undefined
  readonly isCaughtUp: boolean
  /** Whether it took long, so that matches are rare. */
  readonly isRare: boolean
}

const NEVER = new AbortController().signal
const MAX_LOOKING_SUBSCRIPTIONS = 16
/** Events without a match after which the server reports its progress; larger windows are no quicker. */
export const WINDOW_EVENTS = 1_024
/** Events that are enough to tell that matches are frequent. */
const ENOUGH_EVENTS = 64
const ENOUGH_BYTES = 4 * 1024 * 1024
/** Windows without a match after which matches count as rare. */
const MAX_WINDOWS_OF_FREQUENT_EVENTS = 2
/** The longest time to wait for the events of one page. */
const PAGE_TIME_MS = 1_000
