import {
  type AnyMnemeError,
  isMnemeError,
  LimitError,
  OpenError,
  StoreFailedError,
  StoreTimeoutError,
  StoreUnavailableError,
  StreamDeletedError,
  UnsupportedError,
} from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

/** The kinds of failure that need different treatment. */
export type Fault =
  /** The call did not reach a server that could carry it out: it may be sent again. */
  | { readonly kind: 'not-sent' }
  /** The server is not the leader of its cluster, and did nothing. */
  | { readonly kind: 'not-leader' }
  /** The connection was lost, or no answer came in time: the outcome of what was sent is unknown. */
  | { readonly kind: 'lost' | 'late' }
  /** Streams are not at their expected revisions; nothing was written. */
  | { readonly kind: 'violated'; readonly violations: readonly Violation[] }
  /** There is no such stream, or it was deleted in such a way that it can begin again. */
  | { readonly kind: 'no-stream' }
  /** The stream was deleted for good. */
  | { readonly kind: 'tombstoned' }
  /** More than this server takes at once. */
  | ({ readonly kind: 'too-large' } & Excess)
  /** The server made a mistake, or was asked for what is not there; whether it wrote something, it does not say. */
  | { readonly kind: 'thrown' }
  | { readonly kind: 'denied' }
  /** The server does not speak TLS, or its certificate is not to be trusted. */
  | { readonly kind: 'untrusted' }
  /** The server, or the driver, knows no such call. */
  | { readonly kind: 'unsupported' }
  /** The server refused for another reason. */
  | { readonly kind: 'refused' }

/** The state of a stream that was expected in another one. */
export interface Violation {
  readonly stream: string
  /** `'deleted'`: it can begin again. `undefined`: the server does not say. */
  readonly actual: number | 'none' | 'deleted' | 'tombstoned' | undefined
}

/** A limit of the server that was exceeded. */
interface Excess {
  readonly limit: 'eventBytes' | 'appendBytes'
  /** If the server says so. */
  readonly maximum?: number | undefined
  readonly actual?: number | undefined
}

/** A call had no answer within the deadline. */
export class LateError extends Error {}

/** Classifies an error of the driver. An unknown one counts as a lost connection. */
export function faultOf(error: unknown): Fault {
  if (error instanceof LateError) return { kind: 'late' }
  const { type, code, details, message } = fieldsOf(error)
  switch (type ?? '') {
    case 'not-leader':
      return { kind: 'not-leader' }
    case 'deadline-exceeded':
    case 'timeout':
      return { kind: 'late' }
    case 'stream-not-found':
    case 'no-stream':
      return { kind: 'no-stream' }
    case 'stream-deleted':
    case 'stream-tombstoned':
      return { kind: 'tombstoned' }
    case 'access-denied':
      return { kind: 'denied' }
    case 'unsupported':
      return { kind: 'unsupported' }
    case 'maximum-append-size-exceeded':
      return { kind: 'too-large', limit: 'appendBytes', maximum: (error as Sizes).maxAppendSize }
    case 'transaction-max-size-exceeded': {
      const { maxSize, size } = error as Sizes
      return { kind: 'too-large', limit: 'appendBytes', maximum: maxSize, actual: size }
    }
    case 'append-record-size-exceeded': {
      const { maxSize, size } = error as Sizes
      return { kind: 'too-large', limit: 'eventBytes', maximum: maxSize, actual: size }
    }
    case 'wrong-expected-version': {
      const { streamName, actualState } = error as Partial<WrongExpectedVersion>
      return { kind: 'violated', violations: [{ stream: streamName ?? '', actual: actualOf(actualState) }] }
    }
    case 'append-consistency-violation': {
      const { violations } = error as Partial<ConsistencyViolation>
      const found = (violations ?? []).map(({ streamName, actualState }) => ({
        stream: streamName,
        actual: actualOf(actualState),
      }))
      return { kind: 'violated', violations: found }
    }
    default:
  }
  const text = `${details} ${message}`
  if (/certificate|SSL routines|self[- ]signed/i.test(text)) return { kind: 'untrusted' }
  if (isNotSent(text)) return { kind: 'not-sent' }
  if (/MaximumAppendEventSizeExceeded|Maximum Append Event Size/i.test(text)) {
    return { kind: 'too-large', limit: 'eventBytes' }
  }
  switch (code) {
    case GRPC.invalidArgument:
      return { kind: 'refused' }
    case GRPC.resourceExhausted:
      return { kind: 'too-large', limit: 'appendBytes' }
    case GRPC.unknown:
      return {
        kind: /Exception was thrown by handler|Unexpected \w+Result|HTTP.*500/.test(text) ? 'thrown' : 'lost',
      }
    case GRPC.permissionDenied:
    case GRPC.unauthenticated:
      return { kind: 'denied' }
    case GRPC.unimplemented:
      return { kind: 'unsupported' }
    case GRPC.deadlineExceeded:
      return { kind: 'late' }
    case GRPC.failedPrecondition:
      return { kind: /not the leader/i.test(text) ? 'not-leader' : 'refused' }
    default:
      return { kind: 'lost' }
  }
}

/** Whether the driver says that it had no connection, or that the server is not ready: then nothing was written. */
function isNotSent(text: string): boolean {
  return (
    /^Failed to discover after|Server Is Not Ready|Server Is Busy|No leader info available/.test(text) ||
    /The server is not yet ready|The server is currently overloaded/.test(text) ||
    /No connection established|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|Name resolution failed/.test(
      text,
    )
  )
}

/**
 * A driver's error as one of Mneme's, for a call that wrote nothing.
 *
 * @param about the stream and the number of bytes of the call.
 */
export function asMnemeError(
  error: unknown,
  about: { stream?: string | undefined; bytes?: number } = {},
): AnyMnemeError {
  if (isMnemeError(error)) return error
  const cause = causeOf(error)
  const fault = faultOf(error)
  switch (fault.kind) {
    case 'not-leader':
      return new StoreUnavailableError('the server that is connected is not the leader of its cluster', {
        cause,
      })
    case 'not-sent':
      return new StoreUnavailableError('KurrentDB cannot be reached', { cause })
    case 'lost':
      return new StoreUnavailableError('the connection to KurrentDB was lost', { cause })
    case 'late':
      return new StoreTimeoutError('KurrentDB did not answer within the deadline', { cause })
    case 'denied':
      return new OpenError('access-denied', 'KurrentDB denied access', { cause })
    case 'untrusted':
      return new OpenError('failed', UNTRUSTED_SERVER, { cause })
    case 'tombstoned':
      return about.stream === undefined
        ? new StoreFailedError('a stream was deleted for good', { cause })
        : new StreamDeletedError(about.stream)
    case 'unsupported':
      return new UnsupportedError(NEEDS_SERVER_26_1, { cause })
    case 'too-large':
      return new LimitError(
        'an append to this server',
        fault.limit,
        fault.maximum ?? limits[fault.limit],
        fault.actual ?? about.bytes ?? NaN,
      )
    default:
      return new StoreFailedError('KurrentDB refused', { cause })
  }
}

/** The features that servers before 26.1 lack. */
export const NEEDS_SERVER_26_1 =
  'several streams in one append, streams that are only read, and idempotency keys need KurrentDB 26.1 or newer'

const UNTRUSTED_SERVER =
  "the server does not speak TLS, or its certificate is not trusted: tlsCAFile names its authority's certificate"

/** The kind of a driver's error as an error: its own message may quote names, and its details hold more. */
export function causeOf(error: unknown): Error {
  const { type, code } = fieldsOf(error)
  const kind =
    type ?? (code === undefined ? undefined : Object.entries(GRPC).find(([, n]) => n === code)?.[0])
  const cause = new Error(kind === undefined ? 'the call failed' : `the call failed: ${kind}`)
  cause.name = 'KurrentError'
  return Object.assign(cause, code === undefined ? {} : { code })
}

/** The state of a stream, from the server's numbers. */
function actualOf(state: unknown): Violation['actual'] {
  if (state === 'no_stream') return 'none'
  if (typeof state !== 'bigint') return undefined
  if (state >= 0n)
    return state <= MAX_REVISION ? Number(state) : state === NO_REVISION ? 'none' : 'tombstoned'
  return state === -5n ? 'deleted' : state === -6n ? 'tombstoned' : state === -1n ? 'none' : undefined
}

const MAX_REVISION = BigInt(Number.MAX_SAFE_INTEGER)
/** -1 as the protocol's unsigned number. */
const NO_REVISION = 2n ** 64n - 1n

/** Statuses of gRPC. */
const GRPC = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
}

/** The names of the errors of the driver's native part, and what its other part calls the same. */
const NATIVE: Readonly<Record<string, string>> = {
  StreamNotFoundError: 'stream-not-found',
  StreamDeletedError: 'stream-deleted',
  NotLeaderError: 'not-leader',
  AccessDeniedError: 'access-denied',
  UnavailableError: 'unavailable',
  DeadlineExceededError: 'deadline-exceeded',
}

interface Sizes {
  readonly maxAppendSize?: number
  readonly maxSize?: number
  readonly size?: number
}

interface WrongExpectedVersion {
  readonly streamName: string
  readonly actualState: unknown
}

interface ConsistencyViolation {
  readonly violations: readonly { readonly streamName: string; readonly actualState: unknown }[]
}

interface Fields {
  readonly type: string | undefined
  readonly code: number | undefined
  readonly details: string
  readonly message: string
}

function fieldsOf(error: unknown): Fields {
  if (typeof error !== 'object' || error === null) {
    return { type: undefined, code: undefined, details: '', message: '' }
  }
  const { type, name, code, details, message } = error as Readonly<Record<string, unknown>>
  return {
    type: typeof type === 'string' ? type : NATIVE[String(name)],
    code: typeof code === 'number' ? code : undefined,
    details: typeof details === 'string' ? details : '',
    message: typeof message === 'string' ? message : '',
  }
}
