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

  /** Makes a call that is watched, with a message that subscribers are given at each step. */
  trace<T>(message: Message, call: () => Promise<T>): Promise<T> {
    if (!this.#channel) return call()
    return this.#channel.tracePromise(() => (message.within ? message.within(call) : call()), message)
  }
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
  readonly error?: unknown
}

interface Channel {
  readonly hasSubscribers: boolean
  publish(message: unknown): void
}

interface TracingChannel {
  readonly start: Channel
  readonly end: Channel
  readonly asyncStart: Channel
  readonly asyncEnd: Channel
  readonly error: Channel
  tracePromise<T>(call: () => Promise<T>, message: object): Promise<T>
}

/** The part of `node:diagnostics_channel` that Mneme uses. */
interface DiagnosticsChannel {
  channel(name: string): Channel
  tracingChannel(name: string): TracingChannel
}

interface Process {
  getBuiltinModule: (name: 'node:diagnostics_channel') => Partial<DiagnosticsChannel> | undefined
}

function diagnosticsChannel(): DiagnosticsChannel | undefined {
  const { process } = globalThis as { readonly process?: Partial<Process> }
  const found = process?.getBuiltinModule?.('node:diagnostics_channel')
  return found?.tracingChannel && found.channel ? (found as DiagnosticsChannel) : undefined
}
