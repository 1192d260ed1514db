import type { LogSource } from '../../adapter/subscription-hub.ts'
import type { Connections } from './connection.ts'
import { Listener } from './listener.ts'
import { Notifier } from './notifier.ts'
import type { Statements } from './statements.ts'

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

  constructor(connections: Connections, statements: Statements, identity: string) {
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
    this.#wait = Math.min(Math.max(this.#wait * 2, HELD_BACK), POLL)
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
      this.#listener?.isHearing ? POLL_BEHIND : POLL,
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

/** Milliseconds from one look at the log to the next, where no notifications come. */
export const POLL = 100
/** The same behind notifications, of which one may be lost. */
export const POLL_BEHIND = 500
/** Connections that a pool can have, for one of them to listen: one more to append, one to read. */
const LEAST_CONNECTIONS = 3
/** Milliseconds after which a log whose end is held back is looked at again; then twice as many, up to {@link POLL}. */
const HELD_BACK = 5
/** Milliseconds for which it is listened when nobody watches any more. */
const LINGERING = 1_000
