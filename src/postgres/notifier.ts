import type { Connections } from './connections.ts'
import { NOTIFY_LISTENERS, type Statements } from './statements.ts'

/**
 * Tells other processes that something was appended: at once, then no more often than every {@link NOTIFY_PACE}, and
 * one at a time. It stands beside the appends: none of them waits for it or fails with it. Where it fails itself, that
 * is left to the others' polls.
 *
 * Nobody is notified as long as nobody listens, and that is looked at every {@link LOOK_PACE}.
 */
export class Notifier {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #values: readonly [channel: string, payload: string]
  #isDue = false
  #isClosed = false
  #sentAt = -Infinity
  #pace = NOTIFY_PACE
  #sending: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined

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
    if (this.#sending || this.#timer || this.#soon) return
    const early = this.#sentAt + this.#pace - performance.now()
    if (early <= 0) {
      // Once the caller was told, and has appended what is next.
      this.#soon = setImmediate(() => {
        this.#soon = undefined
        this.#send()
      })
    } else {
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
    clearImmediate(this.#soon)
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
        ([row]) => {
          this.#pace = row?.[1] === null ? LOOK_PACE : NOTIFY_PACE
        },
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
const NOTIFY_PACE = 10
/** The same where nobody listened the last time. */
const LOOK_PACE = 50
/** Milliseconds that closing waits for a notification. */
const CLOSING = 500
