import { endingWith } from '../base/abort.ts'
import { keptByEnvironment } from '../base/environment.ts'

/** A worker that stands by, for a lease or for `unblock`, or one that holds the lease. */
type Role = 'standby' | 'holder'

/**
 * A worker's wait until it looks at its build in the target again. It ends early when this process changes the projection;
 * that of a standby also when a worker of this process gives the lease back.
 */
export class NextLook {
  readonly #name: string
  readonly #role: Role
  readonly #ending: AbortController
  readonly #stop: () => void
  readonly #waiting = waitingHere()

  constructor(name: string, role: Role, signal: AbortSignal) {
    this.#name = name
    this.#role = role
    const { ending, stop } = endingWith(signal)
    this.#ending = ending
    this.#stop = stop
    const others = this.#waiting.get(name)
    if (others) others.add(this)
    else this.#waiting.set(name, new Set([this]))
  }

  /** Aborted when it is to look now, or to end. */
  get signal(): AbortSignal {
    return this.#ending.signal
  }

  end(): void {
    this.#stop()
    const others = this.#waiting.get(this.#name)
    if (others?.delete(this) === true && others.size === 0) this.#waiting.delete(this.#name)
  }

  /** A worker of this process has given the lease of a projection back. */
  static leaseIsFree(name: string): void {
    for (const look of waitingHere().get(name) ?? []) if (look.#role === 'standby') look.#ending.abort()
  }

  /** This process has reset, replaced or unblocked a projection. */
  static isChanged(name: string): void {
    for (const look of waitingHere().get(name) ?? []) look.#ending.abort()
  }
}

/**
 * Those of this process, by the projection's name, whatever target it goes by: two targets may lead to one database. In
 * another database, it may be one of the same name that finds nothing new.
 */
const waitingHere = keptByEnvironment(() => new Map<string, Set<NextLook>>())
