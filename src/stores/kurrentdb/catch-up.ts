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
 * Looks through the log to its end. Where much of it is asked for, it is read in pages, which is quick. Where little is,
 * a subscription of the server's looks for it, since that alone says how far it has come without finding anything; it
 * is ended with each page.
 */
export class CatchUp {
  readonly #calls: Calls
  readonly #reader: Reader
  readonly #locator: Locator
  /** The server allows for so many calls on a connection at once, and others need theirs. */
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
      // Looked up where it is worth it: at the end, and after a long time of which nothing else would be left.
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
   * The next few events behind a place; fewer at the end of the log, and where they are long in coming. `undefined` once
   * `signal` is aborted.
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

  /** By reading alone, where the driver is not what it was: then nothing tells what was passed without finding anything. */
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

/** What was found at once. */
interface Found {
  readonly records: readonly KurrentRecorded[]
  /** Up to where was looked behind the last of them. */
  readonly checkpoint: LogPosition | undefined
  readonly isCaughtUp: boolean
  /** Whether it was long in coming. */
  readonly isRare: boolean
}

const NEVER = new AbortController().signal
const MAX_LOOKING_SUBSCRIPTIONS = 16
/** After how many events that do not match the server says how far it is; looking for more at once is no quicker. */
export const WINDOW_EVENTS = 1_024
/** Events that are enough to tell how many there are. */
const ENOUGH_EVENTS = 64
const ENOUGH_BYTES = 4 * 1024 * 1024
/** How many windows may pass before they are rare. */
const MAX_WINDOWS_OF_FREQUENT_EVENTS = 2
/** How long events of one page are waited for. */
const PAGE_TIME_MS = 1_000
