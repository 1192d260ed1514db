import { endingWith } from '../base/abort.ts'

/** A worker that may have to stand by. Its pause ends when a worker of this process gives the same projection's lease back. */
export class Standby {
  readonly #name: string
  readonly #ending: AbortController
  readonly #stop: () => void

  constructor(name: string, signal: AbortSignal) {
    this.#name = name
    const { ending, stop } = endingWith(signal)
    this.#ending = ending
    this.#stop = stop
    const others = standingBy.get(name)
    if (others) others.add(this)
    else standingBy.set(name, new Set([this]))
  }

  /** Aborted when it is to look again, or to end. */
  get signal(): AbortSignal {
    return this.#ending.signal
  }

  end(): void {
    this.#stop()
    const others = standingBy.get(this.#name)
    if (others?.delete(this) === true && others.size === 0) standingBy.delete(this.#name)
  }

  /** Wakes the workers of a projection; in another database, it may be one of the same name that finds nothing new. */
  static wake(name: string): void {
    for (const standby of standingBy.get(name) ?? []) standby.#ending.abort()
  }
}

/** By the projection's name, whatever target it goes by: two targets may lead to one database. */
const standingBy = new Map<string, Set<Standby>>()
