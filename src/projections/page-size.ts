/**
 * How many events a handler of pages is given. A page cannot end early, so the next one is smaller if it took long: on SQLite
 * no other connection can write meanwhile, and a worker that keeps being killed is to make progress everywhere.
 */
export class PageSize {
  readonly #max: number
  readonly #maxTime: number
  #size: number

  /** @param max events in a page. @param maxTime milliseconds that one may take. */
  constructor(max: number, maxTime: number) {
    this.#max = max
    this.#maxTime = maxTime
    this.#size = Math.min(max, FIRST_PAGE_EVENTS)
  }

  /** The maximum number of events of the next page. */
  get events(): number {
    return this.#size
  }

  /** A page of so many events took so many milliseconds. */
  took(events: number, milliseconds: number): void {
    if (milliseconds > this.#maxTime) this.#size = Math.max(1, Math.min(this.#size, events) >> 1)
    else if (events >= this.#size && milliseconds < this.#maxTime / 2)
      this.#size = Math.min(this.#max, this.#size * 2)
  }
}

const FIRST_PAGE_EVENTS = 125
