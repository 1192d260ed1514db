import { type Boundary, type Command, isRejection } from '../model/command.ts'
import { checkOptions, checkSignal } from '../base/arguments.ts'
import { checkUsableKey } from '../store/arguments.ts'
import { type EncodedEvent, encodeEvent } from '../store/encode.ts'
import { ConflictError, InvalidArgumentError } from '../base/errors.ts'
import type { Event, Recorded } from '../model/event.ts'
import { fingerprint } from '../model/fingerprint.ts'
import { checkMetadata, type Metadata } from '../model/metadata.ts'
import { isPlain } from '../model/json.ts'
import { onAbort } from '../base/abort.ts'
import { retryDelay, type RetryOptions, retryPolicy, type RetryPolicy } from '../base/retry.ts'
import type { Position, Revision } from '../base/revision.ts'
import type { Appended, Capabilities, Conflict, Repeated } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'
import { fromVerdict } from '../store/decode.ts'

/** Options of `execute`. */
export interface ExecuteOptions {
  /** Kept with every event of the command. */
  readonly metadata?: Metadata | undefined
  /**
   * An idempotency key, kept with the events in the same append: executed again, the command appends nothing
   * and gives what the first append gave. Its scope is the store, so let it name the operation too; it is kept
   * as long as the store. A rejection keeps none, nor does a decision without events.
   */
  readonly key?: string | undefined
  /** Gives the command up, unless its append is on its way already. */
  readonly signal?: AbortSignal | undefined
  /** How often and after which delays a conflict is retried. */
  readonly retry?: RetryOptions | undefined
  /** Called before each retry. Not where only a state at hand was old: that is decided anew at once. */
  readonly onRetry?: ((retry: Retry) => void) | undefined
}

/** A retry to come. */
export interface Retry {
  /** The attempt that met the conflict, from 1. */
  readonly attempt: number
  /** How long the next one waits, in milliseconds. */
  readonly delay: number
  readonly conflict: ConflictError
}

/** What a command came to, before its types. */
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
  | { readonly ok: false; readonly rejection: { readonly reason: string }; readonly attempts: number }

/** What `handle` made of a state. An error that it threw is a decision too: it stands or falls with the state. */
export type Decided =
  | { readonly kind: 'events'; readonly events: readonly EncodedEvent[] }
  | { readonly kind: 'rejected'; readonly rejection: { readonly reason: string } }
  | { readonly kind: 'threw'; readonly error: unknown }

/** An event, and the stream that it is recorded on. */
interface Placed {
  readonly stream: AnyStream
  readonly event: unknown
}

/** Says of each thing that `handle` returned which events it is, on which streams. */
export type Place = (item: unknown) => readonly Placed[]

/** One execution of a command, from the call to its outcome. */
export class Call {
  readonly command: Command<Boundary, unknown, unknown>
  readonly metadata: Metadata
  readonly metadataText: string
  readonly key: string | undefined
  /** Of the command's input, where there is a key. */
  readonly fingerprint: string
  readonly signal: AbortSignal | undefined
  /** Settles once, with what the command came to. */
  readonly outcome: Promise<CallOutcome>
  /** How often the command was decided. */
  attempts = 0
  #inFlight = false
  isSettled = false
  /** Ends the listening to the signal. */
  #stopListening: (() => void) | undefined
  readonly #needs: object
  readonly #retry: RetryPolicy
  readonly #onRetry: ((retry: Retry) => void) | undefined
  #retries = 0
  #resolve!: (outcome: CallOutcome) => void
  #reject!: (error: unknown) => void

  /** @throws InvalidArgumentError, InvalidDataError, UnsupportedError */
  constructor(
    command: Command<Boundary, unknown, unknown>,
    options: ExecuteOptions & { readonly needs?: unknown },
    capabilities: Capabilities,
  ) {
    if (
      typeof (command as unknown) !== 'object' ||
      typeof (command as Partial<typeof command> | null)?.handle !== 'function'
    ) {
      throw new InvalidArgumentError(
        'command',
        'an object with reads and handle, like what defineCommand makes of an input',
      )
    }
    if (command.follow !== undefined && typeof (command.follow as unknown) !== 'function') {
      throw new InvalidArgumentError('follow', 'a function from the states to further streams')
    }
    checkOptions(options, 'options', ['metadata', 'key', 'signal', 'retry', 'onRetry', 'needs'])
    this.command = command
    this.metadata = checkMetadata(options.metadata)
    this.metadataText = JSON.stringify(this.metadata)
    this.key = options.key === undefined ? undefined : checkUsableKey(options.key, capabilities)
    this.fingerprint = this.key === undefined ? '' : fingerprint(inputOf(command))
    this.signal = checkSignal(options.signal)
    this.#needs = checkNeeds(options.needs)
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

  /** Whether it is settled, or was given up while an append was on its way, which then came to nothing. */
  get isOver(): boolean {
    if (this.signal?.aborted) this.#abort()
    return this.isSettled
  }

  /** Runs `handle`; a promise only where `handle` returned one. Never throws: an error is a decision, too. */
  decide(state: unknown, extra: object, place: Place): Decided | Promise<Decided> {
    this.attempts++
    const context = {
      ...this.#needs,
      attempt: this.attempts,
      signal: this.signal ?? NEVER,
      metadata: this.metadata,
      ...extra,
    }
    try {
      const returned = this.command.handle(state as never, context as never)
      if (!isThenable(returned)) return this.#decided(returned, place)
      return Promise.race([returned, this.outcome])
        .then((value) => this.#decided(value, place))
        .catch(threw)
    } catch (error) {
      return threw(error)
    }
  }

  /** Whether an append is on its way, so that the call cannot be given up; if it was meanwhile, that counts after. */
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
   * Takes note of a conflict.
   *
   * @param counts whether it used up a retry: not where the state came from the cache, for then it was only old.
   * @param jitter from 0 to 1: the same for all that are to be decided anew together.
   * @returns how long to wait before the command is decided anew; `undefined` where it failed for good.
   */
  conflicted(conflict: Conflict, counts: boolean, jitter: number): number | undefined {
    if (this.isOver) return undefined
    if (!counts) return 0
    const error = new ConflictError(conflict)
    if (++this.#retries > this.#retry.maxRetries) {
      this.reject(error)
      return undefined
    }
    const delay = retryDelay(this.#retry, this.#retries, jitter)
    try {
      this.#onRetry?.({ attempt: this.attempts, delay, conflict: error })
    } catch (thrown) {
      this.reject(thrown)
      return undefined
    }
    return delay
  }

  #decided(returned: unknown, place: Place): Decided {
    if (isRejection(returned)) return { kind: 'rejected', rejection: returned.rejection }
    const items: readonly unknown[] = Array.isArray(returned) ? returned : [returned]
    const events = items.flatMap(place).map(({ event, stream: { stream, fold } }) => {
      return encodeEvent(event as Event, { stream, fold, argument: RETURNED }, this.metadataText)
    })
    return { kind: 'events', events }
  }

  readonly #abort = (): void => {
    if (!this.#inFlight && !this.isSettled) this.reject(this.signal?.reason)
  }

  #settle(): void {
    this.isSettled = true
    this.#stopListening?.()
  }
}

/** What an error calls the events that `handle` returned. */
export const RETURNED = 'what handle returns'

/** The signal of a call whose caller gave none. */
const NEVER = new AbortController().signal

function threw(error: unknown): Decided {
  return { kind: 'threw', error }
}

/** What an idempotency key is compared by. */
function inputOf(command: Command<Boundary, unknown, unknown>): unknown {
  const { name } = command
  const input = 'input' in command ? command.input : fieldsOf(command)
  return name === undefined ? input : [name, input]
}

/** A class's own fields; private ones cannot be seen. */
function fieldsOf(command: object): unknown {
  const fields = { ...command, reads: undefined }
  return isPlain(command) || Object.keys(fields).length > 1 ? fields : command
}

function checkNeeds(needs: unknown = {}): object {
  if (typeof needs !== 'object' || needs === null) {
    throw new InvalidArgumentError('needs', 'an object of what the command needs')
  }
  return needs
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** A decision that stands. */
export interface Standing {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the append. */
  readonly first: number
  /** The state as the caller gets it. */
  readonly result: unknown
  /** Where each of its streams stands with its events. */
  readonly revisions: ReadonlyMap<string, Revision>
}

/** Tells the caller what came of its command, now that all it stands on is committed. */
export function report(call: Call, standing: Standing, verdict: Appended | Repeated | undefined): void {
  const { decided, events, first, result, revisions } = standing
  const { attempts, metadata } = call
  if (decided.kind === 'threw') call.reject(decided.error)
  else if (decided.kind === 'rejected') call.resolve({ ok: false, rejection: decided.rejection, attempts })
  else {
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
