import { isMnemeError } from '../base/errors.ts'
import { currentTime } from '../base/clock.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Failure } from './builds.ts'

/** What is kept of an error, in words: beside the event, where it was on one. */
export function failureOf(error: unknown, attempts: number, event?: StoredEvent): Failure {
  const { name, message, code } = (error ?? {}) as Partial<Error> & { readonly code?: unknown }
  return {
    name: typeof name === 'string' ? name : typeof error,
    message: (typeof message === 'string' ? message : textOf(error)).slice(0, LONGEST),
    code: typeof code === 'string' ? code : undefined,
    attempts,
    time: currentTime(),
    event: event && {
      position: event.position,
      id: event.id,
      type: event.type,
      stream: event.stream,
      revision: event.revision,
    },
  }
}

/** What was thrown and is no error: anything at all. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return 'something that has no text'
  }
}

/** Whether it is for the store's or the target's sake that nothing goes on: it is tried again without an end. */
export function isOfDatabase(error: unknown): boolean {
  return (
    isMnemeError(error) &&
    (error.isRetryable || error.code === 'OUTCOME_UNKNOWN' || error.code === 'CANNOT_OPEN')
  )
}

/** Whether the checkpoint is none in the store's history: a person is to decide. */
export function isOfHistory(error: unknown): boolean {
  return (
    isMnemeError(error) &&
    (error.code === 'HISTORY_REWOUND' || error.code === 'CHECKPOINT_FROM_ANOTHER_STORE')
  )
}

/** UTF-16 units of a message. */
const LONGEST = 2_000
