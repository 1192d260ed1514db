import type { ServiceError } from '@grpc/grpc-js'
import type { ReadResp } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import { streams } from './generated.ts'

/** What came of a call: what the server answered, or its error with the trailers that it chose itself. */
export type Outcome =
  | { readonly answer: unknown }
  | { readonly code: number; readonly details: string; readonly trailers: Readonly<Record<string, string>> }

/** An event as a test compares it: without what the server alone determines, its time. */
export interface PlainEvent {
  readonly stream: string
  readonly revision: string
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: string
  readonly metadata: string
  readonly position: string
  readonly prepare: string
}

export function isPlainEvent(value: object): value is PlainEvent {
  return 'revision' in value && 'contentType' in value
}

/** A message of a read, in few words. */
export function plain(response: ReadResp): unknown {
  const cases = streams.ReadResp.ContentCase
  switch (response.getContentCase()) {
    case cases.EVENT: {
      const event = response.getEvent()!
      return {
        event: plainEvent(event.getEvent()),
        link: plainEvent(event.getLink()),
        commit: event.hasCommitPosition() ? event.getCommitPosition() : 'none',
      }
    }
    case cases.STREAM_NOT_FOUND:
      return { notFound: textOf(response.getStreamNotFound()?.getStreamIdentifier()?.getStreamName_asU8()) }
    case cases.FIRST_STREAM_POSITION:
      return { first: response.getFirstStreamPosition() }
    case cases.LAST_STREAM_POSITION:
      return { last: response.getLastStreamPosition() }
    default:
      return response.toObject()
  }
}

function plainEvent(event: ReadResp.ReadEvent.RecordedEvent | undefined): PlainEvent | undefined {
  return (
    event && {
      stream: textOf(event.getStreamIdentifier()?.getStreamName_asU8()),
      revision: event.getStreamRevision(),
      id: event.getId()!.getString(),
      type: event.getMetadataMap().get('type') ?? 'none',
      contentType: event.getMetadataMap().get('content-type') ?? 'none',
      data: textOf(event.getData_asU8()),
      metadata: textOf(event.getCustomMetadata_asU8()),
      position: event.getCommitPosition(),
      prepare: event.getPreparePosition(),
    }
  )
}

/** What every server's framework adds itself. */
const ofTransport = new Set([
  'content-type',
  'date',
  'server',
  'content-length',
  'grpc-encoding',
  'grpc-accept-encoding',
])

/** How a call failed. */
export function failure({ code, details, metadata }: ServiceError): Outcome {
  const trailers: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata.getMap())) {
    if (!ofTransport.has(key)) trailers[key] = Buffer.from(value).toString('latin1')
  }
  return { code, details, trailers }
}

function textOf(bytes: Uint8Array = new Uint8Array()): string {
  return Buffer.from(bytes).toString()
}
