import { builtinModule } from './builtin-module.ts'

/**
 * Calls that other code may watch: `start`, `end`, `asyncStart`, `asyncEnd` and `error` of a tracing channel of
 * `node:diagnostics_channel`. In runtimes without that module nothing can be watched.
 */
export class WatchedCalls<Message extends CallMessage> {
  readonly #channel: TracingChannel | undefined

  /** @param name the channels are `tracing:NAME:start` and so on. */
  constructor(name: string) {
    this.#channel = diagnosticsChannel()?.tracingChannel(name)
  }

  /** Whether anything subscribes. Ask first: otherwise a call costs nothing more than this. */
  get isWatched(): boolean {
    const channel = this.#channel
    if (channel === undefined) return false
    const { start, end, asyncStart, asyncEnd, error } = channel
    return (
      start.hasSubscribers ||
      asyncEnd.hasSubscribers ||
      error.hasSubscribers ||
      end.hasSubscribers ||
      asyncStart.hasSubscribers
    )
  }

  /**
   * Makes a call that is watched, with a message that subscribers are given at each step. Like `tracePromise` of the
   * channel, but the outcome is noted in the same promise: each promise more costs what a subscriber does again.
   */
  trace<T>(message: Message, call: () => Promise<T>, note: OutcomeNote<Message, T>): Promise<T> {
    if (!this.#channel) return call()
    const { start, end, asyncStart, asyncEnd, error } = this.#channel
    const ended = () => {
      asyncStart.publish(message)
      asyncEnd.publish(message)
    }
    return start.runStores(message, () => {
      try {
        const made = message.within ? message.within(call) : call()
        return made.then(
          (result) => {
            note.returned(message, result)
            ended()
            return result
          },
          (thrown: unknown) => {
            message.error = thrown
            note.threw(message, thrown)
            error.publish(message)
            ended()
            throw thrown
          },
        )
      } finally {
        end.publish(message)
      }
    })
  }
}

/** Notes how a call ended in its message, before subscribers are told. */
export interface OutcomeNote<Message, T> {
  returned(message: Message, result: T): void
  threw(message: Message, error: unknown): void
}

/** What happens and takes no time, as subscribers of one channel are told. */
export class WatchedEvents<Message extends object> {
  readonly #channel: Channel | undefined

  constructor(name: string) {
    this.#channel = diagnosticsChannel()?.channel(name)
  }

  /** Makes the message only if anything subscribes. */
  publish(message: () => Message): void {
    if (this.#channel?.hasSubscribers) this.#channel.publish(message())
  }
}

/** What the messages of all calls have in common. */
export interface CallMessage {
  /**
   * A subscriber of `start` may set this: the call is then made by it, once, for example in an asynchronous context of the
   * subscriber's own. It returns what `call` returns.
   */
  within?: (<T>(call: () => Promise<T>) => Promise<T>) | undefined
  /** Why the call failed, for subscribers of `error` and `asyncEnd`. */
  error?: unknown
}

interface Channel {
  readonly hasSubscribers: boolean
  publish(message: unknown): void
  runStores<R>(message: object, call: () => R): R
}

interface TracingChannel {
  readonly start: Channel
  readonly end: Channel
  readonly asyncStart: Channel
  readonly asyncEnd: Channel
  readonly error: Channel
}

/** The part of `node:diagnostics_channel` that Mneme uses. */
interface DiagnosticsChannel {
  channel(name: string): Channel
  tracingChannel(name: string): TracingChannel
}

function diagnosticsChannel(): DiagnosticsChannel | undefined {
  const found = builtinModule<DiagnosticsChannel>('node:diagnostics_channel')
  return found?.tracingChannel && found.channel ? (found as DiagnosticsChannel) : undefined
}
