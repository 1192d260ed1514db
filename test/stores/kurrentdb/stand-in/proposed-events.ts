import type {
  AppendReq,
  BatchAppendReq,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'
import type { StreamIdentifier } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js'

import { expected } from './consistency.ts'
import { emptyId, idOf } from './event-id.ts'
import { appendSize, limits } from './record-size.ts'
import { exception, invalidArgument, outOfRange, propertyMissing } from './rpc-errors.ts'
import type { ProposedEvent } from './writer.ts'

/** How large an append may be; a server can be configured to take less. */
export interface Limits {
  readonly maxEventSize: number
  readonly maxAppendSize: number
}

/** One event is larger than the server takes. */
export class EventTooLargeError extends Error {
  readonly id: string
  readonly size: number
  readonly limit: number

  constructor(id: string, size: number, limit: number) {
    super(`Event with Id: ${id}, Size: ${size}, exceeded Max Append Event Size of ${limit}`)
    this.id = id
    this.size = size
    this.limit = limit
  }
}

/** An event of v1, with the size that the limits count. Throws what the server answers where it is none. */
export function proposedEvent(
  message: AppendReq.ProposedMessage | BatchAppendReq.ProposedMessage,
  { maxEventSize }: Limits,
): { readonly event: ProposedEvent; readonly size: number } {
  const headers = message.getMetadataMap()
  const type = headers.get('type')
  const contentType = headers.get('content-type')
  if (type === undefined) throw propertyMissing('type')
  if (contentType === undefined) throw propertyMissing('content-type')
  const data = message.getData_asU8()
  const metadata = message.getCustomMetadata_asU8()
  const size = appendSize({ type, data, metadata })
  const id = idOf(message.getId())
  if (size > maxEventSize) throw new EventTooLargeError(id ?? '', size, maxEventSize)
  if (id === undefined) throw exception('Unrecognized Guid format.')
  if (id === emptyId) throw exception("Empty eventId provided. (Parameter 'eventId')")
  if (type === '') throw exception("Empty eventType provided. (Parameter 'eventType')")
  if (size > limits.record) throw exception("Record is too big. (Parameter 'data')")
  const isJson = contentType === 'application/json'
  return { event: { streamIndex: 0, id, type, isJson, data, metadata }, size }
}

export function nameOf(identifier: StreamIdentifier | undefined): string {
  return Buffer.from(identifier?.getStreamName_asU8() ?? []).toString()
}

/** Not every name can be appended to. */
export function assertStream(name: string): void {
  if (name === '' || name === '$$') throw exception(`Invalid stream ID: ${name} (Parameter 'eventStreamIds')`)
}

/** What the requests of v1 expect of a stream. */
export interface Expecting {
  hasAny(): boolean
  hasNoStream(): boolean
  hasStreamExists(): boolean
}

/** `revision`: where it is none of the others; a revision beyond the largest is a mistake. */
export function expectationOf(options: Expecting, revision: string | undefined): bigint {
  if (options.hasAny()) return expected.any
  if (options.hasNoStream()) return expected.noStream
  if (options.hasStreamExists()) return expected.exists
  if (revision === undefined) throw invalidArgument()
  const value = BigInt(revision)
  if (value === 2n ** 64n - 1n) return expected.noStream
  if (value >= 2n ** 63n) throw outOfRange()
  return value
}
