import { environment } from '../../base/environment.ts'
import type { LogSource } from '../../adapter/subscription-hub.ts'
import type { Connections } from './connection.ts'
import { Listener, type Listening } from './listener.ts'
import { NOTIFY_LISTENERS, type Statements } from './statements.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { Row } from './wire.ts'

/**
 * Tells watchers of the log that there may be new events: after appends of this process, after notifications of other
 * processes, and, because a notification can be lost, by a poll. Without watchers nothing runs and no connection is held.
 */
export class LogWatch {
  readonly #connections: Connections
  readonly #notifier: Notifier
  readonly #listener: Listener
  readonly #listening: Listening
  readonly #watchers = new Set<() => void>()
  #cancelPoll: (() => void) | undefined
  #cancelAgain: (() => void) | undefined
  #againAfterMs = 0
  #cancelLingering: (() => void) | undefined
  readonly #intervals: PollIntervals

  constructor(
    connections: Connections,
    statements: Statements,
    identity: string,
    intervals: PollIntervals = POLL_INTERVALS,
  ) {
    this.#connections = connections
    this.#intervals = intervals
    this.#listening = {
      statements,
      channel: `mneme_${identity.replaceAll('-', '')}`,
      own: environment.uuid(),
      heard: this.#changed,
    }
    this.#listener = Listener.of(connections.shared.pool)
    this.#notifier = new Notifier(connections, this.#listening, this.#listener)
  }

  /** This process appended something. Watchers are told after the caller, which may have appended the next event by then. */
  appended(): void {
    this.#notifier.due()
    if (this.#watchers.size > 0) environment.nextTurn(this.#changed)
  }

  /**
   * The log was read. If an append under way holds back its end, it is read again soon, since the append may be rolled back
   * without a notification.
   */
  looked(isHeldBack: boolean): void {
    if (!isHeldBack) this.#againAfterMs = 0
    if (!isHeldBack || this.#cancelAgain || this.#watchers.size === 0) return
    this.#againAfterMs = Math.min(Math.max(this.#againAfterMs * 2, MIN_HELD_BACK_MS), MAX_HELD_BACK_MS)
    this.#cancelAgain = environment.after(this.#againAfterMs, () => {
      this.#cancelAgain = undefined
      this.#changed()
    })
  }

  readonly watch: LogSource['watch'] = (changed) => {
    this.#watchers.add(changed)
    if (this.#watchers.size === 1) {
      this.#cancelLingering?.()
      this.#listener.start(this.#listening, this.#connections)
      this.#pollSoon()
    }
    return () => {
      if (this.#watchers.delete(changed) && this.#watchers.size === 0) this.#rest()
    }
  }

  /** Ends every watch, and sends the last notification. */
  async close(): Promise<void> {
    this.#watchers.clear()
    this.#rest()
    this.#cancelLingering?.()
    await this.#notifier.close()
    await this.#listener.stop(this.#listening)
  }

  readonly #changed = (): void => {
    for (const changed of [...this.#watchers]) changed()
  }

  #pollSoon(): void {
    const { aloneMs, listeningMs } = this.#intervals
    const interval = this.#listener.isHearing(this.#listening) ? listeningMs : aloneMs
    this.#cancelPoll = environment.after(interval, () => {
      this.#pollSoon()
      this.#changed()
    })
  }

  #rest(): void {
    this.#cancelPoll?.()
    this.#cancelAgain?.()
    this.#cancelAgain = undefined
    this.#againAfterMs = 0
    // A subscriber that falls behind and catches up again listens on the same connection.
    this.#cancelLingering = environment.after(LINGER_MS, () => void this.#listener.stop(this.#listening))
  }
}

/** Milliseconds from one poll of the log to the next. */
export interface PollIntervals {
  /** When no notifications come. */
  readonly aloneMs: number
  /** When notifications come, one of which may be lost. */
  readonly listeningMs: number
}

const POLL_INTERVALS: PollIntervals = { aloneMs: 100, listeningMs: 500 }
/** Milliseconds after which a log whose end is held back is read again; doubled each time, up to the maximum. */
const MIN_HELD_BACK_MS = 5
const MAX_HELD_BACK_MS = 100
/** Milliseconds for which the connection still listens after the last watcher has gone. */
const LINGER_MS = 1_000

/**
 * Tells other processes that something was appended: at once, but on average no more often than every
 * {@link NOTIFY_INTERVAL_MS}, and one notification at a time. No append waits for it or fails with it. If it fails, the
 * polls of other processes find the events.
 *
 * While no other process listens none is notified; that is checked every {@link CHECK_LISTENERS_MS}.
 */
export class Notifier {
  readonly #connections: Connections
  readonly #listening: Listening
  readonly #listener: Listener
  readonly #tokens = new TokenBucket(NOTIFY_INTERVAL_MS, MAX_NOTIFY_BURST)
  #isDue = false
  #isClosed = false
  /** When no other process was found to listen. */
  #unheardAt = -Infinity
  #sending: Promise<void> | undefined
  #cancelDue: (() => void) | undefined

  /** @param listener on whose connection the server can tell whether another process listens. */
  constructor(connections: Connections, listening: Listening, listener: Listener) {
    this.#connections = connections
    this.#listening = listening
    this.#listener = listener
  }

  /** Something was appended. */
  due(): void {
    if (this.#isClosed) return
    this.#isDue = true
    if (this.#sending || this.#cancelDue) return
    const early = Math.max(this.#tokens.wait, this.#unheardAt + CHECK_LISTENERS_MS - environment.now())
    const send = () => {
      this.#cancelDue = undefined
      this.#send()
    }
    // Not at once: after the caller was told, which may have appended the next event by then.
    this.#cancelDue = early <= 0 ? environment.nextTurn(send) : environment.after(early, send)
  }

  /** Sends the last notification, unless that takes long. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelDue?.()
    await withinMs(this.#sending, CLOSE_MS)
    if (!this.#isDue) return
    this.#send()
    await withinMs(this.#sending, CLOSE_MS)
  }

  #send(): void {
    this.#isDue = false
    this.#tokens.take()
    this.#sending = this.#notify()
      .then(
        ([row]) => {
          if (row?.[1] === null) this.#unheardAt = environment.now()
        },
        () => undefined,
      )
      .finally(() => {
        this.#sending = undefined
        if (this.#isDue) this.due()
      })
  }

  async #notify(): Promise<Row[]> {
    const { statements, channel, own } = this.#listening
    const call = { statement: statements.of(NOTIFY_LISTENERS), values: [channel, own] }
    this.#listener.tellOthersHere(this.#listening)
    const told = this.#listener.isHearing(this.#listening) ? await this.#listener.ask(call) : undefined
    return told ?? this.#connections.ask(call.statement, call.values)
  }
}

async function withinMs(work: Promise<void> | undefined, milliseconds: number): Promise<void> {
  if (!work) return
  let cancel: (() => void) | undefined
  const late = new Promise<void>((resolve) => {
    cancel = environment.after(milliseconds, resolve)
  })
  await Promise.race([work, late])
  cancel?.()
}

/** Milliseconds between two notifications, on average, and how many may be sent at once. */
const NOTIFY_INTERVAL_MS = 8
const MAX_NOTIFY_BURST = 3
/** Milliseconds until the next check whether another process listens, if none did. */
const CHECK_LISTENERS_MS = 50
/** Milliseconds that closing waits for a notification. */
const CLOSE_MS = 500
