import { StoreClosedError } from './errors.ts'

/** What is opened at its first use, once for all callers. A failure is not remembered: the next call opens anew. */
export class FirstUse<T> {
  readonly #open: () => Promise<T>
  readonly #closed: string | undefined
  #opened: Promise<T> | undefined
  #isClosed = false

  /** @param closed the message of the error after the end. Default: that of a store. */
  constructor(open: () => Promise<T>, closed?: string) {
    this.#open = open
    this.#closed = closed
  }

  /** @throws StoreClosedError after the end; what opening throws. */
  get(): Promise<T> {
    if (this.#isClosed) throw new StoreClosedError(this.#closed)
    const opened = (this.#opened ??= this.#open())
    opened.catch(() => {
      if (this.#opened === opened) this.#opened = undefined
    })
    return opened
  }

  /** Ends it. Returns what was opened, for the caller to close; `undefined` if nothing was. */
  end(): Promise<T> | undefined {
    this.#isClosed = true
    const opened = this.#opened
    this.#opened = undefined
    return opened
  }
}
