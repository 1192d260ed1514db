import { HandlerTimeoutError } from '../adapter/projection-target.ts'
import { MAX_TIMER_MS } from '../base/arguments.ts'
import { environment } from '../base/environment.ts'

/** The end of the time that the handlers of one transaction have. */
export class Deadline {
  readonly #timeout: number
  #cancel: (() => void) | undefined
  #handler = 'a handler'
  #passed: Promise<never> | undefined

  /** @param timeout milliseconds, from the first handler that is waited for. */
  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /** Settles as what a handler returned, or rejects with HandlerTimeoutError if the time is over before. */
  race(returned: PromiseLike<unknown>, handler: string): Promise<unknown> {
    this.#handler = handler
    // One timer for all handlers of the transaction.
    this.#passed ??= new Promise((_, reject) => {
      this.#cancel = environment.after(Math.min(this.#timeout, MAX_TIMER_MS), () => {
        reject(new HandlerTimeoutError(this.#handler, this.#timeout))
      })
    })
    return Promise.race([returned, this.#passed])
  }

  clear(): void {
    this.#cancel?.()
  }
}
