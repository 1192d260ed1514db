import type { ScannedPage, ScanRequest } from '../../adapter/subscription-hub.ts'
import type { LogFilter, LogPlace } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import type { KurrentRecorded, LogPosition } from './driver.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { clientFilter, isNothing, serverFilter } from './filter.ts'
import { Gate } from './gate.ts'
import { bytesOf, PageSize } from './page.ts'
import { placeOf, type Places } from './locate.ts'
import { parseLogPosition } from './position.ts'
import { Pump } from './pump.ts'
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
  readonly #places: Places
  /** The server allows for so many calls on a connection at once, and others need theirs. */
  readonly #gate = new Gate(MOST_LOOKING)

  constructor(calls: Calls, reader: Reader, places: Places) {
    this.#calls = calls
    this.#reader = reader
    this.#places = places
  }

  /** @throws HistoryRewoundError */
  async *scan(
    { after, ...filter }: ScanRequest,
    signal: AbortSignal = NEVER,
  ): AsyncGenerator<ScannedPage, undefined> {
    if (after) await this.#places.confirm(after)
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
      const found = await this.#gate.run(1, () => this.#find(place, filter, signal))
      if (!found) return undefined
      const { records, checkpoint, isCaughtUp } = found
      let last = records.at(-1)
      // Looked up where it is worth it: at the end, and after a long time of which nothing else would be left.
      const passed = checkpoint && (isCaughtUp || !last) ? await this.#places.upTo(checkpoint) : undefined
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
      const pump = new Pump(this.#calls.readAll({ ...part, maxCount }), last, () => undefined)
      for (let batch = await pump.next(); batch; batch = await pump.next()) {
        last = batch.last
        place = placeOf(last)
        yield { events: batch.events.filter(isAskedFor), through: place }
      }
      size.learn(pump.records, pump.bytes)
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
      window: WINDOW,
    } as const
    const until = performance.now() + LONG
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
      const isLong = (checkpoint !== undefined || records.length > 0) && performance.now() > until
      if (isCaughtUp || isLong || records.length >= FEW || bytes > MANY_BYTES) {
        return { records, checkpoint, isCaughtUp, isRare: isLong || windows > FEW_WINDOWS }
      }
    }
    return undefined
  }

  /** By reading alone, where the driver is not what it was: then nothing tells what was passed without finding anything. */
  async *#read(after: LogPlace | undefined, filter: LogFilter): AsyncGenerator<ScannedPage, undefined> {
    const request = { ...filter, after: after?.position, direction: 'forwards', limit: undefined } as const
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
const MOST_LOOKING = 16
/** After how many events that do not match the server says how far it is; looking for more at once is no quicker. */
export const WINDOW = 1_024
/** Events that are enough to tell how many there are. */
const FEW = 64
const MANY_BYTES = 4 * 1024 * 1024
/** How many windows may pass before they are rare. */
const FEW_WINDOWS = 2
/** Milliseconds. */
const LONG = 1_000
