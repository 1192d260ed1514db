import { environment } from '../../base/environment.ts'
import { StoreTimeoutError } from '../../base/errors.ts'

/**
 * The time-out of polls. It is short, so that a connection that is dead without a word is given up soon, and grows when
 * the server is slow, so that a poll which takes long succeeds in the end.
 */
export class PollTimeout {
  readonly #minMs: number
  #ms: number

  constructor(minMs: number) {
    this.#minMs = minMs
    this.#ms = minMs
  }

  async limit<T>(poll: (timeoutMs: number) => Promise<T>): Promise<T> {
    const started = environment.now()
    try {
      const result = await poll(this.#ms)
      this.#ms = Math.max(this.#minMs, 2 * (environment.now() - started))
      return result
    } catch (error) {
      if (error instanceof StoreTimeoutError) this.#ms *= 2
      throw error
    }
  }
}
