import { causesOf } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { currentTime } from '../base/clock.ts'
import { isMnemeError } from '../base/errors.ts'
import type { FailedEvent, FailedPage, Failure, FailureCause } from './builds.ts'

/** What is stored of an error, and of the event that it was thrown on. */
export function failureOf(error: unknown, attempts: number, event?: StoredEvent): Failure {
  const [, ...causes] = causesOf(error)
  const failure: Failure = {
    ...described(error),
    causes: causes.length > 0 ? causes.map(described) : undefined,
    attempts,
    time: currentTime(),
    event: event && failedEvent(event),
  }
  // Not enumerable, so that it is not stored with the rest.
  return Object.defineProperty(failure, 'error', { value: error })
}

/** The same, of an error that one of these events has caused. */
export function failureOfPage(error: unknown, events: readonly StoredEvent[]): Failure {
  const page: FailedPage = {
    first: failedEvent(events[0]!),
    last: failedEvent(events.at(-1)!),
    events: events.length,
  }
  return Object.assign(failureOf(error, 1), { page })
}

function failedEvent({ position, id, type, stream, revision }: StoredEvent): FailedEvent {
  return { position, id, type, stream, revision }
}

function described(error: unknown): FailureCause {
  const [name, message, code, stack] = ['name', 'message', 'code', 'stack'].map((key) => readOf(error, key))
  return {
    name: typeof name === 'string' ? name : typeof error,
    message: (typeof message === 'string' ? message : textOf(error)).slice(0, MAX_MESSAGE_LENGTH),
    code: typeof code === 'string' ? code : undefined,
    stack: typeof stack === 'string' ? stack.slice(0, MAX_STACK_LENGTH) : undefined,
  }
}

/** A property of what was thrown; `undefined` if reading it throws. */
function readOf(thrown: unknown, key: string): unknown {
  try {
    return (thrown as Record<string, unknown> | null | undefined)?.[key]
  } catch {
    return undefined
  }
}

/** The text of a thrown value that is not an error. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return 'a value that cannot be converted to text'
  }
}

/** Whether the store or the target failed rather than a handler: this is retried without an end. */
export function isOfDatabase(error: unknown): boolean {
  return (
    isMnemeError(error) &&
    (error.isRetryable || error.code === 'OUTCOME_UNKNOWN' || error.code === 'CANNOT_OPEN')
  )
}

/** Whether the checkpoint is not part of the store's history: a person has to decide. */
export function isOfHistory(error: unknown): boolean {
  return isMnemeError(error) && isHistoryCode(error.code)
}

/** The same of the code of a stored failure. */
export function isHistoryCode(code: string | undefined): boolean {
  return code === 'HISTORY_REWOUND' || code === 'CHECKPOINT_FROM_ANOTHER_STORE'
}

/** In UTF-16 units. */
const MAX_MESSAGE_LENGTH = 2_000
const MAX_STACK_LENGTH = 4_000
