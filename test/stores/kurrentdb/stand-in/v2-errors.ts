import { Metadata, status } from '@grpc/grpc-js'
import type { Message } from 'google-protobuf'

import { deletedStream } from './log.ts'
import type { Refusal } from './faults.ts'
import { any, codes, errors, protobuf, rpc, streamErrors } from './generated.ts'
import type { RpcError } from './rpc-errors.ts'
import type { Failure } from './writer.ts'

/** The numbers of v2 for a stream that is deleted: expected, and as it is. */
export const tombstoned = -6n
const softDeleted = -5n

/** A field, and what is wrong with it. */
export type FieldViolation = readonly [field: string, description: string]

interface Checked {
  readonly name: string
  readonly expected: bigint
}

export function consistencyViolation(states: readonly Checked[], failures: readonly Failure[]): RpcError {
  const details = new streamErrors.AppendConsistencyViolationErrorDetails()
  const lines = ['Append failed due to consistency violations.', '']
  for (const { streamIndex, current, isSoftDeleted } of failures) {
    const { name, expected } = states[streamIndex]!
    const actual = current === deletedStream ? tombstoned : isSoftDeleted ? softDeleted : current
    const state = new streamErrors.ConsistencyViolation.StreamStateViolation()
    state.setStream(name).setExpectedState(String(expected)).setActualState(String(actual))
    details.addViolations(
      new streamErrors.ConsistencyViolation().setCheckIndex(streamIndex).setStreamState(state),
    )
    lines.push(` - ${sentence(name, expected, actual)}`)
  }
  return streamsError(
    'FAILED_PRECONDITION',
    'APPEND_CONSISTENCY_VIOLATION',
    lines.join('\n'),
    details,
    'AppendConsistencyViolation',
  )
}

/** Of what was expected and what is, in the server's words. */
function sentence(name: string, expected: bigint, actual: bigint): string {
  const stream = `Stream '${name}'`
  const is = { [-1]: 'does not exist', [-5]: 'is deleted', [-6]: 'is tombstoned' }[Number(actual)]
  const plain = `${stream}: expected state ${String(expected)}, actual state ${String(actual)}.`
  if (expected >= 0n)
    return `${stream} ${is ?? `is at revision ${String(actual)}`}, expected revision ${String(expected)}.`
  if (actual === tombstoned && expected >= -4n) return `${stream} is tombstoned.`
  if (expected === -1n)
    return actual >= 0n ? `${stream} already exists at revision ${String(actual)}.` : plain
  if (expected === -4n) return is ? `${stream} ${is}.` : plain
  if (expected === softDeleted && actual !== softDeleted) {
    return `${stream} ${is ?? `is at revision ${String(actual)}`}, explicitly expected deleted.`
  }
  if (expected === tombstoned && is && actual !== tombstoned)
    return `${stream} ${is}, explicitly expected tombstoned.`
  return plain
}

export function recordTooLarge(stream: string, id: string, size: number, limit: number): RpcError {
  const text = `The size of record ${id} (${bytes(size)}) exceeds the maximum allowed size of ${bytes(limit)} bytes by ${bytes(size - limit)}`
  const details = new streamErrors.AppendRecordSizeExceededErrorDetails().setStream(stream).setRecordId(id)
  details.setSize(size).setMaxSize(limit)
  return streamsError(
    'INVALID_ARGUMENT',
    'APPEND_RECORD_SIZE_EXCEEDED',
    text,
    details,
    'AppendRecordSizeExceeded',
  )
}

export function transactionTooLarge(records: number, size: number, limit: number): RpcError {
  const text = `Transaction size (${bytes(size)}) exceeded the maximum allowed size of ${bytes(limit)} by ${bytes(size - limit)}, after ${records} record(s).`
  const details = new streamErrors.AppendTransactionSizeExceededErrorDetails().setSize(size).setMaxSize(limit)
  return streamsError(
    'ABORTED',
    'APPEND_TRANSACTION_SIZE_EXCEEDED',
    text,
    details,
    'AppendTransactionSizeExceeded',
  )
}

export function streamTombstoned(stream: string): RpcError {
  const text = `Stream '${stream}' has been tombstoned. It has been permanently removed from the system and cannot be restored.`
  const details = new streamErrors.StreamTombstonedErrorDetails().setStream(stream)
  return streamsError('FAILED_PRECONDITION', 'STREAM_TOMBSTONED', text, details, 'StreamTombstoned')
}

export function revisionConflict(stream: string, expected: bigint, actual: bigint): RpcError {
  const text = `Append failed due to a revision conflict on stream '${stream}'. Expected revision: ${String(expected)}. Actual revision: ${String(actual)}.`
  const details = new streamErrors.StreamRevisionConflictErrorDetails().setStream(stream)
  details.setExpectedRevision(String(expected)).setActualRevision(String(actual))
  return streamsError(
    'FAILED_PRECONDITION',
    'STREAM_REVISION_CONFLICT',
    text,
    details,
    'StreamRevisionConflict',
  )
}

export function alreadyInSession(stream: string): RpcError {
  const text = `Stream '${stream}' already has a different group of messages in this session. Appends for the same stream must currently be grouped together and not interleaved with appends for other streams.`
  const details = new streamErrors.StreamAlreadyInAppendSessionErrorDetails().setStream(stream)
  return streamsError(
    'ABORTED',
    'STREAM_ALREADY_IN_APPEND_SESSION',
    text,
    details,
    'StreamAlreadyInAppendSession',
  )
}

export function noRequests(): RpcError {
  const text = 'Append session started, but no append requests were sent before ending the session.'
  return rpcStatus('FAILED_PRECONDITION', text, ['APPEND_SESSION_NO_REQUESTS', 'streams'])
}

export function badRequest(request: string, violations: readonly FieldViolation[]): RpcError {
  const head = `The '${request}' is invalid:`
  const [first] = violations
  const text =
    violations.length === 1
      ? `${head} ${first![1]}`
      : `${head}\n${violations.map(([, description]) => ` -- ${description}\n`).join('')}`
  const details = new protobuf.BinaryWriter()
  for (const [field, description] of violations) {
    details.writeMessage(1, {}, () => {
      details.writeString(1, field)
      details.writeString(2, description)
    })
  }
  const detail = ['google.rpc.BadRequest', details.getResultBuffer()] as const
  return rpcStatus('INVALID_ARGUMENT', text, ['BAD_REQUEST', 'server'], detail)
}

export function timeout(): RpcError {
  const text =
    'Operation timed out: AppendRecords timed out while waiting for commit Please try again after 5 seconds.'
  return rpcStatus('DEADLINE_EXCEEDED', text, ['OPERATION_TIMEOUT', 'server'], retryInfo())
}

export function refused(refusal: Refusal): RpcError {
  switch (refusal.kind) {
    case 'not-ready': {
      const text = 'The server is not yet ready to handle requests. Please try again after 5 seconds.'
      return rpcStatus('UNAVAILABLE', text, ['SERVER_NOT_READY', 'server'], retryInfo())
    }
    case 'too-busy': {
      const text =
        'The server is currently overloaded and cannot handle the request. Please try again after 5 seconds.'
      return rpcStatus('UNAVAILABLE', text, ['SERVER_OVERLOADED', 'server'], retryInfo())
    }
    // The real one fails over a leader that it does not know.
    case 'no-leader':
      return rpcStatus(
        'INTERNAL',
        'An internal server error occurred. Please contact support if the problem persists.\nObject reference not set to an instance of an object.',
        ['SERVER_MALFUNCTION', 'server'],
      )
    case 'access-denied': {
      const details = new errors.AccessDeniedErrorDetails().setOperation('streams:write')
      const text = 'Access denied. Insufficient permissions to perform streams:write'
      const detail = ['kurrent.rpc.AccessDeniedErrorDetails', details.serializeBinary()] as const
      return rpcStatus('PERMISSION_DENIED', text, ['ACCESS_DENIED', 'server'], detail)
    }
    case 'not-leader': {
      const { host, port } = refusal
      const leader = new errors.NotLeaderNodeErrorDetails.NodeInfo().setHost(host).setPort(port)
      leader.setNodeId('11111111-1111-4111-8111-111111111111')
      const details = new errors.NotLeaderNodeErrorDetails().setCurrentLeader(leader)
      const text = `The server is not the leader node and cannot handle the request. Please retry your request against the leader node directly at ${host}:${port}`
      const detail = ['kurrent.rpc.NotLeaderNodeErrorDetails', details.serializeBinary()] as const
      return rpcStatus('FAILED_PRECONDITION', text, ['NOT_LEADER_NODE', 'server'], detail)
    }
  }
}

function streamsError(
  code: CodeName,
  reason: string,
  text: string,
  details: Message,
  name: string,
): RpcError {
  const type = `kurrentdb.protocol.v2.streams.errors.${name}ErrorDetails`
  return rpcStatus(code, text, [reason, 'streams'], [type, details.serializeBinary()])
}

type CodeName = keyof typeof codes.Code

type Detail = readonly [type: string, bytes: Uint8Array]

/** `google.rpc.Status` in the trailers: first what every error has, then its own details. */
function rpcStatus(
  code: CodeName,
  text: string,
  [reason, domain]: readonly [string, string],
  detail?: Detail,
): RpcError {
  const info = new protobuf.BinaryWriter()
  info.writeString(1, reason)
  info.writeString(2, domain)
  // The client's `Status` holds one detail only, and takes the last: two messages, one behind the other, hold two.
  const head = new rpc.Status().setCode(codes.Code[code]).setMessage(text)
  const parts = [head.setDetails(pack(['google.rpc.ErrorInfo', info.getResultBuffer()])).serializeBinary()]
  if (detail) parts.push(new rpc.Status().setDetails(pack(detail)).serializeBinary())
  const metadata = new Metadata()
  metadata.set('grpc-status-details-bin', Buffer.concat(parts))
  return { code: status[code], details: text, metadata }
}

function pack([type, bytes]: Detail) {
  const packed = new any.Any()
  packed.pack(bytes, type)
  return packed
}

/** After 5 s. */
function retryInfo(): Detail {
  const writer = new protobuf.BinaryWriter()
  writer.writeMessage(1, {}, () => writer.writeInt64(1, 5))
  return ['google.rpc.RetryInfo', writer.getResultBuffer()]
}

function bytes(size: number): string {
  if (size < 1024) return `${size.toFixed(3)} B`
  return size < 2 ** 20 ? `${(size / 1024).toFixed(3)} KB` : `${(size / 2 ** 20).toFixed(3)} MB`
}
