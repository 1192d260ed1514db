import { type Boundary, type Command, isRejection, type Rejection } from '../model/command.ts'
import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { checkUsableKey } from '../store/arguments.ts'
import { holds } from '../adapter/append-rules.ts'
import { checkStreamName } from '../model/names.ts'
import { checkEvent, type EncodedEvent, encodeEvent } from '../store/encode.ts'
import { isToSeal, sealEvents } from '../store/sealing.ts'
import { ConflictError, InvalidArgumentError, quote } from '../base/errors.ts'
import { checkFunction, isThenable } from '../base/functions.ts'
import type { Event, Recorded } from '../model/event.ts'
import { fingerprint } from '../model/fingerprint.ts'
import { checkMetadata, type Metadata, textOf } from '../model/metadata.ts'
import { isPlain } from '../model/json.ts'
import { onAbort } from '../base/abort.ts'
import { retryDelay, type RetryOptions, retryPolicy, type RetryPolicy } from '../base/retry.ts'
import type { ExpectedRevision, Position, Revision } from '../base/revision.ts'
import type { Appended, Conflict, Repeated } from '../adapter/store-adapter.ts'
import { conflicts } from '../store/diagnostics.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { type CallerContext, callerContext } from '../base/caller-context.ts'
import { checkNotNested, runHandle, type RunningHandle, runningHandle } from './nesting.ts'
import type { AnyStream } from '../model/stream.ts'
import { fromVerdict } from '../store/decode.ts'
import { environment } from '../base/environment.ts'

/** Options of `execute`. */
export interface ExecuteOptions {
  /** Stored with every event of the command. */
  readonly metadata?: Metadata | undefined
  /**
   * What the caller expects of the heads of streams that the command reads, by name, for example from the `revisions` of an
   * earlier result. Checked before `handle` runs and atomically with the append. If a stream is not as expected, the
   * command fails with a `ConflictError` and is not retried. A stream that the command does not read is refused.
   */
  readonly expected?: ExpectedRevisions | undefined
  /**
   * An idempotency key, stored with the events in the same append: executed again, the command appends nothing and
   * returns the result of the first append. Its scope is the store, so it should name the operation too; it is kept as long
   * as the store. Rejections and decisions without events store no key.
   */
  readonly key?: string | undefined
  /** Cancels the command, until its append is sent. */
  readonly signal?: AbortSignal | undefined
  /** How often and after which delays a conflict is retried. Default: 10 retries, from 10 ms to 1,000 ms. */
  readonly retry?: RetryOptions | undefined
  /** Called before each retry. A cached state that was out of date is no conflict: the command is decided again at once. */
  readonly onRetry?: ((retry: Retry) => void) | undefined
}

/** The expected head of each stream, by the stream's name. */
export type ExpectedRevisions = Readonly<Record<string, Expectation>> | ReadonlyMap<string, Expectation>
/** Not `'any'`, which expects nothing: leave the stream out. */
type Expectation = Exclude<ExpectedRevision, 'any'>

/** A retry that is about to happen. */
export interface Retry {
  /** The attempt that met the conflict, from 1. */
  readonly attempt: number
  /** The delay before the next attempt, in milliseconds. */
  readonly delay: number
  readonly conflict: ConflictError
}

/** The outcome of a command, untyped. */
export type CallOutcome =
  | {
      readonly ok: true
      readonly events: readonly Recorded[]
      readonly state: unknown
      readonly revisions: ReadonlyMap<string, Revision>
      readonly position: Position | undefined
      readonly attempts: number
      readonly repeated: boolean
    }
  | {
      readonly ok: false
      readonly rejection: { readonly reason: string }
      readonly revisions: ReadonlyMap<string, Revision>
      readonly attempts: number
    }

/** The result of `handle`. A thrown error counts as a decision too: it is reported only if the state is current. */
export type Decided =
  | { readonly kind: 'events'; readonly events: readonly EncodedEvent[] }
  | { readonly kind: 'rejected'; readonly rejection: { readonly reason: string } }
  | { readonly kind: 'threw'; readonly error: unknown }

/** An event and its stream. */
export interface Placed {
  readonly stream: AnyStream
  readonly event: unknown
}

/** Finds the events, and their streams, in the items that `handle` returned; or a rejection, for all items. */
export type Place = (items: readonly unknown[]) => readonly Placed[] | Rejection

/** One execution of a command, from the call to its outcome. */
export class Call {
  readonly command: Command<Boundary, unknown, unknown>
  /** The asynchronous context of the caller, in which the command's functions run. */
  readonly context: CallerContext = callerContext()
  readonly metadata: Metadata
  readonly metadataText: string
  readonly key: string | undefined
  /** Of the command's input, if there is a key. */
  readonly fingerprint: string
  readonly signal: AbortSignal | undefined
  /** Settles once, with the command's outcome. */
  readonly outcome: Promise<CallOutcome>
  /** How often the command was decided. */
  attempts = 0
  /** How often its append met a conflict. */
  conflicts = 0
  /** Whether it was decided on cached states alone. */
  isCached = false
  #inFlight = false
  isSettled = false
  /** Stops listening to the signal. */
  #stopListening: (() => void) | undefined
  readonly #core: StoreCore
  /** The `handle` that executes this command, if there is one. */
  readonly #within: RunningHandle | undefined = runningHandle()
  readonly #needs: object
  readonly #expected: ReadonlyMap<string, ExpectedRevision> | undefined
  readonly #retry: RetryPolicy
  readonly #onRetry: ((retry: Retry) => void) | undefined
  #retries = 0
  #resolve!: (outcome: CallOutcome) => void
  #reject!: (error: unknown) => void

  /** @throws InvalidArgumentError, InvalidDataError, UnsupportedError */
  constructor(
    command: Command<Boundary, unknown, unknown>,
    options: ExecuteOptions & { readonly needs?: unknown },
    core: StoreCore,
  ) {
    if (
      typeof (command as unknown) !== 'object' ||
      typeof (command as Partial<typeof command> | null)?.handle !== 'function'
    ) {
      throw new InvalidArgumentError(
        'command',
        'an object with reads and handle, like withdraw({ ... }) of defineCommand',
      )
    }
    checkFunction((command as { readonly handle: unknown }).handle, 'handle')
    if (command.follow !== undefined)
      checkFunction(command.follow, 'follow', 'a function that returns a record of streams')
    checkOptions(options, 'options', ['metadata', 'expected', 'key', 'signal', 'retry', 'onRetry', 'needs'])
    this.#core = core
    this.command = command
    this.metadata = checkMetadata(options.metadata)
    this.metadataText = textOf(this.metadata)
    this.key = options.key === undefined ? undefined : checkUsableKey(options.key, core.capabilities)
    this.fingerprint = this.key === undefined ? '' : fingerprint(inputOf(command))
    this.signal = checkSignal(options.signal)
    this.#needs = checkNeeds(options.needs)
    this.#expected = checkExpectations(options.expected)
    this.#retry = retryPolicy(options.retry)
    if (options.onRetry !== undefined && typeof (options.onRetry as unknown) !== 'function') {
      throw new InvalidArgumentError('onRetry', 'a function')
    }
    this.#onRetry = options.onRetry
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Listens to the signal from now on, until the call is settled. */
  begin(): void {
    if (this.signal?.aborted) this.#abort()
    else if (this.signal) this.#stopListening = onAbort(this.signal, this.#abort)
  }

  /** Whether it is settled. A call that was aborted during an append that failed is rejected here. */
  get isOver(): boolean {
    if (this.signal?.aborted) this.#abort()
    return this.isSettled
  }

  /** Refuses a command that a `handle` executes on its own streams. @throws InvalidArgumentError */
  checkNotNested(streams: readonly string[]): void {
    if (this.#within) checkNotNested(this.command, this.#core, streams, this.#within)
  }

  /**
   * Runs `handle` in its caller's context, unless a stream is not as the caller expected; returns a promise only if
   * `handle` does. Never throws: an error counts as a decision.
   *
   * @param revisions the head of each stream that the command read.
   */
  decide(
    state: unknown,
    extra: object,
    place: Place,
    revisions: ReadonlyMap<string, Revision>,
  ): Decided | Promise<Decided> {
    const unmet = this.unmet(revisions) ?? this.unread(revisions.keys())
    if (unmet) return threw(unmet)
    this.attempts++
    return this.context.runInAsyncScope(() => this.#decide(state, extra, place, revisions))
  }

  /** The error of the first of these streams that is not as the caller expected. */
  unmet(revisions: Iterable<readonly [stream: string, actual: Revision]>): ConflictError | undefined {
    if (!this.#expected) return undefined
    for (const [stream, actual] of revisions) {
      const expected = this.#expected.get(stream)
      if (expected !== undefined && !holds(expected, actual)) {
        return new ConflictError({ stream, expected, actual }, true)
      }
    }
    return undefined
  }

  /** The error of a stream of which the caller expects something, and which the command does not read. */
  unread(streams: Iterable<string>): InvalidArgumentError | undefined {
    if (!this.#expected) return undefined
    const known = new Set(streams)
    for (const stream of this.#expected.keys()) {
      if (known.has(stream)) continue
      const read = [...known].slice(0, 10).map(quote).join(', ')
      const message = `expected names the stream ${quote(stream)}, which the command does not read; it reads ${read}`
      return new InvalidArgumentError('expected', { message })
    }
    return undefined
  }

  #decide(
    state: unknown,
    extra: object,
    place: Place,
    revisions: ReadonlyMap<string, Revision>,
  ): Decided | Promise<Decided> {
    const context = {
      ...this.#needs,
      attempt: this.attempts,
      signal: this.signal ?? NEVER,
      metadata: this.metadata,
      revisions,
      ...extra,
    }
    try {
      const { command } = this
      const running = { core: this.#core, command, streams: revisions, within: this.#within, isOver: false }
      const returned = runHandle(running, () => command.handle(state as never, context as never))
      if (!isThenable(returned)) {
        const decided = this.#decided(returned, place)
        return decided instanceof Promise ? decided.catch(threw) : decided
      }
      return Promise.race([returned, this.outcome])
        .then((value) => this.#decided(value, place))
        .catch(threw)
    } catch (error) {
      return threw(error)
    }
  }

  /** Whether an append is in flight: an abort then takes effect after it. */
  set inFlight(inFlight: boolean) {
    this.#inFlight = inFlight
  }

  resolve(outcome: CallOutcome): void {
    this.#settle()
    this.#resolve(outcome)
  }

  reject(error: unknown): void {
    this.#settle()
    this.#reject(error)
  }

  /**
   * Handles a conflict.
   *
   * @param counts whether it uses up a retry: a state from the cache that was out of date does not.
   * @param jitter from 0 to 1: the same for all calls that are to be decided again together.
   * @returns the delay before the next attempt; `undefined` if the call is settled.
   */
  conflicted(conflict: Conflict, counts: boolean, jitter: number): number | undefined {
    if (this.isOver) return undefined
    this.conflicts++
    const { attempts: attempt } = this
    conflicts.publish(() => ({ command: this.command.name, ...conflict, attempt, counts }))
    const unmet = this.unmet([[conflict.stream, conflict.actual]])
    if (unmet) {
      this.reject(unmet)
      return undefined
    }
    if (!counts) return 0
    const error = new ConflictError(conflict)
    if (++this.#retries > this.#retry.maxRetries) {
      this.reject(error)
      return undefined
    }
    const delay = retryDelay(this.#retry, this.#retries, jitter)
    try {
      const onRetry = this.#onRetry
      if (onRetry) {
        const retry = { attempt: this.attempts, delay, conflict: error }
        this.context.runInAsyncScope(() => {
          onRetry(retry)
        })
      }
    } catch (thrown) {
      this.reject(thrown)
      return undefined
    }
    return delay
  }

  /** A promise if there are personal values to seal. */
  #decided(returned: unknown, place: Place): Decided | Promise<Decided> {
    if (isRejection(returned)) return { kind: 'rejected', rejection: returned.rejection }
    const items: readonly unknown[] = Array.isArray(returned) ? returned : [returned]
    const placed = place(items)
    if (isRejection(placed)) return { kind: 'rejected', rejection: placed.rejection }
    const events = placed.map(({ event, stream: { stream, fold } }) => {
      return checkEvent(event as Event, { stream, fold, argument: RETURNED }, this.metadataText)
    })
    if (!events.some(isToSeal)) return { kind: 'events', events: events.map(encodeEvent) }
    const sealing = sealEvents(this.#core.options.personal, events)
    // If the call is settled meanwhile, its decision does not matter.
    return Promise.race([sealing, this.outcome.then(() => [])]).then((sealed) => {
      return { kind: 'events', events: sealed.map(encodeEvent) }
    })
  }

  readonly #abort = (): void => {
    if (!this.#inFlight && !this.isSettled) this.reject(this.signal?.reason)
  }

  #settle(): void {
    this.isSettled = true
    this.#stopListening?.()
  }
}

/** The name of the events that `handle` returned, in errors. */
export const RETURNED = 'what handle returns'

/** The signal of calls without one. */
const NEVER = new AbortController().signal

function threw(error: unknown): Decided {
  return { kind: 'threw', error }
}

/** What an idempotency key is compared by. */
function inputOf(command: Command<Boundary, unknown, unknown>): unknown {
  const { name } = command
  const input = typeof command.keyedBy === 'function' ? command.keyedBy() : inputIn(command)
  return name === undefined ? input : [name, input]
}

function inputIn(command: Command<Boundary, unknown, unknown>): unknown {
  return 'input' in command ? command.input : fieldsOf(command)
}

/** The public fields of an instance. */
function fieldsOf(command: object): unknown {
  const fields = { ...command, reads: undefined }
  return isPlain(command) || Object.keys(fields).length > 1 ? fields : command
}

function checkExpectations(
  expected: ExpectedRevisions | undefined,
): ReadonlyMap<string, Expectation> | undefined {
  if (expected === undefined) return undefined
  const isMap = Object.prototype.toString.call(expected) === '[object Map]'
  if (
    typeof (expected as unknown) !== 'object' ||
    (expected as unknown) === null ||
    !(isMap || isPlain(expected))
  ) {
    throw new InvalidArgumentError('expected', 'an object or a Map from the names of streams to revisions')
  }
  const entries = isMap
    ? [...(expected as ReadonlyMap<string, Expectation>)]
    : Object.entries(expected as Readonly<Record<string, Expectation>>)
  for (const [stream, revision] of entries) {
    checkStreamName(stream, 'the stream in expected')
    if (revision === 'none' || revision === 'exists') continue
    // A precondition that is undefined by mistake must not be dropped.
    const what =
      "'none', 'exists' or a revision (a whole number from 0); to expect nothing, leave the stream out"
    checkWhole(revision, `expected[${quote(stream)}]`, 0, what)
  }
  return new Map(entries)
}

/** @throws InvalidArgumentError */
export function checkNeeds(needs: unknown = {}): object {
  if (typeof needs !== 'object' || needs === null) {
    throw new InvalidArgumentError('needs', 'an object with what the command needs')
  }
  return needs
}

/** Waits for a retry delay; ends early if all of these calls are settled, so that no timer keeps the process alive. */
export function backOff(calls: readonly Call[], milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      cancel()
      resolve()
    }
    const cancel = environment.after(milliseconds, end)
    void Promise.allSettled(calls.map(({ outcome }) => outcome)).then(end)
  })
}

/** A decision on current state. */
export interface Standing {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the append. */
  readonly first: number
  /** The state for the caller. */
  readonly result: unknown
}

/**
 * Settles a call, now that everything it depends on is committed.
 *
 * @param revisions the head of each of its streams with its events.
 */
export function report(
  call: Call,
  { decided, events, first, result }: Standing,
  revisions: ReadonlyMap<string, Revision>,
  verdict: Appended | Repeated | undefined,
): void {
  const { attempts, metadata } = call
  if (decided.kind === 'threw') call.reject(decided.error)
  else if (decided.kind === 'rejected') {
    call.resolve({ ok: false, rejection: decided.rejection, revisions, attempts })
  } else {
    const stored = verdict ? fromVerdict(events, verdict, metadata, first) : []
    call.resolve({
      ok: true,
      events: stored,
      state: result,
      revisions,
      position: stored.at(-1)?.position,
      attempts,
      repeated: verdict?.kind === 'repeated',
    })
  }
}
