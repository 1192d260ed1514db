import type { Limits } from './limits.ts'
import type { ExpectedRevision, Position, Revision } from './revision.ts'

/** The brand of every error, by which another copy of the package in the process knows it too. */
const ERROR = Symbol.for('mneme.error')

/**
 * The base of every error that Mneme throws: a stable `code`, a `cause` if there is one, and whether the same call, made
 * again later, can succeed. Errors that the user's own code throws pass through unchanged.
 *
 * No message holds event data, parameters or connection strings.
 */
export abstract class MnemeError extends Error {
  /** The same in every version; `switch (error.code)` narrows an {@link AnyMnemeError}. */
  abstract readonly code: ErrorCode
  /** Whether the same call, made again later, can succeed. */
  readonly isRetryable: boolean = false

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }

  static {
    Object.defineProperty(this.prototype, ERROR, { value: true })
  }
}

/** A stream was not at the revision that an append, or the caller of `execute`, expected. Nothing was written. */
export class ConflictError extends MnemeError {
  readonly code = 'CONFLICT'
  override readonly isRetryable: boolean = true
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly actual: Revision
  /**
   * Whether it was `expected` in the options of `execute` that did not hold: the caller decided on another state than the
   * current one. Such a conflict is never retried.
   */
  readonly isPrecondition: boolean

  constructor(
    conflict: { stream: string; expected: ExpectedRevision; actual: Revision },
    isPrecondition = false,
  ) {
    super(
      `stream ${quote(conflict.stream)} was expected at ${describe(conflict.expected)}, but is at ${describe(conflict.actual)}`,
    )
    this.stream = conflict.stream
    this.expected = conflict.expected
    this.actual = conflict.actual
    this.isPrecondition = isPrecondition
    if (isPrecondition) this.isRetryable = false
  }
}

/** `handle` returned `reject(...)`: the command was rejected. The typed `rejection` says why. */
export class RejectedError<R = { readonly reason: string }> extends MnemeError {
  readonly code = 'REJECTED'
  readonly rejection: R
  /** The head of each stream that the command read, on which the rejection stands, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  readonly #command: object | undefined

  constructor(
    rejection: R & { readonly reason: string },
    revisions: ReadonlyMap<string, Revision> = new Map(),
    command?: object,
  ) {
    super(`the command was rejected: ${rejection.reason}`)
    this.rejection = rejection
    this.revisions = revisions
    this.#command = command
  }

  /** Whether the rejected command is one of these. */
  isOneOf(commands: WeakSet<object>): boolean {
    return this.#command !== undefined && commands.has(this.#command)
  }
}

/** Event data, metadata, a command's input or the value of a claim is invalid. Nothing was written. */
export class InvalidDataError extends MnemeError {
  readonly code = 'INVALID_DATA'
  /** The invalid part: an event's type, `metadata`, `input`, or a claim by its name (`claim Email`). */
  readonly subject: string
  /** What is wrong, and where: paths like `data.items[3].at`. The message has the first five, with long paths shortened. */
  readonly issues: readonly DataIssue[]

  constructor(subject: string, issues: readonly DataIssue[]) {
    const told = issues
      .slice(0, MAX_ISSUES_TOLD)
      .map(({ path, message }) => `${shortened(path)}: ${message}`)
      .join('; ')
    const untold = issues.length - MAX_ISSUES_TOLD
    super(`${subject} was refused: ${told}${untold > 0 ? `; and ${String(untold)} more issues` : ''}`)
    this.subject = subject
    this.issues = issues
  }
}

/** A message is read by people: `issues` has the rest. */
const MAX_ISSUES_TOLD = 5
const MAX_PATH_LENGTH = 80

/** A path with its middle left out if it is long. */
function shortened(path: string): string {
  if (path.length <= MAX_PATH_LENGTH) return path
  const half = (MAX_PATH_LENGTH - 3) / 2
  return `${path.slice(0, Math.ceil(half))}...${path.slice(-Math.floor(half))}`
}

/** One reason why data was refused. */
export interface DataIssue {
  readonly path: string
  readonly message: string
}

/** A name, an event or an append exceeds a limit that all stores share. Nothing was written. */
export class LimitError extends MnemeError {
  readonly code = 'LIMIT_EXCEEDED'
  /** The name of the limit in `Limits`. */
  readonly limit: keyof Limits
  readonly maximum: number
  readonly actual: number

  constructor(what: string, limit: keyof Limits, maximum: number, actual: number) {
    super(`${what}: ${String(actual)} exceeds the limit of ${String(maximum)} (${limit})`)
    this.limit = limit
    this.maximum = maximum
    this.actual = actual
  }
}

/** The aggregate does not know the type, or the version, of an event that was read or decided. Nothing was written. */
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

/** `apply` or an upcast threw an error, which is the `cause`. Nothing was written. */
export class FoldError extends MnemeError {
  readonly code = 'FOLD_FAILED'
  readonly stream: string
  readonly type: string
  /** The event's revision; for an event that was just decided, the revision that it would have had. */
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

/** The first events of a stream were removed, so no state can be folded from it. */
export class StreamTruncatedError extends MnemeError {
  readonly code = 'STREAM_TRUNCATED'
  readonly stream: string
  /** The first revision that the stream still has; `undefined` if it has no event left. */
  readonly firstRevision: number | undefined

  constructor(stream: string, firstRevision: number | undefined) {
    super(
      firstRevision === undefined
        ? `stream ${quote(stream)} was deleted or truncated: it has no event left; use another stream`
        : `stream ${quote(stream)} begins at revision ${String(firstRevision)}: the events before it were removed, so its state cannot be folded; use another stream`,
    )
    this.stream = stream
    this.firstRevision = firstRevision
  }
}

/** The stream was deleted permanently (tombstoned): it can no longer be read or written. */
export class StreamDeletedError extends MnemeError {
  readonly code = 'STREAM_DELETED'
  readonly stream: string

  constructor(stream: string) {
    super(`stream ${quote(stream)} was deleted permanently; use another stream`)
    this.stream = stream
  }
}

/** An import met other events than those that it brings. Nothing of the batch was written. */
export class ImportConflictError extends MnemeError {
  readonly code = 'IMPORT_CONFLICT'
  readonly stream: string
  /** The revision of the event that could not be imported. */
  readonly revision: number

  constructor(stream: string, revision: number, why: string) {
    super(
      `cannot import revision ${String(revision)} of stream ${quote(stream)}: ${why}; import a whole history, in its order, into a store of its own`,
    )
    this.stream = stream
    this.revision = revision
  }
}

/** An idempotency key was used before with another input or command. Nothing was written. */
export class KeyReusedError extends MnemeError {
  readonly code = 'KEY_REUSED'
  readonly key: string

  constructor(key: string) {
    super(
      `idempotency key ${quote(key)} was used before with another input or command; use a key of its own for each operation`,
    )
    this.key = key
  }
}

/** Too many calls are waiting already, so this one failed at once. Nothing was written. */
export class OverloadedError extends MnemeError {
  readonly code = 'OVERLOADED'
  override readonly isRetryable = true
  /** How many calls were waiting: the store's `maxPending`. */
  readonly pending: number

  constructor(pending: number) {
    super(`${String(pending)} calls are waiting for the store already (maxPending); make fewer calls at once`)
    this.pending = pending
  }
}

/** Another writer held a lock on the store, or on a stream, for longer than the time-out. Nothing was written. */
export class StoreBusyError extends MnemeError {
  readonly code = 'STORE_BUSY'
  override readonly isRetryable = true
  /** How long the call waited, in milliseconds. */
  readonly waited: number

  constructor(waited: number, options?: ErrorOptions) {
    super(`another writer held the lock for ${String(Math.round(waited))} ms; try again later`, options)
    this.waited = waited
  }
}

/** The disk or the database is full. Nothing was written; the store works again when there is room. */
export class StoreFullError extends MnemeError {
  readonly code = 'STORE_FULL'
  override readonly isRetryable = true
}

/** The database or the network failed. Nothing was written. `cause` is the driver's error. */
export class StoreFailedError extends MnemeError {
  readonly code = 'STORE_FAILED'
  override readonly isRetryable = true
}

/** The server cannot be reached, or accepts no writes at present. Nothing was written. */
export class StoreUnavailableError extends MnemeError {
  readonly code = 'STORE_UNAVAILABLE'
  override readonly isRetryable = true
}

/** The store did not answer within the time-out. Nothing was written. */
export class StoreTimeoutError extends MnemeError {
  readonly code = 'STORE_TIMEOUT'
  override readonly isRetryable = true
}

/**
 * The store lacks events that this program has seen: it was restored to an earlier point, or a server took over that did
 * not have every event.
 */
export class HistoryRewoundError extends MnemeError {
  readonly code = 'HISTORY_REWOUND'
}

/** A checkpoint belongs to another store. Positions of different stores cannot be compared. */
export class CheckpointFromAnotherStoreError extends MnemeError {
  readonly code = 'CHECKPOINT_FROM_ANOTHER_STORE'
  /** The identity of the store that the checkpoint belongs to. */
  readonly checkpointStore: string
  /** The identity of this store. */
  readonly store: string

  constructor(checkpointStore: string, store: string) {
    super(
      `the checkpoint belongs to store ${quote(checkpointStore)}, but this is store ${quote(store)}; use this store's own checkpoint, or begin at 'start'`,
    )
    this.checkpointStore = checkpointStore
    this.store = store
  }
}

/**
 * The read model was built by another version of the projection than the program defines. Nothing was written; the
 * message says what to do.
 */
export class ProjectionVersionError extends MnemeError {
  readonly code = 'PROJECTION_VERSION'
  readonly projection: string
  /** The version that the program defines. */
  readonly defined: number
  /** The version that built the read model. */
  readonly built: number

  constructor(
    at: { projection: string; defined: number; built: number },
    advice: string,
    kind = 'projection',
  ) {
    super(
      `${kind} ${quote(at.projection)} was built by version ${String(at.built)}, but this program defines version ` +
        `${String(at.defined)}: ${advice}`,
    )
    this.projection = at.projection
    this.defined = at.defined
    this.built = at.built
  }
}

/** A projection, a reaction or a relay is blocked by an event that it cannot handle, until it is unblocked. */
export class ProjectionBlockedError extends MnemeError {
  readonly code = 'PROJECTION_BLOCKED'
  /** Its name. */
  readonly projection: string

  constructor(projection: string, reason: string, kind = 'projection') {
    super(`${kind} ${quote(projection)} is blocked: ${reason}`)
    this.projection = projection
  }
}

/** A projection, a reaction or a relay did not reach a position within the time-out. It continues all the same. */
export class NotCaughtUpError extends MnemeError {
  readonly code = 'NOT_CAUGHT_UP'
  override readonly isRetryable = true
  readonly projection: string

  constructor(projection: string, waited: number, options?: ErrorOptions, kind = 'projection') {
    super(
      `${kind} ${quote(projection)} did not reach the position within ${String(Math.round(waited))} ms`,
      options,
    )
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
  | 'no-store'
  | 'not-a-database'
  | 'access-denied'
  | 'newer-schema'
  | 'outdated-schema'
  | 'read-only'
  | 'failed'

/** It is unknown whether an append was committed: read the stream before you decide again. */
export class OutcomeUnknownError extends MnemeError {
  readonly code = 'OUTCOME_UNKNOWN'
}

/** The store was closed. Nothing was written. */
export class StoreClosedError extends MnemeError {
  readonly code = 'STORE_CLOSED'

  constructor(message = 'the store is closed') {
    super(message)
  }
}

/** The key store, or what wraps its keys, cannot be reached or failed. Nothing was written, and nothing counts as erased. */
export class KeyStoreError extends MnemeError {
  readonly code = 'KEY_STORE_FAILED'
  override readonly isRetryable = true
}

/** The key of the subject was destroyed, so no personal data of this subject can be stored. Nothing was written. */
export class SubjectErasedError extends MnemeError {
  readonly code = 'SUBJECT_ERASED'
  /** The keyed hash of the subject. */
  readonly subject: string
  /** When its key was destroyed: ISO 8601, UTC. */
  readonly erasedAt: string

  constructor(subject: string, erasedAt: string) {
    super(
      `the subject ${subject} was erased at ${erasedAt}, so no personal data of it is stored any more; leave the data out, or ` +
        'use another id for the subject',
    )
    this.subject = subject
    this.erasedAt = erasedAt
  }
}

/** A sealed value does not open although its subject was not erased: it was changed, moved, or its key is not here. */
export class SealBrokenError extends MnemeError {
  readonly code = 'SEAL_BROKEN'
}

/** This store lacks a feature that the call needs: see `store.capabilities`. Nothing was written. */
export class UnsupportedError extends MnemeError {
  readonly code = 'UNSUPPORTED'
}

/** An argument is wrong, by a mistake in the program. A `TypeError` that names the argument and what is expected. */
export class InvalidArgumentError extends TypeError {
  readonly code = 'INVALID_ARGUMENT'
  readonly isRetryable = false
  readonly argument: string

  /** @param expected a noun, which ends the sentence `<argument> must be …`; or a message of its own. */
  constructor(argument: string, expected: string | { readonly message: string }, options?: ErrorOptions) {
    super(typeof expected === 'string' ? `${argument} must be ${expected}` : expected.message, options)
    this.name = 'InvalidArgumentError'
    this.argument = argument
  }

  static {
    Object.defineProperty(this.prototype, ERROR, { value: true })
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
  | ImportConflictError
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
  | KeyStoreError
  | SubjectErasedError
  | SealBrokenError
  | UnsupportedError
  | InvalidArgumentError

/** The codes of every error that Mneme throws. */
export type ErrorCode =
  | 'CANNOT_OPEN'
  | 'CHECKPOINT_FROM_ANOTHER_STORE'
  | 'CONFLICT'
  | 'FOLD_FAILED'
  | 'HISTORY_REWOUND'
  | 'IMPORT_CONFLICT'
  | 'INVALID_ARGUMENT'
  | 'INVALID_DATA'
  | 'KEY_REUSED'
  | 'KEY_STORE_FAILED'
  | 'LIMIT_EXCEEDED'
  | 'NOT_CAUGHT_UP'
  | 'OUTCOME_UNKNOWN'
  | 'OVERLOADED'
  | 'PROJECTION_BLOCKED'
  | 'PROJECTION_VERSION'
  | 'REJECTED'
  | 'SEAL_BROKEN'
  | 'STORE_BUSY'
  | 'STORE_CLOSED'
  | 'STORE_FAILED'
  | 'STORE_FULL'
  | 'STORE_TIMEOUT'
  | 'STORE_UNAVAILABLE'
  | 'STREAM_DELETED'
  | 'STREAM_TRUNCATED'
  | 'SUBJECT_ERASED'
  | 'UNKNOWN_EVENT'
  | 'UNSUPPORTED'

/**
 * Whether an error is one of Mneme's; if so, `switch (error.code)` narrows it. Unlike `instanceof`, it also recognises the
 * errors of another copy of the package in this process.
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
  return typeof error === 'object' && error !== null && ERROR in error
}

function describe(revision: ExpectedRevision): string {
  return typeof revision === 'number' ? `revision ${String(revision)}` : `'${revision}'`
}

/** A name in a message: escaped, and shortened if it is long. */
export function quote(name: string): string {
  const text = JSON.stringify(name)
  return text.length > 120 ? `${text.slice(0, 117)}..."` : text
}

/** Whether the store could not be reached, or not in time: what only reads continues by itself once it is reachable again. */
export function isTransient(error: unknown): error is MnemeError {
  return isMnemeError(error) && TRANSIENT_CODES.has(error.code)
}

const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  ...['STORE_UNAVAILABLE', 'STORE_TIMEOUT', 'STORE_BUSY', 'OVERLOADED'],
])

/** The error for a position at which the store has another event, or none. */
export function historyRewound(position: Position): HistoryRewoundError {
  return new HistoryRewoundError(
    `the event at position ${position} is gone: the store was restored to an earlier point, or the position belongs to ` +
      "another store; begin at 'start', and rebuild what was derived from the old history",
  )
}
