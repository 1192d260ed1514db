import { isMnemeError, type MnemeError, historyRewound } from '../base/errors.ts'
import { isSameFilter, selectFrom, unionOf } from './log-filter.ts'
import { onAbort } from '../base/abort.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { retryDelay } from '../base/retry.ts'
import type {
  LogFilter,
  LogPlace,
  StoreAdapter,
  StoredEvent,
  SubscribedPage,
  SubscribeRequest,
} from './store-adapter.ts'

/** A log that can be looked through and watched, of which {@link tailLog} makes subscriptions. */
export interface LogSource {
  /**
   * Looks through the log behind a place, to where it ends at present, in pages; none where nothing is behind it. A
   * page may have no events. Nothing is held open between two of them. May end early once `signal` is aborted.
   *
   * @throws HistoryRewoundError where no event with that id stands at `after`.
   */
  scan(request: ScanRequest, signal?: AbortSignal): AsyncIterable<ScannedPage>

  /**
   * Calls back, soon and once or more often, after anything was appended by whomever; and now and then without a
   * reason, so that nothing is lost where a notification is. What matters of it is what `wanted` asks for: a scan for
   * just that follows. When something else is wanted, another watch begins before this one is ended.
   *
   * @returns what ends it.
   */
  watch(changed: () => void, wanted: ScanRequest): () => void

  /**
   * Whether scans take from a server what appends need. Then the more of them there are, the rarer are the scans, and the
   * more each one brings.
   */
  readonly isSparing?: boolean
}

/** Which part of the log to look through. */
export interface ScanRequest extends LogFilter {
  readonly after: LogPlace | undefined
}

/** What a part of the log held. */
export interface ScannedPage {
  readonly events: readonly StoredEvent[]
  /** The last event that was looked at, asked for or not. */
  readonly through: LogPlace
}

/**
 * Subscriptions to a log. Whoever is behind reads by itself, as fast as it can. Those that have caught up share one
 * watch and one read of what is new, however many they are; who then falls behind by more than a page or two reads by
 * itself again.
 */
export function tailLog(source: LogSource): StoreAdapter['subscribe'] {
  const tail = new LogTail(source)
  return (request) => tail.subscribe(request)
}

class LogTail {
  readonly #source: LogSource
  readonly #members = new Set<Member>()
  /** Up to where the members have been given what they asked for, and where the last pass began. */
  #at: LogPlace | undefined
  #since: LogPlace | undefined
  /** Those that wait for a pass to end. */
  readonly #joining: (() => void)[] = []
  #union: LogFilter | undefined
  /** What is watched for. */
  #watched: LogFilter | undefined
  #unwatch: (() => void) | undefined
  #isChanged = false
  /** Whether it is known that there is something for one of the members. */
  #isDue = false
  /** A pass over what is new, while one is under way. */
  #pass: Promise<void> | undefined
  readonly #pace = new TokenBucket(EVERY, BURST)
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(source: LogSource) {
    this.#source = source
  }

  async *subscribe(request: SubscribeRequest): AsyncGenerator<SubscribedPage, undefined> {
    const { signal, interrupted } = request
    const isOver = () => signal.aborted
    let place = request.after
    for (let failures = 0; !isOver();) {
      try {
        for await (const page of this.#source.scan({ ...filterOf(request), after: place }, signal)) {
          failures = 0
          if (isOver()) return undefined
          place = page.through
          yield { ...page, isCaughtUp: false }
        }
        failures = 0
        yield { events: [], through: place, isCaughtUp: true }
        for await (const page of this.#live(request, place)) {
          place = page.through
          yield page
        }
      } catch (error) {
        if (!isTransient(error)) throw error
        if (isOver()) return undefined
        interrupted(error)
        await pause(retryDelay(RETRY, ++failures, Math.random()), signal)
      }
    }
    return undefined
  }

  /** What comes, until it is too much for one that is slow, or the place is not where the others are. */
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

  /** Between two passes: one that is under way may look for less than what this one asks for. */
  #join(member: Member, place: LogPlace | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      this.#joining.push(() => {
        resolve(this.#admit(member, place))
      })
      if (!this.#pass) this.#goOn()
    })
  }

  /** After a pass: lets those in that wait for it, and begins another if it is due. */
  #goOn(): void {
    for (const join of this.#joining.splice(0)) join()
    if (this.#isDue && !this.#pass) this.#begin()
    else if (this.#isChanged) this.#changed()
  }

  /** @returns whether its place is near where the others are: no further behind than what the last pass has brought. */
  #admit(member: Member, place: LogPlace | undefined): boolean {
    if (this.#members.size === 0) this.#at = this.#since = place
    if (isBehind(place, this.#since)) return false
    if (isBehind(place, this.#at)) {
      // The others take nothing twice.
      this.#at = place
      this.#isDue = true
    }
    this.#members.add(member)
    this.#union = undefined
    // Something may have been appended before it was watched.
    this.#isChanged = true
    return true
  }

  /** What all members ask for; watched from now on. */
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
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#watched = undefined
  }

  readonly #changed = (): void => {
    this.#isChanged = true
    if (this.#pass || this.#timer !== undefined || this.#members.size === 0) return
    const { wait } = this.#pace
    if (wait === 0) {
      this.#begin()
      return
    }
    this.#timer = setTimeout(() => {
      this.#begin()
    }, wait)
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#pace.take()
    this.#pass = this.#run().finally(() => {
      this.#pass = undefined
      this.#goOn()
    })
  }

  /** Hands what is new to the members. */
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
      if (this.#source.isSparing === true) this.#pace.take(Math.min(count / EVENTS, MOST_EXTRA))
      for (const member of this.#members) member.passed()
    } catch (error) {
      for (const member of [...this.#members]) {
        member.fail(error)
        this.#leave(member)
      }
    }
  }
}

/** One that has caught up: what it was given, and is still to take. */
class Member {
  readonly filter: LogFilter
  #at: LogPlace | undefined
  /** Others may have been given the same list. */
  #events: readonly StoredEvent[] = []
  /** Whether there is something to tell other than events. */
  #hasPassed = false
  #through: LogPlace | undefined
  /** Whether it was told that it has all up to there. */
  #isTold = true
  #isDetached = false
  #failure: { readonly error: unknown } | undefined
  #wake: () => void = () => undefined

  constructor(filter: LogFilter, at: LogPlace | undefined) {
    this.filter = filter
    this.#at = this.#through = at
  }

  /** Takes what it asked for of a page, unless that would be too much: then it takes no more at all. */
  offer(page: ScannedPage): void {
    if (this.#isDetached || this.#failure) return
    const [place, { events, through }] = [this.#at, page]
    if (place && isAnother(place, page)) {
      this.fail(historyRewound(place.position))
      return
    }
    if (!isBehind(place, through)) return
    const wanted = selectFrom(eventsBehind(place, events), this.filter)
    const all = this.#events.length === 0 ? wanted : [...this.#events, ...wanted]
    if (all !== wanted && isTooMuch(all)) {
      this.detach()
      return
    }
    this.#at = through
    this.#events = all
    if (wanted.length === 0) return
    this.#isTold = false
    this.#wake()
  }

  /** All that is there was offered. */
  passed(): void {
    if (this.#isTold && !isBehind(this.#through, this.#at)) return
    this.#hasPassed = true
    this.#wake()
  }

  fail(error: unknown): void {
    this.#failure = { error }
    this.#wake()
  }

  /** It takes no more. */
  detach(): void {
    this.#isDetached = true
    this.#wake()
  }

  /** All that was given meanwhile; `undefined`: from here on it is to read by itself. @throws what made it fail. */
  async next(): Promise<SubscribedPage | undefined> {
    for (;;) {
      if (this.#events.length > 0 || this.#hasPassed) {
        const isCaughtUp = this.#hasPassed && !this.#isDetached && !this.#failure
        const page = { events: this.#events, through: this.#at, isCaughtUp, isShared: true }
        this.#events = []
        this.#hasPassed = false
        this.#isTold = isCaughtUp
        this.#through = this.#at
        return page
      }
      if (this.#failure) throw this.#failure.error
      if (this.#isDetached) return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function filterOf({ streams, categories, types }: LogFilter): LogFilter {
  return { streams, categories, types }
}

/** Whether one place lies before another. */
export function isBehind(place: LogPlace | undefined, other: LogPlace | undefined): boolean {
  return other !== undefined && (place === undefined || place.position < other.position)
}

function eventsBehind(place: LogPlace | undefined, events: readonly StoredEvent[]): readonly StoredEvent[] {
  const [first] = events
  if (!first || !place || place.position < first.position) return events
  return events.filter(({ position }) => position > place.position)
}

/** Whether a page that began before a place has another event there: the log was rewound meanwhile. */
function isAnother(place: LogPlace, { events, through }: ScannedPage): boolean {
  const [first] = events
  if (first && place.position < first.position) return false
  const there = [...events, through].find(({ position }) => position === place.position)
  return there !== undefined && there.id !== place.id
}

/** What one that has caught up may be given before it takes it. */
function isTooMuch(events: readonly StoredEvent[]): boolean {
  let units = 0
  for (const { data, metadata } of events) units += data.length + metadata.length
  return events.length > MOST_EVENTS || units > MOST_UNITS
}

/** Whether it may go on by itself, once the store can be had again. */
export function isTransient(error: unknown): error is MnemeError {
  return isMnemeError(error) && (PASSING as readonly string[]).includes(error.code)
}

const PASSING = ['STORE_UNAVAILABLE', 'STORE_TIMEOUT', 'STORE_BUSY', 'OVERLOADED']

/** Waits, unless it is aborted meanwhile. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      stop()
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    const stop = onAbort(signal, end)
    if (signal.aborted) end()
  })
}

/** Milliseconds between the attempts to have the store again. */
const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 1_000 }
/**
 * Milliseconds from one pass over what is new to the next, on average, where the log is written without a break: the
 * busier it is, the more each of them gives. Where it is not, so many may begin at once.
 */
const EVERY = 8
const BURST = 3
/** A pass that is to be spared counts as one more for each so many events that it brings, up to so many. */
const EVENTS = 10
const MOST_EXTRA = 2
/** Events that may wait for one that has caught up, and UTF-16 units of their JSON. */
const MOST_EVENTS = 1_000
const MOST_UNITS = 1024 * 1024
