import type { LogPlace, SubscribedPage } from '../adapter/store-adapter.ts'

/**
 * Passing over what is not asked for: the checkpoint is to follow, so that nothing of it is looked through again and
 * who waits for a position is told; but not for each such event.
 */
export class Passing {
  #through: LogPlace | undefined
  #passed: LogPlace | undefined
  #moved = -Infinity

  constructor(at: LogPlace | undefined) {
    this.#passed = at
  }

  /** There is nothing up to there that was asked for. */
  note(through: LogPlace): void {
    if (through.position !== this.#passed?.position) this.#through = through
  }

  /** The checkpoint was moved. */
  reached(place: LogPlace | undefined): void {
    this.#through = undefined
    this.#passed = place
    this.#moved = performance.now()
  }

  /** Where it is to be moved to now, if anywhere. */
  take(): LogPlace | undefined {
    const through = this.#through
    if (through) this.reached(through)
    return through
  }

  /** The next page, `undefined` at the end; or that the checkpoint is to be moved meanwhile. */
  async pageOrDue(
    next: Promise<IteratorResult<SubscribedPage, undefined>>,
  ): Promise<SubscribedPage | 'due' | undefined> {
    if (!this.#through) return (await next).value
    const left = this.#moved + EVERY - performance.now()
    if (left <= 0) return 'due'
    let timer: ReturnType<typeof setTimeout> | undefined
    const due = new Promise<'due'>((resolve) => {
      timer = setTimeout(resolve, left, 'due')
    })
    try {
      const first = await Promise.race([next, due])
      return first === 'due' ? first : first.value
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Milliseconds between two moves of the checkpoint past what is not asked for. */
const EVERY = 100
