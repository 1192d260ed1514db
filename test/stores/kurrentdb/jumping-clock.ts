import type { Clock } from '../../../src/base/clock.ts'

/**
 * A deadline for a {@link JumpingClock}, in milliseconds: no machine is so slow that it passes by itself within a test.
 */
export const FAR_DEADLINE_MS = 300_000

/** A clock that goes on as the system's does, and jumps when a test says that a deadline has passed. */
export class JumpingClock implements Clock {
  /** How often something has waited for less than a second: a retry. */
  retries = 0
  /** Whether retries wait for a jump from now on, so that nothing is on its way when it comes. */
  holdsRetries = false
  /** How many retries wait for a jump. */
  held = 0
  #offset = 0
  readonly #pending = new Set<{ readonly due: number; readonly fire: () => void }>()

  now(): number {
    return performance.now() + this.#offset
  }

  after(milliseconds: number, callback: () => void): () => void {
    const cancel = () => {
      clearTimeout(timer)
      if (this.#pending.delete(entry) && isHeld) this.held--
    }
    const fire = () => {
      cancel()
      callback()
    }
    const isRetry = milliseconds < 1_000
    const isHeld = isRetry && this.holdsRetries
    if (isRetry) this.retries++
    if (isHeld) this.held++
    const entry = { due: this.now() + milliseconds, fire }
    const timer = isHeld ? undefined : setTimeout(fire, milliseconds)
    this.#pending.add(entry)
    return cancel
  }

  /** Lets so many milliseconds pass at once, with all that is due by then. */
  jump(milliseconds: number): void {
    this.#offset += milliseconds
    const now = this.now()
    for (const { due, fire } of [...this.#pending]) if (due <= now) fire()
  }
}
