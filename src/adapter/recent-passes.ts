import { environment } from '../base/environment.ts'
import type { LogPlace } from './store-adapter.ts'

/** Where the latest passes began, as far back as few events have come since, and little time has passed. */
export class RecentPasses {
  #passes: { readonly place: LogPlace | undefined; readonly at: number; events: number }[] = []
  #events = 0

  get oldest(): LogPlace | undefined {
    return this.#passes[0]?.place
  }

  clear(place: LogPlace | undefined): void {
    this.#passes = []
    this.#events = 0
    this.begin(place)
  }

  begin(place: LogPlace | undefined): void {
    const at = environment.now()
    this.#passes.push({ place, at, events: 0 })
    let [first] = this.#passes
    while (
      this.#passes.length > 1 &&
      (this.#events > MAX_EVENTS_BEHIND || first!.at < at - MAX_TIME_BEHIND_MS)
    ) {
      this.#events -= first!.events
      this.#passes.shift()
      first = this.#passes[0]
    }
  }

  /** Counts the events of the present pass. */
  count(events: number): void {
    this.#events += events
    this.#passes.at(-1)!.events += events
  }
}

/** How far back a subscriber may stand that joins those that have caught up, in events of theirs and in time. */
const MAX_EVENTS_BEHIND = 500
const MAX_TIME_BEHIND_MS = 1_000
