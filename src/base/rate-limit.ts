/** Lets something happen as often as it is due, but in the long run no more often than every so many milliseconds. */
export class Pace {
  readonly #every: number
  readonly #burst: number
  /** How often it may happen at once, and when that was counted. */
  #credit: number
  #countedAt = -Infinity

  /** @param burst how often it may happen at once, where it had not been due for a while. */
  constructor(every: number, burst: number) {
    this.#every = every
    this.#burst = burst
    this.#credit = burst
  }

  /** Milliseconds until it may happen. */
  get wait(): number {
    const now = performance.now()
    this.#credit = Math.min(this.#burst, this.#credit + (now - this.#countedAt) / this.#every)
    this.#countedAt = now
    return this.#credit >= 1 ? 0 : (1 - this.#credit) * this.#every
  }

  /** It happens; or has happened, and counts as so much more. */
  take(cost = 1): void {
    this.#credit -= cost
  }
}
