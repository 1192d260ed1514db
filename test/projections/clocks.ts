import { pause } from '../../src/adapter/subscription-hub.ts'
import { systemClock, type Clock } from '../../src/projections/clock.ts'
import { DefinedProjection, definedProjection, type Projection } from '../../src/projections/projection.ts'

/** The same projection, with workers that go by another clock. */
export function onClock(clock: Clock, projection: Projection): Projection {
  return new DefinedProjection({ ...definedProjection(projection)!.definition, clock })
}

const SPEED = 20

/** A clock that goes 20 times as fast: for tests that wait for our own timers, and prove nothing about them. */
export const fastClock: Clock = {
  now: () => systemClock.now() * SPEED,
  pause: (milliseconds, signal) => pause(milliseconds / SPEED, signal),
}

interface Sleeper {
  readonly due: number
  readonly milliseconds: number
  readonly wake: () => void
}

/** A clock that stands still until a test moves it on. */
export class ManualClock implements Clock {
  readonly #sleepers = new Set<Sleeper>()
  #now = 0

  now(): number {
    return this.#now
  }

  async pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      const sleeper = { due: this.#now + milliseconds, milliseconds, wake }
      this.#sleepers.add(sleeper)
      signal.addEventListener('abort', wake)
    })
  }

  /** The lengths of the pauses under way, in milliseconds. */
  get pending(): number[] {
    return [...this.#sleepers].map(({ milliseconds }) => milliseconds)
  }

  /** Moves the time on, and wakes whose pause is over. */
  advance(milliseconds: number): void {
    this.#now += milliseconds
    for (const sleeper of [...this.#sleepers]) if (sleeper.due <= this.#now) sleeper.wake()
  }
}
