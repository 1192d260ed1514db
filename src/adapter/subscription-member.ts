import { historyRewound } from '../base/errors.ts'
import { selectorOf } from './log-filter.ts'
import type { LogFilter, LogPlace, StoredEvent, SubscribedPage } from './store-adapter.ts'

/** What a part of the log held. */
export interface ScannedPage {
  readonly events: readonly StoredEvent[]
  /** The last event that was scanned, asked for or not. */
  readonly through: LogPlace
}

/** A subscriber that has caught up, with the events that wait until its consumer takes them. */
export class Member {
  readonly filter: LogFilter
  readonly #select: (events: readonly StoredEvent[]) => readonly StoredEvent[]
  #at: LogPlace | undefined
  /** Other members may hold the same list. */
  #events: readonly StoredEvent[] = []
  /** Whether that list is the one that was offered to all members. */
  #isOffered = false
  /** Whether a pass has ended of which the consumer is still to be told. */
  #hasPassed = false
  #through: LogPlace | undefined
  /** Whether the consumer was told that it has caught up with `#at`. */
  #isTold = true
  #isDetached = false
  #failure: { readonly error: unknown } | undefined
  #wake: () => void = () => undefined

  constructor(filter: LogFilter, at: LogPlace | undefined) {
    this.filter = filter
    this.#select = selectorOf(filter)
    this.#at = this.#through = at
  }

  /** Takes from a page what its filter asks for. If that is too much to wait, it takes no more at all. */
  offer(page: ScannedPage): void {
    if (this.#isDetached || this.#failure) return
    const [place, { events, through }] = [this.#at, page]
    if (place && isAnother(place, page)) {
      this.fail(historyRewound(place.position))
      return
    }
    if (!isBehind(place, through)) return
    const wanted = this.#select(eventsBehind(place, events))
    const all = this.#events.length === 0 ? wanted : [...this.#events, ...wanted]
    if (all !== wanted && isTooMuch(all)) {
      this.detach()
      return
    }
    this.#at = through
    this.#events = all
    this.#isOffered = all === events
    if (wanted.length === 0) return
    this.#isTold = false
    this.#wake()
  }

  /** A pass has ended: everything up to the end of the log was offered. */
  passed(): void {
    if (this.#isTold && !isBehind(this.#through, this.#at)) return
    this.#hasPassed = true
    this.#wake()
  }

  fail(error: unknown): void {
    this.#failure = { error }
    this.#wake()
  }

  /** From now on it takes no events. */
  detach(): void {
    this.#isDetached = true
    this.#wake()
  }

  /**
   * Everything that was offered meanwhile; `undefined`: the subscriber is to scan by itself from here on.
   *
   * @throws the error that it failed with.
   */
  async next(): Promise<SubscribedPage | undefined> {
    for (;;) {
      if (this.#events.length > 0 || this.#hasPassed) {
        const isCaughtUp = this.#hasPassed && !this.#isDetached && !this.#failure
        const sharing = { isShared: true, isSharedPage: this.#isOffered }
        const page = { events: this.#events, through: this.#at, isCaughtUp, ...sharing }
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

/** Whether so many events may not wait for one consumer. */
function isTooMuch(events: readonly StoredEvent[]): boolean {
  let units = 0
  for (const { data, metadata } of events) units += data.length + metadata.length
  return events.length > MAX_WAITING_EVENTS || units > MAX_WAITING_UNITS
}

/** What may wait for one subscriber: events, and UTF-16 units of their JSON. */
const MAX_WAITING_EVENTS = 1_000
const MAX_WAITING_UNITS = 1024 * 1024
