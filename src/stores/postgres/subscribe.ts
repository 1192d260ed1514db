import type { LogSource } from '../../adapter/subscription-hub.ts'
import type { Connections } from './connection.ts'
import { type Channel, Listener } from './listener.ts'
import { NOTIFY_LISTENERS, type Statements } from './statements.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { Row } from './wire.ts'

/**
 * Tells who follows the log that there may be something new, whoever appended it: this process, which says so itself;
 * others, by what they notify; and, because that can fail, a poll. Nothing runs and no connection is held while nobody
 * watches.
 */
export class LogWatch {
  readonly #notifier: Notifier
  /** Where the pool is so small that a connection held would be missed, there is none. */
  readonly #listener: Listener | undefined
  readonly #watchers = new Set<() => void>()
  #poll: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined
  #wait = 0
  #lingering: NodeJS.Timeout | undefined

  readonly #intervals: PollIntervals

  constructor(
    connections: Connections,
    statements: Statements,
    identity: string,
    intervals: PollIntervals = POLL_INTERVALS,
  ) {
    this.#intervals = intervals
    const channel = { name: `mneme_${identity.replaceAll('-', '')}`, own: crypto.randomUUID() }
    if (connections.size >= LEAST_CONNECTIONS) {
      this.#listener = new Listener(connections, statements, channel, this.#changed)
    }
    this.#notifier = new Notifier(connections, statements, channel, this.#listener)
  }

  /** This process appended something. Who watches hears of it once its caller has, and has appended what is next. */
  appended(): void {
    this.#notifier.due()
    if (this.#watchers.size > 0) setImmediate(this.#changed)
  }

  /**
   * Somebody looked at the log. Where the end of it is held back by an append under way, which may end without a word,
   * it is looked at again soon.
   */
  looked(isHeldBack: boolean): void {
    if (!isHeldBack) this.#wait = 0
    if (!isHeldBack || this.#again || this.#watchers.size === 0) return
    this.#wait = Math.min(Math.max(this.#wait * 2, MIN_HELD_BACK_MS), MAX_HELD_BACK_MS)
    this.#again = setTimeout(() => {
      this.#again = undefined
      this.#changed()
    }, this.#wait)
  }

  readonly watch: LogSource['watch'] = (changed) => {
    this.#watchers.add(changed)
    if (this.#watchers.size === 1) {
      clearTimeout(this.#lingering)
      this.#listener?.start()
      this.#pollSoon()
    }
    return () => {
      if (this.#watchers.delete(changed) && this.#watchers.size === 0) this.#rest()
    }
  }

  /** Ends every watch, and sends what is still to be told. */
  async close(): Promise<void> {
    this.#watchers.clear()
    this.#rest()
    clearTimeout(this.#lingering)
    await this.#notifier.close()
    await this.#listener?.stop()
  }

  readonly #changed = (): void => {
    for (const changed of [...this.#watchers]) changed()
  }

  #pollSoon(): void {
    this.#poll = setTimeout(
      () => {
        this.#pollSoon()
        this.#changed()
      },
      this.#listener?.isHearing ? this.#intervals.listeningMs : this.#intervals.aloneMs,
    )
  }

  #rest(): void {
    clearTimeout(this.#poll)
    clearTimeout(this.#again)
    this.#again = undefined
    this.#wait = 0
    // Who falls behind and catches up again listens on the same connection.
    this.#lingering = setTimeout(() => void this.#listener?.stop(), LINGERING)
  }
}

/** Milliseconds from one poll of the log to the next. */
export interface PollIntervals {
  /** When no notifications come. */
  readonly aloneMs: number
  /** When notifications come, one of which may be lost. */
  readonly listeningMs: number
}

export const POLL_INTERVALS: PollIntervals = { aloneMs: 100, listeningMs: 500 }
/** Connections that a pool can have, for one of them to listen: one more to append, one to read. */
const LEAST_CONNECTIONS = 3
/** Milliseconds after which a log whose end is held back is read again; doubled each time, up to the maximum. */
const MIN_HELD_BACK_MS = 5
const MAX_HELD_BACK_MS = 100
/** Milliseconds for which it is listened when nobody watches any more. */
const LINGERING = 1_000

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
  readonly #pace = new TokenBucket(EVERY, BURST)
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
