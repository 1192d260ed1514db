/** Tells the workers of this process that there is work besides events: a timer to fire, a parked event to retry. */
export class Nudge {
  readonly #name: string
  readonly #call: () => void

  constructor(name: string, call: () => void) {
    this.#name = name
    this.#call = call
    const others = nudges.get(name)
    if (others) others.add(this)
    else nudges.set(name, new Set([this]))
  }

  end(): void {
    const others = nudges.get(this.#name)
    if (others?.delete(this) === true && others.size === 0) nudges.delete(this.#name)
  }

  /** Nudges the workers of a reaction; in another database, it may be one of the same name that finds nothing new. */
  static wake(name: string): void {
    for (const nudge of nudges.get(name) ?? []) nudge.#call()
  }
}

const nudges = new Map<string, Set<Nudge>>()
