import type { AnyMnemeError, DataIssue, ErrorCode } from '../index.ts'
import { isMnemeError } from '../index.ts'
import { HttpError, type Problem, type ProblemMembers } from './http-error.ts'

/** The circumstances in which an error is answered. */
export interface ProblemOptions {
  /** Before the kinds of problems: `type` is then this URI and the reason or code, like `https://shop.example/problems/not-open`. */
  readonly typeBase?: string | undefined
  /** Seconds in `Retry-After`. */
  readonly retryAfter: number
  /** Whether the request has an idempotency key, so that it may be sent again after an unknown outcome. */
  readonly isKeyed?: boolean | undefined
}

/** The answer to an error, before it is a `Response`. */
export interface ProblemAnswer {
  readonly problem: Problem
  readonly headers: Readonly<Record<string, string>>
}

/** The status and the problem document of an error. An error that is not Mneme's, nor an `HttpError`, says nothing but 500. */
export function problemOf(error: unknown, options: ProblemOptions): ProblemAnswer {
  if (error instanceof HttpError) {
    return answerOf(error.status, error.problem, error.headers, options)
  }
  if (!isMnemeError(error)) return answerOf(500, {}, {}, options)
  const answer = (ANSWERS[error.code] as (error: AnyMnemeError, isKeyed: boolean) => Answer)(
    error,
    options.isKeyed ?? false,
  )
  const { status, isRetryable = error.isRetryable, ...problem } = answer
  const headers: Record<string, string> = {}
  if (isRetryable && status === 503) headers['Retry-After'] = String(options.retryAfter)
  return answerOf(status, { code: error.code, ...problem }, headers, options)
}

interface Answer {
  readonly status: number
  /** Whether the request may be sent again. Default: the error's. */
  readonly isRetryable?: boolean
  readonly detail?: string
  readonly reason?: string
  readonly rejection?: object
  readonly issues?: readonly DataIssue[]
}

/** How each of Mneme's errors is answered. A 500 says nothing of the inside of the service. */
const ANSWERS: {
  readonly [C in ErrorCode]: (error: Extract<AnyMnemeError, { code: C }>, isKeyed: boolean) => Answer
} = {
  REJECTED: ({ rejection }) => rejected(422, rejection),
  INVALID_DATA: ({ subject, issues }) => {
    if (subject === 'metadata') return { status: 500 }
    return { status: 400, detail: 'the data was refused; see issues', issues }
  },
  KEY_REUSED: () => ({
    status: 422,
    detail:
      'the Idempotency-Key was used before with another request; use a key of its own for each operation',
  }),
  LIMIT_EXCEEDED: ({ limit, maximum }) => {
    const isName = limit === 'keyBytes' || limit === 'streamNameBytes'
    return { status: isName ? 400 : 413, detail: `the limit of ${String(maximum)} (${limit}) is exceeded` }
  },
  // Without an expectation of the caller, the retries were used up.
  CONFLICT: ({ isPrecondition }) =>
    isPrecondition ? { status: 412, detail: 'read the resource again, then decide again' } : tryAgain(),
  OVERLOADED: tryAgain,
  STORE_BUSY: tryAgain,
  STORE_FULL: tryAgain,
  STORE_FAILED: tryAgain,
  STORE_UNAVAILABLE: tryAgain,
  STORE_TIMEOUT: tryAgain,
  KEY_STORE_FAILED: tryAgain,
  NOT_CAUGHT_UP: () => ({ status: 503, detail: 'the read model is behind; send the request again' }),
  // Another process of the service answers.
  STORE_CLOSED: () => ({ status: 503, isRetryable: true, detail: 'the service is ending; send it again' }),
  OUTCOME_UNKNOWN: (_error, isKeyed) => {
    if (isKeyed) {
      const detail = 'whether it was done is unknown; send it again with the same Idempotency-Key'
      return { status: 503, isRetryable: true, detail }
    }
    return { status: 500, detail: 'whether it was done is unknown; look before you send it again' }
  },
  STREAM_DELETED: gone,
  STREAM_TRUNCATED: gone,
  SUBJECT_ERASED: () => ({ status: 410, detail: 'the personal data was erased' }),
  CANNOT_OPEN: internal,
  CHECKPOINT_FROM_ANOTHER_STORE: internal,
  FOLD_FAILED: internal,
  HISTORY_REWOUND: internal,
  IMPORT_CONFLICT: internal,
  INVALID_ARGUMENT: internal,
  PROJECTION_BLOCKED: internal,
  PROJECTION_VERSION: internal,
  SEAL_BROKEN: internal,
  UNKNOWN_EVENT: internal,
  UNSUPPORTED: internal,
}

const BUSY = 'nothing was written; send the request again'

function tryAgain(): Answer {
  return { status: 503, detail: BUSY }
}

function gone(): Answer {
  return { status: 410, detail: 'its history was removed' }
}

function internal(): Answer {
  return { status: 500 }
}

/** The answer to a rejection. */
export function rejected(status: number, rejection: { readonly reason: string }): Answer {
  const { reason } = rejection
  return { status, detail: `the command was rejected: ${reason}`, reason, rejection }
}

/** Completes a problem document. */
export function answerOf(
  status: number,
  given: ProblemMembers,
  headers: Readonly<Record<string, string>>,
  { typeBase }: ProblemOptions,
): ProblemAnswer {
  const { title = TITLES[status] ?? 'Error', type, ...members } = given
  const kind = given.reason ?? given.code?.toLowerCase().replaceAll('_', '-')
  const named =
    typeBase === undefined || kind === undefined ? 'about:blank' : `${typeBase}${encodeURIComponent(kind)}`
  const problem = { type: type ?? named, title, status, ...members }
  // An extension may bear the name.
  return { problem: { ...problem, status }, headers }
}

/** The problem as a response. */
export function problemResponse({ problem, headers }: ProblemAnswer): Response {
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', ...headers },
  })
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  423: 'Locked',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  499: 'Client Closed Request',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}
