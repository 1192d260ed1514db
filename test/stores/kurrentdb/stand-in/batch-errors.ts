import type { Message } from 'google-protobuf'
import type { Status } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js'

import { expected } from './consistency.ts'
import type { Refusal } from './faults.ts'
import { any, codes, empty, protobuf, rpc, shared } from './generated.ts'
import type { EventTooLargeError } from './proposed-events.ts'
import type { Failure } from './writer.ts'

/** What BatchAppend answers where it did not append: a `google.rpc.Status`, with one detail. */
export type BatchError = Status

export const timeout = () => error('DEADLINE_EXCEEDED', 'Timeout', new shared.Timeout())

export function streamDeleted(stream: string): BatchError {
  const identifier = new shared.StreamIdentifier().setStreamName(Buffer.from(stream))
  return error('NOT_FOUND', 'StreamDeleted', new shared.StreamDeleted().setStreamIdentifier(identifier))
}

export function wrongExpectedVersion({ expected: asked, current }: Failure): BatchError {
  const conflict = new shared.WrongExpectedVersion()
  if (asked === expected.any) conflict.setExpectedAny(new empty.Empty())
  else if (asked === expected.exists) conflict.setExpectedStreamExists(new empty.Empty())
  else if (asked === expected.noStream) conflict.setExpectedNoStream(new empty.Empty())
  else conflict.setExpectedStreamPosition(String(asked))
  if (current < 0n) conflict.setCurrentNoStream(new empty.Empty())
  else conflict.setCurrentStreamRevision(String(current))
  return error('ALREADY_EXISTS', 'WrongExpectedVersion', conflict)
}

export function appendTooLarge(limit: number): BatchError {
  return error(
    'INVALID_ARGUMENT',
    'MaximumAppendSizeExceeded',
    new shared.MaximumAppendSizeExceeded().setMaxappendsize(limit),
  )
}

/** Of a type that the client does not have. */
export function eventTooLarge({ id, size, limit }: EventTooLargeError): BatchError {
  const writer = new protobuf.BinaryWriter()
  writer.writeString(1, id)
  writer.writeUint32(2, size)
  writer.writeUint32(3, limit)
  return status(
    'INVALID_ARGUMENT',
    'MaximumAppendEventSizeExceeded',
    'event_store.client.MaximumAppendEventSizeExceeded',
    writer.getResultBuffer(),
  )
}

export function badRequest(reason: string): BatchError {
  return error('INVALID_ARGUMENT', 'BadRequest', new shared.BadRequest().setMessage(reason))
}

/** `undefined`: the whole call ends with it. */
export function refused({ kind }: Refusal): BatchError | undefined {
  switch (kind) {
    case 'not-leader':
      return undefined
    case 'access-denied':
      return error('PERMISSION_DENIED', 'AccessDenied', new shared.AccessDenied())
    case 'not-ready':
      return notHandled('Server Is Not Ready')
    case 'too-busy':
      return notHandled('Server Is Busy')
    case 'no-leader':
      return notHandled('No leader info available in response')
  }
}

/** The real one gives no code. */
function notHandled(reason: string): BatchError {
  return status('OK', reason, 'google.protobuf.Empty', new Uint8Array())
}

function error(code: keyof typeof codes.Code, name: string, detail: Message): BatchError {
  return status(code, name, `event_store.client.${name}`, detail.serializeBinary())
}

function status(
  code: keyof typeof codes.Code,
  message: string,
  type: string,
  detail: Uint8Array,
): BatchError {
  const packed = new any.Any()
  packed.pack(detail, type)
  return new rpc.Status().setCode(codes.Code[code]).setMessage(message).setDetails(packed)
}
