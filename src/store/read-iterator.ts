import type { Recorded } from '../model/event.ts'
import { unlessAborted } from '../base/abort.ts'
import { fromStored } from './decode.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'

/**
 * Hands out the events of a store's pages one by one. Not an async generator, which takes several turns of the microtask
 * queue for each event.
 */
export class EventIterator implements AsyncIterableIterator<Recorded> {
  readonly #pages: AsyncIterator<readonly StoredEvent[], undefined>
  readonly #decode: ((event: Recorded) => Recorded) | undefined
  readonly #signal: AbortSignal | undefined
  #page: readonly StoredEvent[] = []
  #next = 0
  #done = false
  /** Set while a page is being read: further calls wait for it. */
  #turning: Promise<unknown> | undefined

  constructor(
    pages: AsyncIterable<readonly StoredEvent[]>,
    options: { decode?: ((event: Recorded) => Recorded) | undefined; signal?: AbortSignal | undefined },
  ) {
    this.#pages = pages[Symbol.asyncIterator]() as AsyncIterator<readonly StoredEvent[], undefined>
    this.#decode = options.decode
    this.#signal = options.signal
  }

  next(): Promise<IteratorResult<Recorded, undefined>> {
    if (this.#turning) return this.#turning.then(() => this.next())
    if (this.#signal?.aborted && !this.#done) return this.#fail(this.#signal.reason)
    const stored = this.#page[this.#next]
    if (!stored) return this.#done ? Promise.resolve({ done: true, value: undefined }) : this.#turnPage()
    this.#next++
    try {
      const event = fromStored(stored)
      return Promise.resolve({ done: false, value: this.#decode ? this.#decode(event) : event })
    } catch (error) {
      return this.#fail(error)
    }
  }

  async return(): Promise<IteratorResult<Recorded, undefined>> {
    if (!this.#done) {
      this.#end()
      await this.#pages.return?.()
    }
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #turnPage(): Promise<IteratorResult<Recorded, undefined>> {
    const turning = unlessAborted(this.#pages.next(), this.#signal)
    this.#turning = turning.catch(() => undefined)
    try {
      const { done, value } = await turning
      if (this.#done) return { done: true, value: undefined }
      if (done) this.#end()
      else {
        this.#page = value
        this.#next = 0
      }
    } catch (error) {
      this.#end()
      void Promise.resolve(this.#pages.return?.()).catch(() => undefined)
      throw error
    } finally {
      this.#turning = undefined
    }
    return this.next()
  }

  async #fail(error: unknown): Promise<never> {
    await this.return()
    throw error
  }

  #end(): void {
    this.#done = true
    this.#page = []
  }
}
