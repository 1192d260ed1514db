import { Metadata, status, type StatusObject } from '@grpc/grpc-js'

import type { Refusal } from './faults.ts'
import type { EventTooLargeError } from './proposed-events.ts'

/** How a call ends otherwise than well; thrown by handlers. */
export interface RpcError extends Partial<StatusObject> {
  /** What the server's log says, and BatchAppend. */
  readonly reason?: string
}

/** What the framework makes of an exception that the server did not expect. */
export function exception(reason: string): RpcError {
  return { ...rpcError(status.UNKNOWN, 'Exception was thrown by handler.'), reason }
}

/** What a handler threw. */
export function asRpcError(error: unknown): RpcError {
  if (!(error instanceof Error)) return error as RpcError
  return rpcError(status.UNKNOWN, `the stand-in failed: ${error.stack ?? error.message}`)
}

export function rpcError(
  code: status,
  details: string,
  trailers: Readonly<Record<string, string>> = {},
): RpcError {
  // A header takes only ASCII: with the name of any other stream in it, the real one fails, and so does the client.
  if (!Object.values(trailers).every((value) => /^[ -~]*$/.test(value))) {
    return rpcError(status.UNKNOWN, 'Received HTTP status code 500')
  }
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value)
  return { code, details, metadata }
}

export const outOfRange = () =>
  exception("Specified argument was out of the range of valid values. (Parameter 'value')")

export const invalidArgument = () => rpcError(status.INVALID_ARGUMENT, "'None' is not a valid expectation")

const accessDenied = () => rpcError(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' })

export const timedOut = () => rpcError(status.ABORTED, 'Operation timed out: Commit phase timeout.')

export const tooLargeMessage = () =>
  rpcError(status.RESOURCE_EXHAUSTED, 'Received message exceeds the maximum configured message size.')

export function streamDeleted(stream: string): RpcError {
  return rpcError(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, {
    exception: 'stream-deleted',
    'stream-name': stream,
  })
}

export function wrongExpectedVersion(stream: string, expected: bigint, actual: bigint): RpcError {
  const reason = `Stream: ${stream}, Expected version: ${String(expected)}, Actual version: ${String(actual)}`
  return rpcError(status.FAILED_PRECONDITION, `Delete failed due to WrongExpectedVersion. ${reason}`, {
    exception: 'wrong-expected-version',
    'stream-name': stream,
    'expected-version': String(expected),
    'actual-version': String(actual),
  })
}

export function eventTooLarge({ id, size, limit }: EventTooLargeError): RpcError {
  const message = `Event with Id: ${id}, Size: ${size}, exceeds Maximum Append Event Size of ${limit}.`
  return rpcError(status.INVALID_ARGUMENT, message, {
    exception: 'maximum-append-event-size-exceeded',
    'maximum-append-event-size': String(limit),
    'event-id': id,
    'proposed-append-event-size': String(size),
  })
}

export function appendTooLarge(limit: number): RpcError {
  return rpcError(status.INVALID_ARGUMENT, `Maximum Append Size of ${limit} Exceeded.`, {
    exception: 'maximum-append-size-exceeded',
    'maximum-append-size': String(limit),
  })
}

export function propertyMissing(name: string): RpcError {
  return rpcError(status.INVALID_ARGUMENT, `Required Metadata Property '${name}' is missing`, {
    exception: 'missing-required-metadata-property',
    'required-metadata-properties': 'type,content-type',
  })
}

export function refused(refusal: Refusal): RpcError {
  switch (refusal.kind) {
    case 'not-ready':
      return rpcError(status.UNAVAILABLE, 'Server Is Not Ready')
    case 'too-busy':
      return rpcError(status.UNAVAILABLE, 'Server Is Too Busy')
    case 'no-leader':
      return rpcError(status.UNKNOWN, 'No leader info available in response')
    case 'access-denied':
      return accessDenied()
    case 'not-leader':
      return rpcError(status.NOT_FOUND, 'Leader info available', {
        exception: 'not-leader',
        'leader-endpoint-host': refusal.host,
        'leader-endpoint-port': String(refusal.port),
      })
  }
}
