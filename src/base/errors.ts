import type { Limits } from './limits.ts'
import type { ExpectedRevision, Position, Revision } from './revision.ts'

/**
 * What every failure of Mneme is: an error with a stable `code`, a `cause` where there is one, and whether
 * the same call, made again later, can help. Errors that the user's own code throws pass through unchanged.
 *
 * No message holds event data, parameters or connection strings.
 */
export abstract class MnemeError extends Error {
  /** Stable between versions; `switch (error.code)` narrows a {@link AnyMnemeError}. */
  abstract readonly code: ErrorCode
  /** Whether the same call, made again later, can help. */
  readonly isRetryable: boolean = false

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A stream was not at the revision that an append expected: nothing of the append was written. */
export class ConflictError extends MnemeError {
  readonly code = 'CONFLICT'
  override readonly isRetryable = true
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly actual: Revision

  constructor(conflict: { stream: string; expected: ExpectedRevision; actual: Revision }) {
    super(
      `stream ${quote(conflict.stream)} was expected at ${describe(conflict.expected)}, but is at ${describe(conflict.actual)}`,
    )
    this.stream = conflict.stream
    this.expected = conflict.expected
    this.actual = conflict.actual
  }
}

/** A command was rejected: `handle` returned `reject(...)`. The typed rejection says why. */
export class RejectedError<R = { readonly reason: string }> extends MnemeError {
  readonly code = 'REJECTED'
  readonly rejection: R
  readonly #command: object | undefined

  constructor(rejection: R & { readonly reason: string }, command?: object) {
    super(`the command was rejected: ${rejection.reason}`)
    this.rejection = rejection
    this.#command = command
  }

  /** Whether one of these commands was rejected. */
  isOneOf(commands: WeakSet<object>): boolean {
    return this.#command !== undefined && commands.has(this.#command)
  }
}

/** Event data, metadata or a command's input was refused before anything was written. */
export class InvalidDataError extends MnemeError {
  readonly code = 'INVALID_DATA'
  /** What was refused: an event's type, `metadata`, or `input`. */
  readonly subject: string
  /** What is wrong, and where: paths like `data.items[3].at`. */
  readonly issues: readonly DataIssue[]

  constructor(subject: string, issues: readonly DataIssue[]) {
    super(`${subject} was refused: ${issues.map(({ path, message }) => `${path}: ${message}`).join('; ')}`)
    this.subject = subject
    this.issues = issues
  }
}

/** One reason why data was refused. */
export interface DataIssue {
  readonly path: string
  readonly message: string
}

/** A name, an event or an append is larger than every store takes. Nothing was written. */
export class LimitError extends MnemeError {
  readonly code = 'LIMIT_EXCEEDED'
  /** Which limit, by its name in `Limits`. */
  readonly limit: keyof Limits
  readonly maximum: number
  readonly actual: number

  constructor(what: string, limit: keyof Limits, maximum: number, actual: number) {
    super(`${what}: ${String(actual)} is above the limit of ${String(maximum)} (${limit})`)
    this.limit = limit
    this.maximum = maximum
    this.actual = actual
  }
}

/** A stored or decided event is of a type, or of a version of it, that the aggregate does not know. */
export class UnknownEventError extends MnemeError {
  readonly code = 'UNKNOWN_EVENT'
  readonly stream: string
  readonly type: string
  readonly version: number

  constructor(at: { stream: string; type: string; version: number }, known: string) {
    super(
      `event type ${quote(at.type)} (version ${String(at.version)}) on stream ${quote(at.stream)} is unknown here; ${known}`,
    )
    this.stream = at.stream
    this.type = at.type
    this.version = at.version
  }
}

/** `apply` or an upcast threw on an event: `cause` is what it threw. Nothing was written. */
export class FoldError extends MnemeError {
  readonly code = 'FOLD_FAILED'
  readonly stream: string
  readonly type: string
  /** The event's revision; of an event just decided, the one that it would have had. */
  readonly revision: number

  constructor(
    at: { stream: string; type: string; revision: number },
    cause: unknown,
    step: 'apply' | 'an upcast' = 'apply',
  ) {
    super(`${step} failed on ${at.type} at ${quote(at.stream)} revision ${String(at.revision)}`, { cause })
    this.stream = at.stream
    this.type = at.type
    this.revision = at.revision
  }
}

/** The beginning of a stream is gone, so no state can be folded from it. */
export class StreamTruncatedError extends MnemeError {
  readonly code = 'STREAM_TRUNCATED'
  readonly stream: string
  /** The first revision that is still there; `undefined`: none is. */
  readonly firstRevision: number | undefined

  constructor(stream: string, firstRevision: number | undefined) {
    super(
      firstRevision === undefined
        ? `stream ${quote(stream)} was deleted or cut off: nothing of it is left`
        : `stream ${quote(stream)} begins at revision ${String(firstRevision)}: its beginning is gone`,
    )
    this.stream = stream
    this.firstRevision = firstRevision
  }
}

/** The stream was deleted for good (tombstoned): it can be neither read nor written any more. */
export class StreamDeletedError extends MnemeError {
  readonly code = 'STREAM_DELETED'
  readonly stream: string

  constructor(stream: string) {
    super(`stream ${quote(stream)} was deleted for good`)
    this.stream = stream
  }
}

/** An idempotency key was used before, for another input or command. Nothing was written. */
export class KeyReusedError extends MnemeError {
  readonly code = 'KEY_REUSED'
  readonly key: string

  constructor(key: string) {
    super(`idempotency key ${quote(key)} was used before for another input or command`)
    this.key = key
  }
}

/** Too many calls wait already: this one was refused at once, and nothing was written. */
export class OverloadedError extends MnemeError {
  readonly code = 'OVERLOADED'
  override readonly isRetryable = true
  /** How many calls waited: the store's `maxPending`. */
  readonly pending: number

  constructor(pending: number) {
    super(`${String(pending)} calls wait for the store already (maxPending)`)
    this.pending = pending
  }
}

/** Others held the store, or a stream, for longer than the stated time-out. Nothing was written. */
export class StoreBusyError extends MnemeError {
  readonly code = 'STORE_BUSY'
  override readonly isRetryable = true
  /** How long the call waited, in milliseconds. */
  readonly waited: number

  constructor(waited: number, options?: ErrorOptions) {
    super(`others held the store, or a stream of it, for ${String(Math.round(waited))} ms`, options)
    this.waited = waited
  }
}

/** There is no room left for the data. Nothing was written; the store works again when there is room. */
export class StoreFullError extends MnemeError {
  readonly code = 'STORE_FULL'
  override readonly isRetryable = true
}

/** The database or the network failed. Nothing was written. `cause` is what the driver said. */
export class StoreFailedError extends MnemeError {
  readonly code = 'STORE_FAILED'
  override readonly isRetryable = true
}

/** The server cannot be reached, or takes no writes at present. Nothing was written. */
export class StoreUnavailableError extends MnemeError {
  readonly code = 'STORE_UNAVAILABLE'
  override readonly isRetryable = true
}

/** The store took longer over a call than was stated. Nothing was written. */
export class StoreTimeoutError extends MnemeError {
  readonly code = 'STORE_TIMEOUT'
  override readonly isRetryable = true
}

/**
 * The store's history is not the one that this program knows: it lacks what was acknowledged. It was restored to
 * an earlier point, or a server took over that had not got everything.
 */
export class HistoryRewoundError extends MnemeError {
  readonly code = 'HISTORY_REWOUND'
}

/** A checkpoint of one store was given to another. Positions of different stores cannot be compared. */
export class CheckpointFromAnotherStoreError extends MnemeError {
  readonly code = 'CHECKPOINT_FROM_ANOTHER_STORE'
  /** The identity of the store that the checkpoint is of. */
  readonly checkpointStore: string
  /** The identity of this store. */
  readonly store: string

  constructor(checkpointStore: string, store: string) {
    super(`the checkpoint is of the store ${quote(checkpointStore)}, and this is the store ${quote(store)}`)
    this.checkpointStore = checkpointStore
    this.store = store
  }
}

/**
 * A projection is defined in another version than the one in which its read model is built. Nothing was written: the
 * message says what to do.
 */
export class ProjectionVersionError extends MnemeError {
  readonly code = 'PROJECTION_VERSION'
  readonly projection: string
  /** The version that the program defines. */
  readonly defined: number
  /** The version in which the read model is built. */
  readonly built: number

  constructor(at: { projection: string; defined: number; built: number }, advice: string) {
    super(
      `projection ${quote(at.projection)} is built in version ${String(at.built)}, and defined here in version ` +
        `${String(at.defined)}: ${advice}`,
    )
    this.projection = at.projection
    this.defined = at.defined
    this.built = at.built
  }
}

/** A projection is blocked by an event that its handler fails on: it does not go on until it is unblocked. */
export class ProjectionBlockedError extends MnemeError {
  readonly code = 'PROJECTION_BLOCKED'
  readonly projection: string

  constructor(projection: string, reason: string) {
    super(`projection ${quote(projection)} is blocked: ${reason}`)
    this.projection = projection
  }
}

/** A projection has not passed a position within the time stated. It goes on all the same. */
export class NotCaughtUpError extends MnemeError {
  readonly code = 'NOT_CAUGHT_UP'
  override readonly isRetryable = true
  readonly projection: string

  constructor(projection: string, waited: number) {
    super(`projection ${quote(projection)} has not come that far within ${String(Math.round(waited))} ms`)
    this.projection = projection
  }
}

/** A store could not be opened; nothing was changed. `reason` says why. */
export class OpenError extends MnemeError {
  readonly code = 'CANNOT_OPEN'
  readonly reason: OpenFailure

  constructor(reason: OpenFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** Why a store could not be opened. */
export type OpenFailure =
  | 'driver-missing'
  | 'missing-folder'
  | 'not-a-database'
  | 'access-denied'
  | 'newer-schema'
  | 'outdated-schema'
  | 'read-only'
  | 'failed'

/** Whether an append was committed cannot be known: read the stream before you decide again. */
export class OutcomeUnknownError extends MnemeError {
  readonly code = 'OUTCOME_UNKNOWN'
}

/** The store was closed. Nothing was written. */
export class StoreClosedError extends MnemeError {
  readonly code = 'STORE_CLOSED'

  constructor() {
    super('the store is closed')
  }
}

/** This store cannot do what was asked: see `store.capabilities`. Nothing was written. */
export class UnsupportedError extends MnemeError {
  readonly code = 'UNSUPPORTED'
}

/**
 * An argument is wrong: a mistake in the program. A `TypeError`, with the name of the argument and what was
 * expected.
 */
export class InvalidArgumentError extends TypeError {
  readonly code = 'INVALID_ARGUMENT'
  readonly isRetryable = false
  readonly argument: string

  constructor(argument: string, expected: string) {
    super(`${argument} must be ${expected}`)
    this.name = 'InvalidArgumentError'
    this.argument = argument
  }
}

/** Every error that Mneme throws, discriminated by `code`. */
export type AnyMnemeError =
  | ConflictError
  | RejectedError
  | InvalidDataError
  | LimitError
  | UnknownEventError
  | FoldError
  | StreamTruncatedError
  | StreamDeletedError
  | KeyReusedError
  | OverloadedError
  | StoreBusyError
  | StoreFullError
  | StoreFailedError
  | StoreUnavailableError
  | StoreTimeoutError
  | HistoryRewoundError
  | CheckpointFromAnotherStoreError
  | ProjectionVersionError
  | ProjectionBlockedError
  | NotCaughtUpError
  | OpenError
  | OutcomeUnknownError
  | StoreClosedError
  | UnsupportedError
  | InvalidArgumentError

/** The codes of every error that Mneme throws. */
export type ErrorCode =
  | 'CANNOT_OPEN'
  | 'CHECKPOINT_FROM_ANOTHER_STORE'
  | 'CONFLICT'
  | 'FOLD_FAILED'
  | 'HISTORY_REWOUND'
  | 'INVALID_ARGUMENT'
  | 'INVALID_DATA'
  | 'KEY_REUSED'
  | 'LIMIT_EXCEEDED'
  | 'NOT_CAUGHT_UP'
  | 'OUTCOME_UNKNOWN'
  | 'OVERLOADED'
  | 'PROJECTION_BLOCKED'
  | 'PROJECTION_VERSION'
  | 'REJECTED'
  | 'STORE_BUSY'
  | 'STORE_CLOSED'
  | 'STORE_FAILED'
  | 'STORE_FULL'
  | 'STORE_TIMEOUT'
  | 'STORE_UNAVAILABLE'
  | 'STREAM_DELETED'
  | 'STREAM_TRUNCATED'
  | 'UNKNOWN_EVENT'
  | 'UNSUPPORTED'

/**
 * Whether an error is one of Mneme's; if so, `switch (error.code)` narrows it.
 *
 * @example
 * ```ts
 * try {
 *   await store.append({ stream: Door('front'), events: [Door.events.Opened()], expected: 'none' })
 * } catch (error) {
 *   if (isMnemeError(error) && error.code === 'CONFLICT') console.log(error.actual)
 *   else throw error
 * }
 * ```
 */
export function isMnemeError(error: unknown): error is AnyMnemeError {
  return error instanceof MnemeError || error instanceof InvalidArgumentError
}

function describe(revision: ExpectedRevision): string {
  return typeof revision === 'number' ? `revision ${String(revision)}` : `'${revision}'`
}

/** A name in a message: escaped, and cut where it is long. */
export function quote(name: string): string {
  const text = JSON.stringify(name)
  return text.length > 120 ? `${text.slice(0, 117)}..."` : text
}

/** The error of a place that is none in a store's history. */
export function historyRewound(position: Position): HistoryRewoundError {
  return new HistoryRewoundError(
    `position ${position} is no place in this store's history: the event that was seen there is not there. The store ` +
      'was restored to an earlier point, or the position is of another store',
  )
}
