import { CallError } from './call.ts'

/** A semaphore: so many works at once, and so many more wait. */
export class Turns {
  readonly #most: number
  readonly #mostWaiting: number
  readonly #waiting: (() => void)[] = []
  readonly #underWay = new Set<Promise<unknown>>()
  #taken = 0

  constructor(most: number, mostWaiting: number) {
    this.#most = most
    this.#mostWaiting = mostWaiting
  }

  /** Does a work in its turn. @throws CallError if too many wait; the signal's reason. */
  async take<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#taken >= this.#most) {
      if (this.#waiting.length >= this.#mostWaiting) {
        throw new CallError('too many calls wait for the store; try again', { code: 'BUSY', status: 503 })
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#taken++
    }
    const done = this.#run(work, signal)
    this.#underWay.add(done)
    try {
      return await done
    } finally {
      this.#underWay.delete(done)
      const next = this.#waiting.shift()
      // The turn passes on.
      if (next) next()
      else this.#taken--
    }
  }

  /** Waits for the works that are under way. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  async #run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    return work()
  }
}
