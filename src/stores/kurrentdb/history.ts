import { HistoryRewoundError } from '../../base/errors.ts'
import type { LogPosition } from './driver.ts'

/**
 * The end of the log as far as this process has written it. What is written next lies behind it: if not, the log is
 * another one, restored to an earlier point, and states at hand stand on events that never were.
 */
export class History {
  #head = -1n
  #isRewound = false

  /** The position of the last event that was written. */
  get head(): bigint {
    return this.#head
  }

  /** @throws HistoryRewoundError */
  check(): void {
    if (!this.#isRewound) return
    throw new HistoryRewoundError(
      'the store lacks events that this program has written: it was restored to an earlier point. Open it anew',
    )
  }

  /**
   * Takes note of what was written.
   *
   * @param before the head when it was sent, where it certainly was not written before.
   * @throws HistoryRewoundError
   */
  saw({ commit }: LogPosition, before: bigint | undefined): void {
    if (before !== undefined && commit <= before) this.#isRewound = true
    this.check()
    if (commit > this.#head) this.#head = commit
  }
}
