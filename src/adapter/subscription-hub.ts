import { onAbort } from '../base/abort.ts'
import { pause, systemClock } from '../base/clock.ts'
import { isTransient } from '../base/errors.ts'
import { REACH_DELAYS, retryDelays } from '../base/retry.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { isSameFilter, unionOf } from './log-filter.ts'
import type { LogFilter, LogPlace, StoreAdapter, SubscribedPage, SubscribeRequest } from './store-adapter.ts'
import { isBehind, Member, type ScannedPage } from './subscription-member.ts'
import { environment } from '../base/environment.ts'

export { isBehind, type ScannedPage } from './subscription-member.ts'

/** A log that can be scanned and watched; {@link tailLog} makes subscriptions of it. */
export interface LogSource {
  /**
   * Scans the log behind a place up to its present end, in pages; gives no page if nothing is behind the place. A page
   * may have no events. Nothing is held open between two pages. May end early once `signal` is aborted.
   *
   * @throws HistoryRewoundError if no event with that id stands at `after`.
   */
  scan(request: ScanRequest, signal?: AbortSignal): AsyncIterable<ScannedPage>

  /**
   * Calls back at least once, soon after any process has appended something, and from time to time without a reason, so
   * that a lost notification loses no event. Only events that `wanted` asks for matter: a scan for just those follows.
   * When something else is wanted, the next watch begins before this one ends.
   *
   * @returns a function that ends the watch.
   */
  watch(changed: () => void, wanted: ScanRequest): () => void

  /**
   * Whether scans compete with appends for a server. If so, passes that bring many events are followed by even longer
   * pauses than otherwise.
   */
  readonly isSparing?: boolean
}

/** Which part of the log to scan. */
export interface ScanRequest extends LogFilter {
  readonly after: LogPlace | undefined
}

/**
 * Makes subscriptions to a log. A subscriber that is behind scans by itself, as fast as it can. All subscribers that have
 * caught up share one watch and one scan of new events; one that then falls behind by more than
 * `MAX_WAITING_EVENTS` scans by itself again.
 */
export function tailLog(source: LogSource): StoreAdapter['subscribe'] {
  const tail = new LogTail(source)
  return (request) => tail.subscribe(request)
}

class LogTail {
  readonly #source: LogSource
  readonly #members = new Set<Member>()
  /** The place up to which the members have got their events. */
  #at: LogPlace | undefined
  /** The place where the last pass began. */
  #since: LogPlace | undefined
  /** Subscribers that wait for the present pass to end. */
  readonly #joining: (() => void)[] = []
  #union: LogFilter | undefined
  /** The filter of the present watch. */
  #watched: LogFilter | undefined
  #unwatch: (() => void) | undefined
  #isChanged = false
  /** Whether a pass is due because a new member is behind the others. */
  #isDue = false
  /** The present pass over new events. */
  #pass: Promise<void> | undefined
  readonly #rate = new TokenBucket(PASS_INTERVAL_MS, MAX_PASSES_AT_ONCE)
  #cancelTimer: (() => void) | undefined

  constructor(source: LogSource) {
    this.#source = source
  }

  async *subscribe(request: SubscribeRequest): AsyncGenerator<SubscribedPage, undefined> {
    const { signal, interrupted } = request
    const isOver = () => signal.aborted
    let place = request.after
    let delays = retryDelays(REACH_DELAYS)
    while (!isOver()) {
      try {
        for await (const page of this.#source.scan({ ...filterOf(request), after: place }, signal)) {
          delays = retryDelays(REACH_DELAYS)
          if (isOver()) return undefined
          place = page.through
          yield { ...page, isCaughtUp: false }
        }
        delays = retryDelays(REACH_DELAYS)
        yield { events: [], through: place, isCaughtUp: true }
        for await (const page of this.#live(request, place)) {
          place = page.through
          yield page
        }
      } catch (error) {
        if (!isTransient(error)) throw error
        if (isOver()) return undefined
        interrupted(error)
        await pause(systemClock, delays.next().value, signal)
      }
    }
    return undefined
  }

  /** New events, until the consumer is too slow for them; none if its place is too far behind the other members. */
  async *#live(request: SubscribeRequest, place: LogPlace | undefined): AsyncGenerator<SubscribedPage> {
    const { signal } = request
    const isOver = () => signal.aborted
    const member = new Member(filterOf(request), place)
    if (!(await this.#join(member, place))) return
    const stop = onAbort(signal, () => {
      member.detach()
    })
    if (isOver()) member.detach()
    try {
      for (let page = await member.next(); page && !isOver(); page = await member.next()) yield page
    } finally {
      stop()
      this.#leave(member)
    }
  }

  /** Joins between two passes, because the present pass may have a narrower filter than this member. */
  #join(member: Member, place: LogPlace | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      this.#joining.push(() => {
        resolve(this.#admit(member, place))
      })
      if (!this.#pass) this.#afterPass()
    })
  }

  /** After a pass: admits the subscribers that wait for its end, and begins the next pass if it is due. */
  #afterPass(): void {
    for (const join of this.#joining.splice(0)) join()
    if (this.#isDue && !this.#pass) this.#begin()
    else if (this.#isChanged) this.#changed()
  }

  /** @returns whether the member's place is not before that where the last pass began. */
  #admit(member: Member, place: LogPlace | undefined): boolean {
    if (this.#members.size === 0) this.#at = this.#since = place
    if (isBehind(place, this.#since)) return false
    if (isBehind(place, this.#at)) {
      // The other members skip what they have got already.
      this.#at = place
      this.#isDue = true
    }
    this.#members.add(member)
    this.#union = undefined
    // An append may have come before the watch began.
    this.#isChanged = true
    return true
  }

  /** Watches for what any member asks for; @returns that filter. */
  #unite(): LogFilter {
    const union = unionOf([...this.#members].map(({ filter }) => filter))
    if (this.#watched && isSameFilter(union, this.#watched)) return this.#watched
    const unwatch = this.#unwatch
    const changed = () => {
      this.#changed()
    }
    this.#unwatch = this.#source.watch(changed, { ...union, after: this.#at })
    this.#watched = union
    unwatch?.()
    return union
  }

  #leave(member: Member): void {
    if (!this.#members.delete(member)) return
    this.#union = undefined
    if (this.#members.size > 0) return
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#isDue = false
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#watched = undefined
  }

  readonly #changed = (): void => {
    this.#isChanged = true
    if (this.#pass || this.#cancelTimer || this.#members.size === 0) return
    const { wait } = this.#rate
    if (wait === 0) {
      this.#begin()
      return
    }
    this.#cancelTimer = environment.after(wait, () => {
      this.#begin()
    })
  }

  #begin(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#rate.take()
    this.#pass = this.#run().finally(() => {
      this.#pass = undefined
      this.#afterPass()
    })
  }

  /** One pass: hands new events to the members. */
  async #run(): Promise<void> {
    this.#isChanged = this.#isDue = false
    this.#since = this.#at
    let count = 0
    try {
      const union = (this.#union ??= this.#unite())
      for await (const page of this.#source.scan({ ...union, after: this.#at })) {
        for (const member of this.#members) member.offer(page)
        this.#at = page.through
        count += page.events.length
        if (this.#members.size === 0) return
      }
      const longest = this.#source.isSparing === true ? SPARING_INTERVAL_MS : BUSY_INTERVAL_MS
      this.#rate.take(Math.min(count / EVENTS_PER_EXTRA_PASS, longest / PASS_INTERVAL_MS - 1))
      for (const member of this.#members) member.passed()
    } catch (error) {
      for (const member of [...this.#members]) {
        member.fail(error)
        this.#leave(member)
      }
    }
  }
}

function filterOf({ streams, categories, types }: LogFilter): LogFilter {
  return { streams, categories, types }
}

/**
 * Average milliseconds between two passes, of which a few may begin at once after a quiet time: a lone event comes at once, also if
 * each event is followed by the append of what reacts to it.
 */
const PASS_INTERVAL_MS = 3
const MAX_PASSES_AT_ONCE = 3
/** A pass counts as one more for each so many events that it brings. */
const EVENTS_PER_EXTRA_PASS = 4
/** The average milliseconds while the log is written without a pause: the longer they are, the more events each pass brings. */
const BUSY_INTERVAL_MS = 8
/** If `isSparing`. */
const SPARING_INTERVAL_MS = 24
