import type {
  KurrentClient,
  KurrentRecorded,
  LogPosition,
  ReadAllOptions,
  ReadStreamOptions,
} from './driver.ts'

/** Reads a few events, in one go, unless it is given up. */
export interface QuickRead {
  stream(
    client: KurrentClient,
    stream: string,
    options: ReadStreamOptions,
    signal: AbortSignal,
  ): Promise<KurrentRecorded[]>
  all(client: KurrentClient, options: ReadAllOptions, signal: AbortSignal): Promise<KurrentRecorded[]>
}

/**
 * Reading by the driver's JavaScript part, of few events: its native part, which is ten times as fast with many,
 * holds up most calls for 40 ms, because it sends a request in two pieces of which the second waits until the server
 * has acknowledged the first.
 *
 * The driver itself does not offer this any more, but has all of the parts: its own classes for requests and answers,
 * and how it makes calls. None of it is documented. `undefined` where they are not what they were, or are those of
 * another copy of the driver: then the native part reads everything.
 */
export async function loadQuickRead(client: KurrentClient): Promise<QuickRead | undefined> {
  try {
    const [driver, calls, messages, shared] = (await Promise.all([
      import('@kurrent/kurrentdb-client'),
      import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js'),
      import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'),
      import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js'),
    ])) as unknown as [Module<Driver>, Module<Service>, Module<Messages>, Module<Shared>]
    const { KurrentDBClient, convertToCommandError } = exportsOf(driver)
    const isOwn = client instanceof KurrentDBClient
    const { execute, callArguments } = client as Partial<Internals>
    if (!isOwn || typeof execute !== 'function' || typeof callArguments !== 'function') return undefined
    const parts = {
      ...{ StreamsClient: exportsOf(calls).StreamsClient, convertToCommandError },
      ...{ ReadReq: exportsOf(messages).ReadReq, ...exportsOf(shared) },
    }
    // Whether the classes are what they are thought to be shows when a request is made of them.
    streamRequest(parts, 'probe', { ...ANY_PART, fromRevision: 0n })
    allRequest(parts, { ...ANY_PART, fromPosition: 'end', filter: { filterOn: 'eventType', regex: 'x' } })
    return {
      stream: (client, stream, options, signal) =>
        read(client, parts, streamRequest(parts, stream, options), options, signal),
      all: (client, options, signal) => read(client, parts, allRequest(parts, options), options, signal),
    }
  } catch {
    return undefined
  }
}

const ANY_PART = { direction: 'backwards', maxCount: 1n, requiresLeader: true, resolvesLink: false } as const

function read(
  client: KurrentClient,
  { StreamsClient, convertToCommandError }: Parts,
  request: Message,
  { requiresLeader, credentials }: ReadStreamOptions | ReadAllOptions,
  signal: AbortSignal,
): Promise<KurrentRecorded[]> {
  const { execute, callArguments } = client as unknown as Internals
  return execute(StreamsClient, 'read', (streams) => {
    const records: KurrentRecorded[] = []
    return new Promise((resolve, reject) => {
      const call = streams.read(request, ...callArguments({ requiresLeader, credentials, deadline: DAY }))
      signal.addEventListener('abort', () => {
        call.cancel()
      })
      call.on('data', (response) => {
        if (response.hasStreamNotFound()) {
          reject(Object.assign(new Error(), { type: 'stream-not-found' }))
          return
        }
        const recorded = response.hasEvent() ? response.getEvent().getEvent() : undefined
        if (recorded) records.push(toRecorded(recorded))
      })
      call.on('end', () => {
        resolve(records)
      })
      call.on('error', (error) => {
        reject(convertToCommandError(error))
      })
    })
  })
}

/** Milliseconds: whoever waits has a deadline, and gives the call up. */
const DAY = 86_400_000

function streamRequest(parts: Parts, stream: string, options: ReadStreamOptions): Message {
  const { ReadReq, StreamIdentifier, Empty } = parts
  const part = new ReadReq.Options.StreamOptions()
  const identifier = new StreamIdentifier()
  identifier.setStreamName(Buffer.from(stream).toString('base64'))
  part.setStreamIdentifier(identifier)
  if (options.fromRevision === 'start') part.setStart(new Empty())
  else if (options.fromRevision === 'end') part.setEnd(new Empty())
  else part.setRevision(String(options.fromRevision))
  const message = commonRequest(parts, options)
  message.setStream(part)
  message.setNoFilter(new Empty())
  return requestOf(parts, message)
}

function allRequest(parts: Parts, options: ReadAllOptions): Message {
  const { ReadReq, Empty } = parts
  const part = new ReadReq.Options.AllOptions()
  if (options.fromPosition === 'start') part.setStart(new Empty())
  else if (options.fromPosition === 'end') part.setEnd(new Empty())
  else {
    const position = new ReadReq.Options.Position()
    position.setCommitPosition(String(options.fromPosition.commit))
    position.setPreparePosition(String(options.fromPosition.prepare))
    part.setPosition(position)
  }
  const message = commonRequest(parts, options)
  message.setAll(part)
  if (options.filter) {
    const expression = new ReadReq.Options.FilterOptions.Expression()
    expression.setRegex(options.filter.regex)
    const filter = new ReadReq.Options.FilterOptions()
    if (options.filter.filterOn === 'streamName') filter.setStreamIdentifier(expression)
    else filter.setEventType(expression)
    filter.setCount(new Empty())
    filter.setCheckpointintervalmultiplier(1)
    message.setFilter(filter)
  } else message.setNoFilter(new Empty())
  return requestOf(parts, message)
}

function commonRequest(
  { ReadReq, Empty }: Parts,
  options: ReadStreamOptions | ReadAllOptions,
): RequestOptions {
  const uuids = new ReadReq.Options.UUIDOption()
  uuids.setString(new Empty())
  const message = new ReadReq.Options()
  message.setUuidOption(uuids)
  message.setResolveLinks(options.resolvesLink)
  message.setCount(String(options.maxCount))
  message.setReadDirection(options.direction === 'forwards' ? 0 : 1)
  return message
}

function requestOf({ ReadReq }: Parts, options: RequestOptions): Message {
  const request = new ReadReq()
  request.setOptions(options)
  return request
}

function toRecorded(record: RecordedMessage): KurrentRecorded {
  const metadata = record.getMetadataMap()
  return {
    streamId: Buffer.from(record.getStreamIdentifier().getStreamName_asU8()).toString('utf8'),
    id: record.getId().getString(),
    type: metadata.get('type') ?? '',
    isJson: metadata.get('content-type') === 'application/json',
    revision: BigInt(record.getStreamRevision()),
    // In units of 100 nanoseconds; the native part tells whole seconds, and an event is to have one time.
    created: Math.floor(Number(metadata.get('created') ?? 0) / 10_000_000) * 1_000,
    data: record.getData_asU8(),
    metadata: record.getCustomMetadata_asU8(),
    position: positionOf(record),
  }
}

function positionOf(record: RecordedMessage): LogPosition {
  return { commit: BigInt(record.getCommitPosition()), prepare: BigInt(record.getPreparePosition()) }
}

/** What a client has beside what it offers. */
interface Internals {
  readonly execute: <T>(
    service: Service['StreamsClient'],
    name: string,
    action: (streams: Streams) => Promise<T>,
  ) => Promise<T>
  readonly callArguments: (options: {
    readonly requiresLeader: boolean
    readonly credentials?: unknown
    readonly deadline: number
  }) => readonly unknown[]
}

/** A CommonJS module, whose exports are also those of its default where they were not found out beforehand. */
type Module<T> = T & { readonly default?: T }

function exportsOf<T>(module: Module<T>): T {
  return module.default ?? module
}

interface Driver {
  readonly KurrentDBClient: new (...args: never) => unknown
  readonly convertToCommandError: (error: Error) => Error
}

interface Service {
  readonly StreamsClient: new (...args: never) => Streams
}

interface Streams {
  read(request: Message, ...args: readonly unknown[]): ReadCall
}

interface ReadCall {
  cancel(): void
  on(event: 'data', listener: (response: ReadResponse) => void): unknown
  on(event: 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

interface ReadResponse {
  hasStreamNotFound(): boolean
  hasEvent(): boolean
  getEvent(): { getEvent(): RecordedMessage | undefined }
}

interface RecordedMessage {
  getId(): { getString(): string }
  getStreamIdentifier(): { getStreamName_asU8(): Uint8Array }
  getStreamRevision(): string
  getCommitPosition(): string
  getPreparePosition(): string
  getMetadataMap(): { get(key: string): string | undefined }
  getCustomMetadata_asU8(): Uint8Array
  getData_asU8(): Uint8Array
}

/** A message, of which only what is set here is known. */
interface Message {
  readonly [setter: string]: (value?: unknown) => unknown
}

type MessageType = new () => Message & {
  readonly [Setter in SetterName]: (value?: unknown) => unknown
}

type SetterName =
  | `set${'Stream' | 'All' | 'Options' | 'Count' | 'Filter' | 'NoFilter' | 'Start' | 'End' | 'Revision'}`
  | `set${'UuidOption' | 'ResolveLinks' | 'ReadDirection' | 'String' | 'StreamIdentifier' | 'StreamName'}`
  | `set${'Position' | 'CommitPosition' | 'PreparePosition' | 'Regex' | 'EventType'}`
  | 'setCheckpointintervalmultiplier'

type RequestOptions = InstanceType<MessageType>

interface Messages {
  readonly ReadReq: MessageType & {
    readonly Options: MessageType & {
      readonly StreamOptions: MessageType
      readonly AllOptions: MessageType
      readonly Position: MessageType
      readonly UUIDOption: MessageType
      readonly FilterOptions: MessageType & { readonly Expression: MessageType }
    }
  }
}

interface Shared {
  readonly Empty: MessageType
  readonly StreamIdentifier: MessageType
}

type Parts = Messages &
  Shared & {
    readonly StreamsClient: Service['StreamsClient']
    readonly convertToCommandError: Driver['convertToCommandError']
  }
