import { status, type ServerWritableStream } from '@grpc/grpc-js'
import type {
  ReadReq,
  ReadResp,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import { structuredId } from './event-id.ts'
import { filterOf, unfiltered } from './filters.ts'
import { shared, streams } from './generated.ts'
import type { EventRecord, Log } from './log.ts'
import type { Node } from './node.ts'
import { metadataShown } from './properties.ts'
import { nameOf } from './proposed-events.ts'
import { positionProblem, readAll, readStream, resolve, type Direction } from './reading.ts'
import { asRpcError, exception, outOfRange, refused, rpcError, streamDeleted } from './rpc-errors.ts'
import { follow, told } from './subscribing.ts'

type Call = ServerWritableStream<ReadReq, ReadResp>

const uint64 = 2n ** 64n - 1n

/** Read: of a stream or of all; or a subscription to all, which does not end. */
export function read(node: Node) {
  return (call: Call): void => {
    node.faults.openReads++
    void give(node, call)
      .catch((error: unknown) => call.emit('error', asRpcError(error)))
      .finally(() => node.faults.openReads--)
  }
}

async function give(node: Node, call: Call): Promise<void> {
  const handled = await node.faults.read()
  if (handled.kind === 'refused') throw refused(handled.refusal)
  if (handled.kind !== 'done') return
  const { after, end } = handled.result
  // The real one looks for no events, finds none, and looks again.
  const options = call.request.getOptions()
  if (options?.hasAll() && !options.hasSubscription() && options.getCount() === '0') return
  if (after === 0) return end()
  const cancelling = new AbortController()
  const cancel = () => cancelling.abort()
  call.on('cancelled', cancel)
  if (call.cancelled) cancel()
  let given = 0
  for await (const response of responsesTo(node.log, call.request, cancelling.signal)) {
    if (call.cancelled) return
    if (!call.write(response)) await drained(call, cancelling.signal)
    if (response.hasEvent() && ++given >= after) {
      // What was written leaves before the connection breaks.
      await new Promise((done) => setImmediate(done))
      return end()
    }
  }
  call.end()
}

/** Waits until there is room for more; a client that takes nothing holds up its own call only. */
function drained(call: Call, cancelled: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done)
      cancelled.removeEventListener('abort', done)
      resolve()
    }
    call.on('drain', done)
    cancelled.addEventListener('abort', done)
    if (cancelled.aborted) done()
  })
}

function responsesTo(
  log: Log,
  request: ReadReq,
  cancelled: AbortSignal,
): Iterable<ReadResp> | AsyncIterable<ReadResp> {
  const options = request.getOptions()
  if (!options?.hasUuidOption())
    throw rpcError(status.INVALID_ARGUMENT, "'uuidOption' is a required argument")
  if (options.hasSubscription()) {
    if (options.hasAll()) return subscriptionResponses(log, options, cancelled)
    throw rpcError(status.UNIMPLEMENTED, 'the stand-in has no subscriptions to single streams')
  }
  return options.hasAll() ? allResponses(log, options) : streamResponses(log, options)
}

async function* subscriptionResponses(
  log: Log,
  options: ReadReq.Options,
  cancelled: AbortSignal,
): AsyncGenerator<ReadResp, undefined> {
  const from = options.getAll()!
  const filter = options.getFilter()
  if (filter?.getCheckpointintervalmultiplier() === 0) {
    throw exception("checkpointIntervalMultiplier ('0') must be a non-zero value.")
  }
  const start = from.hasStart() ? -1n : from.hasEnd() ? log.end : positionOf(log, from)
  for await (const followed of follow(log, filter, start, cancelled)) {
    yield followed.kind === 'event' ? eventResponse(log, followed.event, options) : told(followed)
  }
  return undefined
}

function* streamResponses(log: Log, options: ReadReq.Options): Generator<ReadResp> {
  const from = options.getStream()!
  const stream = nameOf(from.getStreamIdentifier())
  const direction = directionOf(options)
  const revision = from.hasEnd() ? -1n : from.hasStart() ? 0n : signed(from.getRevision())
  if (stream === '') throw exception("Value cannot be null. (Parameter 'streamName')")
  if (direction === 'forwards' && revision < 0n)
    throw failed('Stream', "fromEventNumber should be non negative. (Parameter 'fromEventNumber')")
  const found = readStream(log, { stream, direction, from: revision, count: countOf(options, 'Stream') })
  if (found === 'tombstoned') throw streamDeleted(stream)
  if (found === 'not-found') {
    const identifier = new shared.StreamIdentifier().setStreamName(Buffer.from(stream))
    const notFound = new streams.ReadResp.StreamNotFound().setStreamIdentifier(identifier)
    yield new streams.ReadResp().setStreamNotFound(notFound)
    return
  }
  const isAskedForPositions = (options.getControlOption()?.getCompatibility() ?? 0) >= 1
  for (const item of found) {
    if (item.kind === 'event') yield eventResponse(log, item.event, options)
    else if (!isAskedForPositions) continue
    else if (item.kind === 'first') yield new streams.ReadResp().setFirstStreamPosition(String(item.revision))
    else yield new streams.ReadResp().setLastStreamPosition(String(item.revision))
  }
}

function* allResponses(log: Log, options: ReadReq.Options): Generator<ReadResp> {
  const direction = directionOf(options)
  const filter = options.getFilter()
  const from = positionOf(log, options.getAll()!)
  const count = countOf(options, 'All')
  const problem = positionProblem(log, direction, from)
  if (problem !== undefined) throw failed('All', problem, filter !== undefined)
  const events = readAll(log, { direction, from, count, filter: filter ? filterOf(filter) : unfiltered })
  for (const event of events) yield eventResponse(log, event, options)
}

function positionOf(log: Log, from: ReadReq.Options.AllOptions): bigint {
  if (from.hasStart()) return 0n
  const position = from.getPosition()
  if (!position) return log.end
  const [commit, prepare] = [BigInt(position.getCommitPosition()), BigInt(position.getPreparePosition())]
  if (commit < prepare || (commit >= 2n ** 63n && commit !== uint64)) throw outOfRange()
  return commit === uint64 ? log.end : commit
}

function directionOf(options: ReadReq.Options): Direction {
  return options.getReadDirection() === streams.ReadReq.Options.ReadDirection.FORWARDS
    ? 'forwards'
    : 'backwards'
}

function countOf(options: ReadReq.Options, what: 'Stream' | 'All'): bigint {
  const count = BigInt(options.getCount())
  if (count === 0n && what === 'Stream')
    throw failed('Stream', "maxCount should be positive. (Parameter 'maxCount')")
  return count
}

function signed(revision: string): bigint {
  const value = BigInt(revision)
  if (value === uint64) return -1n
  if (value >= 2n ** 63n) throw outOfRange()
  return value
}

function failed(what: 'Stream' | 'All', reason: string, isFiltered = false) {
  const result = isFiltered ? 'FilteredReadAllResult' : `Read${what}Result`
  const text = what === 'Stream' ? `Error >> ${reason}` : reason
  return rpcError(status.UNKNOWN, `Unexpected ${result}: ${text}`)
}

/** Answers with an event as most readers ask for it, with their bytes: each is encoded once, however often it is read. */
const plainResponses = new WeakMap<EventRecord, ReadResp>()

function eventResponse(log: Log, record: EventRecord, options: ReadReq.Options): ReadResp {
  const isPlain = !options.getResolveLinks() && options.getUuidOption()?.hasString() === true
  if (!isPlain) return encodeEvent(log, record, options)
  let response = plainResponses.get(record)
  if (!response) {
    response = encodeEvent(log, record, options)
    const bytes = response.serializeBinary()
    response.serializeBinary = () => bytes
    plainResponses.set(record, response)
  }
  return response
}

function encodeEvent(log: Log, record: EventRecord, options: ReadReq.Options): ReadResp {
  const { event, link } = options.getResolveLinks()
    ? resolve(log, record)
    : { event: record, link: undefined }
  const response = new streams.ReadResp.ReadEvent().setCommitPosition(String(record.position))
  if (event) response.setEvent(recorded(event, options))
  if (link) response.setLink(recorded(link, options))
  return new streams.ReadResp().setEvent(response)
}

function recorded(record: EventRecord, options: ReadReq.Options): ReadResp.ReadEvent.RecordedEvent {
  const id = new shared.UUID()
  if (options.getUuidOption()?.hasString()) id.setString(record.id)
  else id.setStructured(structuredId(new shared.UUID.Structured(), record.id))
  const event = new streams.ReadResp.ReadEvent.RecordedEvent()
    .setId(id)
    .setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(record.stream)))
    .setStreamRevision(String(record.revision))
    .setCommitPosition(String(record.position))
    .setPreparePosition(String(record.position))
    .setData(record.data)
    .setCustomMetadata(metadataShown(record))
  event
    .getMetadataMap()
    .set('type', record.type)
    .set('created', String(record.created))
    .set('content-type', record.isJson ? 'application/json' : 'application/octet-stream')
  return event
}
