import { environment } from './environment.ts'

/** A token bucket: it holds up to `burst` tokens and gains one every `refillMs` milliseconds; each use takes one. */
export class TokenBucket {
  readonly #refillMs: number
  readonly #burst: number
  #tokens: number
  #countedAt = -Infinity

  constructor(refillMs: number, burst: number) {
    this.#refillMs = refillMs
    this.#burst = burst
    this.#tokens = burst
  }

  /** Milliseconds until a token is available. */
  get wait(): number {
    const now = environment.now()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#countedAt) / this.#refillMs)
    this.#countedAt = now
    return this.#tokens >= 1 ? 0 : (1 - this.#tokens) * this.#refillMs
  }

  /** Takes tokens; the count may become negative, and refills from there. */
  take(tokens = 1): void {
    this.#tokens -= tokens
  }
}
