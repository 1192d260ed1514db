import type {
  FollowOptions,
  KurrentClient,
  KurrentRecorded,
  LogPosition,
  ReadAllOptions,
  ReadStreamOptions,
} from './driver.ts'

/**
 * Undocumented parts of the driver's JavaScript: its classes for requests and answers, and its way to make calls.
 * `undefined` if they have changed, or if the client is one of another copy of the driver.
 */
export async function loadDriverParts(client: KurrentClient): Promise<DriverParts | undefined> {
  try {
    // Each `await` directly in the `try`: so bundlers see that the package may be missing.
    const calls =
      (await import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js')) as unknown as Module<Service>
    const messages =
      (await import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js')) as unknown as Module<Messages>
    const shared =
      (await import('@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js')) as unknown as Module<Shared>
    const driver = (await import('@kurrent/kurrentdb-client')) as unknown as Module<Driver>
    const { KurrentDBClient, convertToCommandError } = exportsOf(driver)
    const isOwn = client instanceof KurrentDBClient
    const { execute, callArguments } = client as Partial<Internals>
    if (!isOwn || typeof execute !== 'function' || typeof callArguments !== 'function') return undefined
    const parts = {
      ...{ StreamsClient: exportsOf(calls).StreamsClient, convertToCommandError },
      ...{ ReadReq: exportsOf(messages).ReadReq, ...exportsOf(shared) },
    }
    // Making a request of each kind shows whether the classes have what is used of them.
    const filter = { filterOn: 'eventType', regex: 'x' } as const
    streamRequest(parts, 'probe', { ...ANY_PART, fromRevision: 0n })
    allRequest(parts, { ...ANY_PART, fromPosition: 'end', filter })
    followRequest(parts, { ...ANY_PART, fromPosition: 'end', filter, window: 1 })
    return parts
  } catch {
    return undefined
  }
}

const ANY_PART = { direction: 'backwards', maxCount: 1n, requiresLeader: true, resolvesLink: false } as const

/** Calls the server's one method for all kinds of reads. The client notices by failures that it has lost the server. */
export function callRead<T>(
  client: KurrentClient,
  { StreamsClient }: DriverParts,
  { requiresLeader, credentials }: Pick<ReadAllOptions, 'requiresLeader' | 'credentials'>,
  action: (open: (request: Message) => ReadCall) => Promise<T>,
): Promise<T> {
  const { execute, callArguments } = client as unknown as Internals
  return execute(StreamsClient, 'read', (streams) =>
    action((request) =>
      streams.read(request, ...callArguments({ requiresLeader, credentials, deadline: Infinity })),
    ),
  )
}

export function streamRequest(parts: DriverParts, stream: string, options: ReadStreamOptions): Message {
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

export function allRequest(parts: DriverParts, options: ReadAllOptions): Message {
  return logRequest(parts, commonRequest(parts, options), options)
}

/** A request for the events after a place, stored and new ones. */
export function followRequest(parts: DriverParts, options: FollowOptions): Message {
  const { SubscriptionOptions } = parts.ReadReq.Options
  const message = commonRequest(parts, { ...options, direction: 'forwards', maxCount: 0n })
  message.setSubscription(new SubscriptionOptions())
  return logRequest(parts, message, options)
}

function logRequest(
  parts: DriverParts,
  message: RequestOptions,
  { fromPosition, filter, window }: Pick<ReadAllOptions, 'fromPosition' | 'filter'> & { window?: number },
): Message {
  const { ReadReq, Empty } = parts
  const part = new ReadReq.Options.AllOptions()
  if (fromPosition === 'start') part.setStart(new Empty())
  else if (fromPosition === 'end') part.setEnd(new Empty())
  else {
    const position = new ReadReq.Options.Position()
    position.setCommitPosition(String(fromPosition.commit))
    position.setPreparePosition(String(fromPosition.prepare))
    part.setPosition(position)
  }
  message.setAll(part)
  if (filter) {
    const expression = new ReadReq.Options.FilterOptions.Expression()
    expression.setRegex(filter.regex)
    const options = new ReadReq.Options.FilterOptions()
    if (filter.filterOn === 'streamName') options.setStreamIdentifier(expression)
    else options.setEventType(expression)
    if (window === undefined) options.setCount(new Empty())
    else options.setMax(window)
    options.setCheckpointintervalmultiplier(1)
    message.setFilter(options)
  } else message.setNoFilter(new Empty())
  return requestOf(parts, message)
}

function commonRequest(
  { ReadReq, Empty }: DriverParts,
  options: Pick<ReadAllOptions, 'direction' | 'maxCount' | 'resolvesLink'>,
): RequestOptions {
  const uuids = new ReadReq.Options.UUIDOption()
  uuids.setString(new Empty())
  const message = new ReadReq.Options()
  message.setUuidOption(uuids)
  message.setResolveLinks(options.resolvesLink)
  if (options.maxCount > 0n) message.setCount(String(options.maxCount))
  message.setReadDirection(options.direction === 'forwards' ? 0 : 1)
  return message
}

function requestOf({ ReadReq }: DriverParts, options: RequestOptions): Message {
  const request = new ReadReq()
  request.setOptions(options)
  return request
}

export function toRecorded(record: RecordedMessage): KurrentRecorded {
  const metadata = record.getMetadataMap()
  return {
    streamId: Buffer.from(record.getStreamIdentifier().getStreamName_asU8()).toString('utf8'),
    id: record.getId().getString(),
    type: metadata.get('type') ?? '',
    isJson: metadata.get('content-type') === 'application/json',
    revision: BigInt(record.getStreamRevision()),
    // In units of 100 ns. The native part gives whole seconds, and an event needs the same time from both.
    created: Math.floor(Number(metadata.get('created') ?? 0) / 10_000_000) * 1_000,
    data: record.getData_asU8(),
    metadata: record.getCustomMetadata_asU8(),
    position: positionOf(record),
  }
}

export function positionOf(record: PositionMessage): LogPosition {
  return { commit: BigInt(record.getCommitPosition()), prepare: BigInt(record.getPreparePosition()) }
}

/** Undocumented members of a client. */
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

/** A CommonJS module: exports that Node did not detect are members of `default` only. */
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

/** The server's answers, as a stream of Node's. */
export interface ReadCall {
  cancel(): void
  read(): ReadResponse | null
  on(event: 'data', listener: (response: ReadResponse) => void): unknown
  on(event: 'readable' | 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** One message of it. */
interface ReadResponse {
  hasStreamNotFound(): boolean
  hasCheckpoint(): boolean
  getCheckpoint(): PositionMessage
  hasCaughtUp(): boolean
  hasEvent(): boolean
  getEvent(): { getEvent(): RecordedMessage | undefined }
}

interface PositionMessage {
  getCommitPosition(): string
  getPreparePosition(): string
}

interface RecordedMessage extends PositionMessage {
  getId(): { getString(): string }
  getStreamIdentifier(): { getStreamName_asU8(): Uint8Array }
  getStreamRevision(): string
  getMetadataMap(): { get(key: string): string | undefined }
  getCustomMetadata_asU8(): Uint8Array
  getData_asU8(): Uint8Array
}

/** A message, of which only what is set here is known. */
export interface Message {
  readonly [setter: string]: (value?: unknown) => unknown
}

type MessageType = new () => Message & {
  readonly [Setter in SetterName]: (value?: unknown) => unknown
}

type SetterName =
  | `set${'Stream' | 'All' | 'Options' | 'Count' | 'Filter' | 'NoFilter' | 'Start' | 'End' | 'Revision'}`
  | `set${'UuidOption' | 'ResolveLinks' | 'ReadDirection' | 'String' | 'StreamIdentifier' | 'StreamName'}`
  | `set${'Position' | 'CommitPosition' | 'PreparePosition' | 'Regex' | 'EventType'}`
  | `set${'Max' | 'Subscription' | 'Checkpointintervalmultiplier'}`

type RequestOptions = InstanceType<MessageType>

interface Messages {
  readonly ReadReq: MessageType & {
    readonly Options: MessageType & {
      readonly StreamOptions: MessageType
      readonly AllOptions: MessageType
      readonly Position: MessageType
      readonly UUIDOption: MessageType
      readonly SubscriptionOptions: MessageType
      readonly FilterOptions: MessageType & { readonly Expression: MessageType }
    }
  }
}

interface Shared {
  readonly Empty: MessageType
  readonly StreamIdentifier: MessageType
}

/** The driver's own classes. */
export type DriverParts = Messages &
  Shared & {
    readonly StreamsClient: Service['StreamsClient']
    readonly convertToCommandError: Driver['convertToCommandError']
  }
