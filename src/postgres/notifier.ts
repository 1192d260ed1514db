import type { Connections } from './connections.ts'
import { NOTIFY_LISTENERS, type Statements } from './statements.ts'

/**
 * Tells other processes that something was appended, where any of them listens: at once, then no more often than every
 * {@link NOTIFY_PACE}, and one at a time. It stands beside the appends: none of them waits for it or fails with it.
 * Where it fails itself, that is left to the others' polls.
 */
export class Notifier {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #values: readonly [channel: string, payload: string]
  #isDue = false
  #isClosed = false
  #sentAt = -Infinity
  #sending: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param sender is what it says: by this, its own process knows it again. */
  constructor(connections: Connections, statements: Statements, channel: string, sender: string) {
    this.#connections = connections
    this.#statements = statements
    this.#values = [channel, sender]
  }

  /** Something was appended. */
  due(): void {
    if (this.#isClosed) return
    this.#isDue = true
    if (this.#sending || this.#timer) return
    const early = this.#sentAt + NOTIFY_PACE - performance.now()
    if (early <= 0) this.#send()
    else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.#send()
      }, early)
    }
  }

  /** Sends what is still to be told, unless that takes long. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#withinReason(this.#sending)
    if (!this.#isDue) return
    this.#send()
    await this.#withinReason(this.#sending)
  }

  #send(): void {
    this.#isDue = false
    this.#sentAt = performance.now()
    this.#sending = this.#connections
      .ask(this.#statements.of(NOTIFY_LISTENERS), this.#values)
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => {
        this.#sending = undefined
        if (this.#isDue) this.due()
      })
  }

  async #withinReason(sending: Promise<void> | undefined): Promise<void> {
    if (!sending) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSING)
    })
    await Promise.race([sending, late])
    clearTimeout(timer)
  }
}

/** Milliseconds from one notification to the next. */
export const NOTIFY_PACE = 5
/** Milliseconds that closing waits for a notification. */
const CLOSING = 500
