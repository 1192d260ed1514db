import { credentials, type ServiceError } from '@grpc/grpc-js'
import type { ReadResp } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'
import type { SchemaFormat } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v2/streams/streams_pb.js'

import { shared, streams, streamsService, streamsServiceV2, streamsV2 } from './generated.ts'
import { textValue } from './properties.ts'
import { failure, plain, type Outcome } from './raw-outcome.ts'

/** What a stream is expected to be, in every version of the protocol. */
export type Expectation = 'any' | 'no-stream' | 'exists' | bigint

export interface RawEvent {
  readonly id?: string
  readonly type?: string
  readonly contentType?: string
  readonly data?: string | Uint8Array
  readonly metadata?: string
}

export interface RawRecord {
  readonly stream: string
  readonly id?: string
  readonly type?: string
  readonly format?: SchemaFormat
  readonly data?: string | Uint8Array
  readonly properties?: Readonly<Record<string, string>>
}

export interface RawRead {
  readonly from?: bigint | 'start' | 'end'
  readonly isBackwards?: boolean
  readonly count?: number
  readonly resolvesLinks?: boolean
  /** Of `$all`, by the names of streams or by the types of events. */
  readonly filter?: { readonly by: 'stream' | 'type'; readonly prefixes?: string[]; readonly regex?: string }
}

/** The protocol without the client, so that a test sees what the server says. */
export class RawClient {
  readonly #v1: InstanceType<typeof streamsService.StreamsClient>
  readonly #v2: InstanceType<typeof streamsServiceV2.StreamsServiceClient>

  constructor(address: string) {
    const insecure = credentials.createInsecure()
    // A connection of its own: those of other clients may have been cut.
    const options = { 'grpc.max_receive_message_length': -1, 'grpc.use_local_subchannel_pool': 1 }
    this.#v1 = new streamsService.StreamsClient(address, insecure, options)
    this.#v2 = new streamsServiceV2.StreamsServiceClient(address, insecure, options)
  }

  append(stream: string, expected: Expectation, events: readonly RawEvent[]): Promise<Outcome> {
    return outcome((done) => {
      const call = this.#v1.append(done)
      call.on('error', () => {})
      const options = new streams.AppendReq.Options().setStreamIdentifier(identifier(stream))
      if (typeof expected === 'bigint') options.setRevision(String(expected))
      else expectState(options, expected)
      call.write(new streams.AppendReq().setOptions(options))
      for (const event of events) {
        const message = fill(new streams.AppendReq.ProposedMessage(), event)
        call.write(new streams.AppendReq().setProposedMessage(message))
      }
      call.end()
    })
  }

  /** Of one append, which a call of its own carries. */
  batchAppend(stream: string, expected: Expectation, events: readonly RawEvent[]): Promise<Outcome> {
    return new Promise((resolve) => {
      const call = this.#v1.batchAppend()
      call.on('data', (response: { toObject(): Record<string, unknown> }) => {
        const { success, error, streamIdentifier } = response.toObject()
        resolve({ answer: success ? { success, streamIdentifier } : { error, streamIdentifier } })
        call.cancel()
      })
      call.on('error', (error: ServiceError) => resolve(failure(error)))
      const options = new streams.BatchAppendReq.Options().setStreamIdentifier(identifier(stream))
      if (typeof expected === 'bigint') options.setStreamPosition(String(expected))
      else expectState(options, expected)
      const request = new streams.BatchAppendReq().setOptions(options).setIsFinal(true)
      request.setCorrelationId(new shared.UUID().setString(crypto.randomUUID()))
      for (const event of events) {
        request.addProposedMessages(fill(new streams.BatchAppendReq.ProposedMessage(), event))
      }
      call.write(request)
    })
  }

  appendRecords(
    records: readonly RawRecord[],
    checks: Readonly<Record<string, bigint>> = {},
  ): Promise<Outcome> {
    const request = new streamsV2.AppendRecordsRequest().setRecordsList(records.map(recordOf))
    for (const [stream, expected] of Object.entries(checks)) {
      const state = new streamsV2.ConsistencyCheck.StreamStateCheck()
      state.setStream(stream).setExpectedState(String(expected))
      request.addChecks(new streamsV2.ConsistencyCheck().setStreamState(state))
    }
    return outcome((done) => this.#v2.appendRecords(request, done))
  }

  appendSession(
    requests: readonly {
      readonly stream: string
      readonly expected?: bigint
      readonly records: readonly RawRecord[]
    }[],
  ): Promise<Outcome> {
    return outcome((done) => {
      const call = this.#v2.appendSession(done)
      call.on('error', () => {})
      for (const { stream, expected, records } of requests) {
        const request = new streamsV2.AppendRequest().setStream(stream).setRecordsList(records.map(recordOf))
        if (expected !== undefined) request.setExpectedRevision(String(expected))
        call.write(request)
      }
      call.end()
    })
  }

  delete(stream: string, expected: Expectation): Promise<Outcome> {
    const options = new streams.DeleteReq.Options().setStreamIdentifier(identifier(stream))
    if (typeof expected === 'bigint') options.setRevision(String(expected))
    else expectState(options, expected)
    return outcome((done) => this.#v1.delete(new streams.DeleteReq().setOptions(options), done))
  }

  tombstone(stream: string, expected: Expectation): Promise<Outcome> {
    const options = new streams.TombstoneReq.Options().setStreamIdentifier(identifier(stream))
    if (typeof expected === 'bigint') options.setRevision(String(expected))
    else expectState(options, expected)
    return outcome((done) => this.#v1.tombstone(new streams.TombstoneReq().setOptions(options), done))
  }

  setMetadata(stream: string, metadata: string, expected: Expectation = 'any'): Promise<Outcome> {
    return this.append(`$$${stream}`, expected, [{ type: '$metadata', data: metadata }])
  }

  read(stream: string, { from = 'start', ...read }: RawRead = {}): Promise<Outcome> {
    const start = new streams.ReadReq.Options.StreamOptions().setStreamIdentifier(identifier(stream))
    if (from === 'start') start.setStart(new shared.Empty())
    else if (from === 'end') start.setEnd(new shared.Empty())
    else start.setRevision(String(from))
    const control = new streams.ReadReq.Options.ControlOption().setCompatibility(1)
    return this.#read(new streams.ReadReq.Options().setStream(start).setControlOption(control), read)
  }

  readAll({ from = 'start', ...read }: RawRead = {}): Promise<Outcome> {
    const start = new streams.ReadReq.Options.AllOptions()
    if (from === 'start') start.setStart(new shared.Empty())
    else if (from === 'end') start.setEnd(new shared.Empty())
    else {
      const position = new streams.ReadReq.Options.Position()
      start.setPosition(position.setCommitPosition(String(from)).setPreparePosition(String(from)))
    }
    return this.#read(new streams.ReadReq.Options().setAll(start), read)
  }

  /** A subscription to all streams whose names match: what it tells, and where. */
  follow(from: bigint | 'start' | 'end', regex: string, window: number): RawSubscription {
    const start = new streams.ReadReq.Options.AllOptions()
    if (from === 'start') start.setStart(new shared.Empty())
    else if (from === 'end') start.setEnd(new shared.Empty())
    else {
      const position = new streams.ReadReq.Options.Position()
      start.setPosition(position.setCommitPosition(String(from)).setPreparePosition(String(from)))
    }
    const filter = new streams.ReadReq.Options.FilterOptions()
      .setStreamIdentifier(new streams.ReadReq.Options.FilterOptions.Expression().setRegex(regex))
      .setMax(window)
      .setCheckpointintervalmultiplier(1)
    const options = new streams.ReadReq.Options()
      .setAll(start)
      .setFilter(filter)
      .setSubscription(new streams.ReadReq.Options.SubscriptionOptions())
      .setUuidOption(new streams.ReadReq.Options.UUIDOption().setString(new shared.Empty()))
    const told: RawTold[] = []
    const call = this.#v1.read(new streams.ReadReq().setOptions(options))
    call.on('data', (response: ReadResp) => {
      const [kind, position] = response.hasEvent()
        ? ['event', response.getEvent()!.getEvent()!.getCommitPosition()]
        : response.hasCheckpoint()
          ? ['checkpoint', response.getCheckpoint()!.getCommitPosition()]
          : response.hasCaughtUp()
            ? ['caught-up', response.getCaughtUp()!.getPosition()?.getCommitPosition()]
            : ['confirmed', undefined]
      told.push({ kind, position: position === undefined ? undefined : BigInt(position) })
    })
    call.on('error', () => {})
    return { told, close: () => call.cancel() }
  }

  close(): void {
    this.#v1.close()
    this.#v2.close()
  }

  #read(
    options: InstanceType<typeof streams.ReadReq.Options>,
    { isBackwards = false, count = 1000, resolvesLinks = false, filter }: RawRead,
  ): Promise<Outcome> {
    if (isBackwards) options.setReadDirection(streams.ReadReq.Options.ReadDirection.BACKWARDS)
    options.setCount(String(count)).setResolveLinks(resolvesLinks)
    options.setUuidOption(new streams.ReadReq.Options.UUIDOption().setString(new shared.Empty()))
    if (filter) {
      const expression = new streams.ReadReq.Options.FilterOptions.Expression().setRegex(filter.regex ?? '')
      expression.setPrefixList(filter.prefixes ?? [])
      const window = new streams.ReadReq.Options.FilterOptions().setCount(new shared.Empty())
      if (filter.by === 'stream') window.setStreamIdentifier(expression)
      else window.setEventType(expression)
      options.setFilter(window.setCheckpointintervalmultiplier(1))
    } else options.setNoFilter(new shared.Empty())
    return new Promise((resolve) => {
      const answers: unknown[] = []
      const call = this.#v1.read(new streams.ReadReq().setOptions(options))
      call.on('data', (response: ReadResp) => answers.push(plain(response)))
      call.on('end', () => resolve({ answer: answers }))
      call.on('error', (error: ServiceError) => resolve(failure(error)))
    })
  }
}

/** What a subscription told. */
interface RawTold {
  readonly kind: string
  readonly position: bigint | undefined
}

interface RawSubscription {
  readonly told: readonly RawTold[]
  close(): void
}

interface Expecting {
  setAny(value: InstanceType<typeof shared.Empty>): unknown
  setNoStream(value: InstanceType<typeof shared.Empty>): unknown
  setStreamExists(value: InstanceType<typeof shared.Empty>): unknown
}

function expectState(options: Expecting, expected: Exclude<Expectation, bigint>): void {
  if (expected === 'any') options.setAny(new shared.Empty())
  else if (expected === 'exists') options.setStreamExists(new shared.Empty())
  else options.setNoStream(new shared.Empty())
}

interface Proposed {
  setId(id: InstanceType<typeof shared.UUID>): unknown
  setData(data: Uint8Array): unknown
  setCustomMetadata(metadata: Uint8Array): unknown
  getMetadataMap(): { set(key: string, value: string): unknown }
}

function fill<Message extends Proposed>(message: Message, event: RawEvent): Message {
  const {
    id = crypto.randomUUID(),
    type = 'T',
    contentType = 'application/json',
    data = '{}',
    metadata,
  } = event
  message.setId(new shared.UUID().setString(id))
  message.getMetadataMap().set('type', type)
  message.getMetadataMap().set('content-type', contentType)
  message.setData(Buffer.from(data))
  if (metadata !== undefined) message.setCustomMetadata(Buffer.from(metadata))
  return message
}

function recordOf({
  stream,
  id = crypto.randomUUID(),
  type = 'T',
  format = streamsV2.SchemaFormat.SCHEMA_FORMAT_JSON,
  data = '{}',
  properties = {},
}: RawRecord) {
  const schema = new streamsV2.SchemaInfo().setFormat(format).setName(type)
  const record = new streamsV2.AppendRecord().setStream(stream).setRecordId(id).setSchema(schema)
  for (const [key, value] of Object.entries(properties)) record.getPropertiesMap().set(key, textValue(value))
  return record.setData(Buffer.from(data))
}

function identifier(stream: string) {
  return new shared.StreamIdentifier().setStreamName(Buffer.from(stream))
}

type Done = (error: ServiceError | null, response?: { toObject(): unknown }) => void

function outcome(call: (done: Done) => unknown): Promise<Outcome> {
  return new Promise((resolve) => {
    call((error, response) => resolve(error ? failure(error) : { answer: response!.toObject() }))
  })
}
