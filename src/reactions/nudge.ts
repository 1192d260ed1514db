import { endingWith } from '../base/abort.ts'
import { type Clock, pause } from '../base/clock.ts'
import { keptByEnvironment } from '../base/environment.ts'

/**
 * Tells a worker when to look for work besides events: timers, parked events to retry. At once if it was asked for in this
 * process, and at intervals, because other processes ask, too.
 */
export class Nudge {
  readonly #name: string
  readonly #clock: Clock
  readonly #interval: number
  #isNudged = false
  readonly #nudges = nudgesHere()
  #lookedAt = -Infinity
  #wake: () => void = () => undefined

  /** @param interval in milliseconds. */
  constructor(name: string, clock: Clock, interval: number) {
    this.#name = name
    this.#clock = clock
    this.#interval = interval
    const others = this.#nudges.get(name)
    if (others) others.add(this)
    else this.#nudges.set(name, new Set([this]))
  }

  /** Whether to look now. */
  get isDue(): boolean {
    return this.#isNudged || this.#left <= 0
  }

  get #left(): number {
    return this.#lookedAt + this.#interval - this.#clock.now()
  }

  /** The worker looks: what is asked for from here on makes another look due. */
  look(): void {
    this.#isNudged = false
    this.#lookedAt = this.#clock.now()
  }

  /** Waits until a look is due, or so many milliseconds, or until the signal is aborted. */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { ending, stop } = endingWith(signal)
    this.#wake = () => {
      ending.abort()
    }
    await pause(this.#clock, Math.min(milliseconds, this.#left), ending.signal)
    stop()
  }

  end(): void {
    const others = this.#nudges.get(this.#name)
    if (others?.delete(this) === true && others.size === 0) this.#nudges.delete(this.#name)
  }

  /** Nudges the workers of a reaction; in another database, it may be one of the same name that finds nothing new. */
  static wake(name: string): void {
    for (const nudge of nudgesHere().get(name) ?? []) {
      nudge.#isNudged = true
      nudge.#wake()
    }
  }
}

/** Those of this process, by the reaction's name. */
const nudgesHere = keptByEnvironment(() => new Map<string, Set<Nudge>>())
