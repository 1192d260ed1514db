import { endingWith } from '../base/abort.ts'
import type { Clock } from '../base/environment.ts'

/** What is run: a projection of this name, by this clock. */
interface Runner {
  readonly name: string
  readonly clock: Clock
}

/** A worker that may have to stand by. Its pause ends when a worker of this process gives the same projection's lease back. */
export class Standby {
  readonly #runner: Runner
  readonly #ending: AbortController
  readonly #stop: () => void

  constructor(runner: Runner, signal: AbortSignal) {
    this.#runner = runner
    const { ending, stop } = endingWith(signal)
    this.#ending = ending
    this.#stop = stop
    const { name, clock } = runner
    let ofProcess = standingBy.get(clock)
    if (!ofProcess) standingBy.set(clock, (ofProcess = new Map<string, Set<Standby>>()))
    const others = ofProcess.get(name)
    if (others) others.add(this)
    else ofProcess.set(name, new Set([this]))
  }

  /** Aborted when it is to look again, or to end. */
  get signal(): AbortSignal {
    return this.#ending.signal
  }

  end(): void {
    this.#stop()
    const { name, clock } = this.#runner
    const ofProcess = standingBy.get(clock)
    const others = ofProcess?.get(name)
    if (others?.delete(this) === true && others.size === 0) ofProcess!.delete(name)
  }

  /** Wakes the workers of a projection; in another database, it may be one of the same name that finds nothing new. */
  static wake({ name, clock }: Runner): void {
    for (const standby of standingBy.get(clock)?.get(name) ?? []) standby.#ending.abort()
  }
}

/**
 * By the projection's name, whatever target it goes by: two targets may lead to one database. Simulated processes have
 * clocks of their own.
 */
const standingBy = new WeakMap<Clock, Map<string, Set<Standby>>>()
