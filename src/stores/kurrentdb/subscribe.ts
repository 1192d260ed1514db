import { every } from '../../base/clock.ts'
import { categoryOf } from '../../model/names.ts'
import {
  isBehind,
  type LogSource,
  type ScannedPage,
  type ScanRequest,
  tailLog,
} from '../../adapter/subscription-hub.ts'
import type { LogFilter, LogPlace, StoreAdapter } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import { CatchUp, WINDOW_EVENTS } from './catch-up.ts'
import { placeOf, type Locator } from './locate.ts'
import type { Reader } from './read.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { clientFilter, isNothing, serverFilter } from './filter.ts'
import type { Followed } from './grpc.ts'
import { parseLogPosition } from './position.ts'
import { toStored } from './rows.ts'

/**
 * Subscriptions to the log. A subscriber that is behind scans by itself; all that have caught up share one subscription of
 * the server's for each kind of filter.
 */
export function subscriptionsTo(calls: Calls, reader: Reader, locator: Locator): StoreAdapter['subscribe'] {
  const catchUp = new CatchUp(calls, reader, locator)
  const feeds = new Set<LiveFeed>()
  const source: LogSource = {
    async *scan(request, signal) {
      for (const feed of feeds) {
        const pages = feed.take(request)
        if (!pages) continue
        yield* pages
        return
      }
      yield* catchUp.scan(request, signal)
    },
    watch(changed, wanted) {
      if (!calls.canFollow) return poll(calls, changed)
      const feed = new LiveFeed(calls, locator, wanted, changed)
      feeds.add(feed)
      const end = () => {
        feeds.delete(feed)
        feed.close()
      }
      return { begun: feed.begun, end }
    },
    widen,
  }
  const tails = { streams: tailLog(source), types: tailLog(source), none: tailLog(source) }
  return (request) => tails[kindOf(request)](request)
}

/**
 * The categories of streams, if there are many. Each change of the filter is another subscription of the server's, which
 * compiles its expression anew, in the thread that serves all subscriptions: with a hundred names that took it 20 ms.
 */
function widen(filter: LogFilter): LogFilter {
  const { streams = [], categories = [], types } = filter
  if (streams.length === 0 || streams.length + categories.length <= MAX_LIVE_NAMES) return filter
  return { streams: undefined, categories: [...new Set([...categories, ...streams.map(categoryOf)])], types }
}

/** Streams and categories that are followed by name. */
const MAX_LIVE_NAMES = 16

/** The property by which the server filters. */
function kindOf({ streams, categories, types }: LogFilter): 'streams' | 'types' | 'none' {
  return (streams ?? categories) ? 'streams' : types ? 'types' : 'none'
}

/** Used if the driver lacks the parts for subscriptions. */
function poll(calls: Calls, changed: () => void): () => void {
  return every(calls.clock, POLL_INTERVAL_MS, changed)
}

const POLL_INTERVAL_MS = 500

/**
 * The latest events of a subscription of the server's, for all subscribers of this process that have caught up. It takes
 * events as soon as they come, so that the server never waits.
 */
export class LiveFeed {
  readonly #calls: Calls
  readonly #locator: Locator
  readonly #wanted: ScanRequest
  readonly #changed: () => void
  readonly #ending = new AbortController()
  /** Resolves when it has caught up, or has failed. */
  readonly begun: Promise<void>
  #begin!: () => void
  /** After this place, no wanted event is missing. */
  #start: LogPlace | undefined
  #pages: ScannedPage[] = []
  #events = 0
  #units = 0
  #lookedUp = -Infinity
  #failure: { readonly error: unknown } | undefined

  /** @param changed called when there is more. */
  constructor(calls: Calls, locator: Locator, wanted: ScanRequest, changed: () => void) {
    this.#calls = calls
    this.#locator = locator
    this.#wanted = wanted
    this.#changed = changed
    this.#start = wanted.after
    this.begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    if (isNothing(wanted)) {
      this.#begin()
      return
    }
    void this.#run()
    // From a place beyond the end of its log, the server silently gives nothing.
    if (wanted.after) locator.confirm(wanted.after).catch(this.#fail)
  }

  /**
   * The events after a place; `undefined` if some may be missing, or if the place does not belong to this history.
   *
   * @throws the error that ended the feed.
   */
  take({ after, ...filter }: ScanRequest): readonly ScannedPage[] | undefined {
    if (!isOf(this.#wanted, filter)) return undefined
    if (this.#failure) throw this.#failure.error
    if (isBehind(after, this.#start)) return undefined
    const next = this.#pages.findLastIndex(({ through }) => !isBehind(after, through)) + 1
    const [before, within] = [this.#pages[next - 1]?.through ?? this.#start, this.#pages[next]]
    const known = [before, ...(within?.events ?? [])].find((place) => place?.position === after?.position)
    if (known && known.id !== after?.id) return undefined
    if (!within) return []
    const events = within.events.filter((event) => isBehind(after, event))
    return [{ ...within, events }, ...this.#pages.slice(next + 1)]
  }

  close(): void {
    this.#ending.abort()
  }

  async #run(): Promise<void> {
    const { after, ...filter } = this.#wanted
    const isAskedFor = clientFilter(filter)
    const fromPosition = after ? parseLogPosition(after.position) : 'start'
    const part = { fromPosition, filter: serverFilter(filter), window: WINDOW_EVENTS } as const
    try {
      for await (const followed of this.#calls.follow(part, this.#ending.signal)) {
        const through = await this.#through(followed)
        if (through && isBehind(this.#end, through)) {
          this.#keep({ events: followed.records.map(toStored).filter(isAskedFor), through })
          this.#changed()
        }
        if (followed.isCaughtUp) this.#begin()
      }
    } catch (error) {
      await this.#fail(error)
    }
  }

  /** The place that the feed has reached. Progress without a match is looked up at most once a second. */
  async #through({ records, checkpoint }: Followed): Promise<LogPlace | undefined> {
    const last = records.at(-1)
    const behindLast = last && placeOf(last)
    if (!checkpoint || this.#calls.clock.now() < this.#lookedUp + CHECKPOINT_LOOK_UP_INTERVAL_MS)
      return behindLast
    this.#lookedUp = this.#calls.clock.now()
    return (await this.#locator.upTo(checkpoint)) ?? behindLast
  }

  readonly #fail = async (error: unknown): Promise<void> => {
    if (this.#ending.signal.aborted) return
    const { kind } = faultOf(error)
    if (kind === 'not-leader' || kind === 'late') await this.#calls.reconnect().catch(() => undefined)
    this.#failure = { error: asMnemeError(error) }
    this.#begin()
    this.#changed()
  }

  get #end(): LogPlace | undefined {
    return this.#pages.at(-1)?.through ?? this.#start
  }

  #keep(page: ScannedPage): void {
    this.#pages.push(page)
    this.#events += page.events.length
    this.#units += unitsOf(page)
    while (this.#pages.length > 1 && (this.#events > MAX_KEPT_EVENTS || this.#units > MAX_KEPT_UNITS)) {
      const oldest = this.#pages.shift()!
      this.#events -= oldest.events.length
      this.#units -= unitsOf(oldest)
      this.#start = oldest.through
    }
  }
}

/** Whether both are the same filter object's lists. */
function isOf(wanted: LogFilter, { streams, categories, types }: LogFilter): boolean {
  return wanted.streams === streams && wanted.categories === categories && wanted.types === types
}

function unitsOf({ events }: ScannedPage): number {
  let units = 0
  for (const { data, metadata } of events) units += data.length + metadata.length
  return units
}

/** The most events to keep, and UTF-16 units of their JSON. */
const MAX_KEPT_EVENTS = 2_000
const MAX_KEPT_UNITS = 4 * 1024 * 1024
const CHECKPOINT_LOOK_UP_INTERVAL_MS = 1_000
