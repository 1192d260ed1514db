import type { LogPlace, SubscribedPage } from '../adapter/store-adapter.ts'
import { type Clock, pause } from '../base/clock.ts'
import type { Position } from '../base/revision.ts'

/**
 * Limits how often a checkpoint is written for events that the projection does not handle: it has to follow them, so that
 * a restart does not read them again and `caughtUpTo` ends, but not in a transaction for each of them.
 */
export class CheckpointThrottle {
  readonly #clock: Clock
  #skipped: LogPlace | undefined
  #checkpoint: LogPlace | undefined
  #movedAt = -Infinity

  constructor(checkpoint: LogPlace | undefined, clock: Clock) {
    this.#checkpoint = checkpoint
    this.#clock = clock
  }

  /** The log up to this place holds no event that the projection handles. */
  skipped(through: LogPlace): void {
    if (through.position !== this.#checkpoint?.position) this.#skipped = through
  }

  /** Up to where the log was handled: as far as it was read, or else the checkpoint. */
  get read(): Position | undefined {
    return (this.#skipped ?? this.#checkpoint)?.position
  }

  /** The checkpoint was written. */
  moved(checkpoint: LogPlace | undefined): void {
    this.#skipped = undefined
    this.#checkpoint = checkpoint
    this.#movedAt = this.#clock.now()
  }

  /** Where the checkpoint has to be moved to now, if anywhere. */
  take(): LogPlace | undefined {
    const skipped = this.#skipped
    if (skipped) this.moved(skipped)
    return skipped
  }

  /** The next page, `undefined` at the end of the subscription; or `'due'` when the checkpoint has to be written first. */
  async pageOrDue(
    next: Promise<IteratorResult<SubscribedPage, undefined>>,
  ): Promise<SubscribedPage | 'due' | undefined> {
    if (!this.#skipped) return (await next).value
    const left = this.#movedAt + INTERVAL_MS - this.#clock.now()
    if (left <= 0) return 'due'
    const ending = new AbortController()
    const due = pause(this.#clock, left, ending.signal).then(() => 'due' as const)
    try {
      const first = await Promise.race([next, due])
      return first === 'due' ? first : first.value
    } finally {
      ending.abort()
    }
  }
}

const INTERVAL_MS = 100
