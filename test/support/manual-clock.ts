import type { Clock } from '../../src/base/clock.ts'

interface Timer {
  readonly due: number
  readonly milliseconds: number
  readonly callback: () => void
}

/** A clock that stands still until a test moves it on. */
export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>()
  #now = 0

  now(): number {
    return this.#now
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { due: this.#now + milliseconds, milliseconds, callback }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  /** The delays of the timers that run, in milliseconds. */
  get pending(): number[] {
    return [...this.#timers].map(({ milliseconds }) => milliseconds)
  }

  /** Moves the time on, and fires the timers that are due. */
  advance(milliseconds: number): void {
    this.#now += milliseconds
    for (const timer of [...this.#timers])
      if (timer.due <= this.#now && this.#timers.delete(timer)) timer.callback()
  }
}
