import { Pace } from '../../base/rate-limit.ts'
import type { Connections } from './connection.ts'
import type { Channel, Listener } from './listener.ts'
import { NOTIFY_LISTENERS, type Statements } from './statements.ts'
import type { Row } from './wire.ts'

/**
 * Tells other processes that something was appended: at once, but on average no more often than every {@link EVERY}, and
 * one at a time. It stands beside the appends: none of them waits for it or fails with it. Where it fails itself, that
 * is left to the others' polls.
 *
 * Nobody is notified as long as nobody else listens, and that is looked at every {@link LOOK_PACE}.
 */
export class Notifier {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #channel: Channel
  readonly #listener: Listener | undefined
  readonly #pace = new Pace(EVERY, BURST)
  #isDue = false
  #isClosed = false
  /** When it was looked in vain whether anybody listens. */
  #lookedAt = -Infinity
  #sending: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined

  /** @param listener of this process: on its connection it shows whether anybody else listens. */
  constructor(
    connections: Connections,
    statements: Statements,
    channel: Channel,
    listener: Listener | undefined,
  ) {
    this.#connections = connections
    this.#statements = statements
    this.#channel = channel
    this.#listener = listener
  }

  /** Something was appended. */
  due(): void {
    if (this.#isClosed) return
    this.#isDue = true
    if (this.#sending || this.#timer || this.#soon) return
    const early = Math.max(this.#pace.wait, this.#lookedAt + LOOK_PACE - performance.now())
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
    this.#pace.take()
    this.#sending = this.#notify()
      .then(
        ([row]) => {
          if (row?.[1] === null) this.#lookedAt = performance.now()
        },
        () => undefined,
      )
      .finally(() => {
        this.#sending = undefined
        if (this.#isDue) this.due()
      })
  }

  async #notify(): Promise<Row[]> {
    const { name, own } = this.#channel
    const call = { statement: this.#statements.of(NOTIFY_LISTENERS), values: [name, own] }
    const told = await this.#listener?.ask(call)
    return told ?? this.#connections.ask(call.statement, call.values)
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

/** Milliseconds from one notification to the next, on average; so many may come at once. */
const EVERY = 8
const BURST = 3
/** Milliseconds until it is looked again, where nobody listened the last time. */
const LOOK_PACE = 50
/** Milliseconds that closing waits for a notification. */
const CLOSING = 500
