import { onAbort } from '../base/abort.ts'
import { pause, systemClock } from '../base/clock.ts'
import { isTransient } from '../base/errors.ts'
import { REACH_DELAYS, retryDelays } from '../base/retry.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { isSameFilter, isWithin, unionOf } from './log-filter.ts'
import type { LogFilter, LogPlace, StoreAdapter, SubscribedPage, SubscribeRequest } from './store-adapter.ts'
import { RecentPasses } from './recent-passes.ts'
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
   * @returns a function that ends the watch; or a watch that takes time to begin.
   */
  watch(changed: () => void, wanted: ScanRequest): (() => void) | BeginningWatch

  /**
   * A filter that passes at least what this one passes, if a watch for that is cheaper: fewer new subscribers then need
   * another watch. Left out: watches are for just what is asked for.
   */
  widen?(filter: LogFilter): LogFilter

  /**
   * Whether scans compete with appends for a server. If so, passes that bring many events are followed by even longer
   * pauses than otherwise.
   */
  readonly isSparing?: boolean
}

/** A watch that takes time to begin. Meanwhile the one before it stays. */
export interface BeginningWatch {
  /** Resolves when it has begun, or has failed, which the next scan then tells. */
  readonly begun: Promise<void>
  end(): void
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
  /** Where the latest passes began: a subscriber that is no further back can join. */
  readonly #recent = new RecentPasses()
  /** Subscribers that wait for the present pass to end. */
  readonly #joining = new Set<Candidate>()
  /** Subscribers that wait for a watch that brings what they ask for. */
  readonly #candidates = new Set<Candidate>()
  /** What the present watch brings, and each pass asks for. */
  #watched: LogFilter | undefined
  #endWatch: (() => void) | undefined
  /** The watch that is to follow. */
  #next: NextWatch | undefined
  #cancelNarrowing: (() => void) | undefined
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
    let settle!: (isAdmitted: boolean) => void
    const isAdmitted = new Promise<boolean>((resolve) => {
      settle = resolve
    })
    const candidate = { member, place, settle }
    const stop = onAbort(signal, () => {
      member.detach()
      settle(false)
    })
    try {
      if (isOver()) return
      this.#join(candidate)
      if (!(await isAdmitted)) return
      for (let page = await member.next(); page && !isOver(); page = await member.next()) yield page
    } finally {
      stop()
      this.#leave(candidate)
    }
  }

  /** Joins between two passes, because the present pass may ask for less than this subscriber. */
  #join(candidate: Candidate): void {
    this.#joining.add(candidate)
    if (!this.#pass) this.#afterPass()
  }

  /** After a pass: admits the subscribers that wait for its end, and begins the next pass if it is due. */
  #afterPass(): void {
    for (const candidate of this.#joining) this.#consider(candidate)
    this.#joining.clear()
    if (this.#next?.hasBegun === true) this.#switchTo(this.#next)
    if (this.#candidates.size > 0) this.#watchForAll()
    if (this.#isDue && !this.#pass) this.#begin()
    else if (this.#isChanged) this.#changed()
  }

  #consider(candidate: Candidate): void {
    const { member, place, settle } = candidate
    if (this.#members.size > 0 && isBehind(place, this.#recent.oldest)) settle(false)
    else if (this.#watched && isWithin(member.filter, this.#watched)) this.#admit(candidate)
    else this.#candidates.add(candidate)
  }

  #admit({ member, place, settle }: Candidate): void {
    if (this.#members.size === 0) {
      this.#at = place
      this.#recent.clear(place)
    } else if (isBehind(place, this.#at)) {
      // The other members skip what they have got already.
      this.#at = place
      this.#isDue = true
    }
    this.#members.add(member)
    // An append may have come before the watch began.
    this.#isChanged = true
    settle(true)
  }

  /** Begins a watch for what any member or candidate asks for. One that takes time is waited for, if there are members. */
  #watchForAll(): void {
    if (this.#next) return
    const widen = (filter: LogFilter) => this.#source.widen?.(filter) ?? filter
    const candidates = [...this.#candidates]
    const members = [...this.#members, ...candidates.map(({ member }) => member)]
    const filter = widen(unionOf(members.map((member) => widen(member.filter))))
    if (this.#watched && isSameFilter(filter, this.#watched)) {
      for (const candidate of candidates) this.#admit(candidate)
      this.#candidates.clear()
      return
    }
    let after = this.#members.size > 0 ? this.#at : candidates[0]?.place
    for (const { place } of candidates) if (isBehind(place, after)) after = place
    const changed = () => {
      this.#changed()
    }
    const watch = this.#source.watch(changed, { ...filter, after })
    const isImmediate = typeof watch === 'function'
    const next: NextWatch = {
      ...{ filter, candidates, hasBegun: isImmediate || this.#members.size === 0 },
      end: isImmediate
        ? watch
        : () => {
            watch.end()
          },
    }
    this.#next = next
    if (next.hasBegun) {
      this.#switchTo(next)
      return
    }
    void (watch as BeginningWatch).begun.then(() => {
      next.hasBegun = true
      if (!this.#pass && this.#next === next) this.#afterPass()
    })
  }

  #switchTo({ filter, candidates, end }: NextWatch): void {
    this.#next = undefined
    const before = this.#endWatch
    this.#endWatch = end
    this.#watched = filter
    before?.()
    for (const candidate of candidates) if (this.#candidates.delete(candidate)) this.#admit(candidate)
    this.#isChanged = true
  }

  #leave(candidate: Candidate): void {
    this.#joining.delete(candidate)
    this.#candidates.delete(candidate)
    this.#remove(candidate.member)
  }

  #remove(member: Member): void {
    const wasMember = this.#members.delete(member)
    if (this.#members.size > 0) {
      if (wasMember) this.#narrowLater()
      return
    }
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#cancelNarrowing?.()
    this.#cancelNarrowing = undefined
    this.#isDue = false
    this.#endWatch?.()
    this.#endWatch = undefined
    this.#watched = undefined
    if (this.#candidates.size > 0) return
    this.#next?.end()
    this.#next = undefined
  }

  /** When nobody has left for a while, what only those who left have asked for is no longer watched for. */
  #narrowLater(): void {
    this.#cancelNarrowing?.()
    this.#cancelNarrowing = environment.after(NARROWING_DELAY_MS, () => {
      this.#cancelNarrowing = undefined
      if (!this.#pass) this.#watchForAll()
      else this.#narrowLater()
    })
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
    this.#recent.begin(this.#at)
    let count = 0
    try {
      for await (const page of this.#source.scan({ ...this.#watched!, after: this.#at })) {
        for (const member of this.#members) member.offer(page)
        this.#at = page.through
        count += page.events.length
        this.#recent.count(page.events.length)
        if (this.#members.size === 0) return
      }
      const longest = this.#source.isSparing === true ? SPARING_INTERVAL_MS : BUSY_INTERVAL_MS
      this.#rate.take(Math.min(count / EVENTS_PER_EXTRA_PASS, longest / PASS_INTERVAL_MS - 1))
      for (const member of this.#members) member.passed()
    } catch (error) {
      for (const member of [...this.#members]) {
        member.fail(error)
        this.#remove(member)
      }
    }
  }
}

/** A subscriber that has caught up, up to a place, and wants to join. */
interface Candidate {
  readonly member: Member
  readonly place: LogPlace | undefined
  readonly settle: (isAdmitted: boolean) => void
}

interface NextWatch {
  readonly filter: LogFilter
  /** Who is admitted with it. */
  readonly candidates: readonly Candidate[]
  readonly end: () => void
  hasBegun: boolean
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
const NARROWING_DELAY_MS = 1_000
