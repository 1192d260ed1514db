import { OpenError } from '../../base/errors.ts'
import { withUncompressedAnswers } from './uncompressed.ts'

/**
 * What a store needs of a client of KurrentDB: `KurrentDBClient` of `@kurrent/kurrentdb-client` has it.
 *
 * Typed by its shape, so that any copy of the driver will do.
 */
export interface KurrentClient {
  /** Appends to one stream. The only append that servers before 26.1 know. */
  appendToStream(
    streamName: string,
    events: KurrentEvent[],
    options: { readonly streamState: StreamState; readonly deadline: number },
  ): Promise<AppendToStreamResult>
  /** Appends to any number of streams, under checks of these and others. From server 26.1 on. */
  appendRecords(
    records: { readonly streamName: string; readonly record: KurrentEvent }[],
    checks: StreamCheck[],
  ): Promise<AppendRecordsResult>
  /** Deletes a stream for good. */
  tombstoneStream(
    streamName: string,
    options: { readonly expectedRevision: Exclude<StreamState, 'stream_exists'> },
  ): Promise<unknown>
  /** The client's native part, which does the reading. It gives events in batches, their data as bytes. */
  readonly rustClient: KurrentReader
  readonly credentialsProvider?: (() => KurrentCredentials | Promise<KurrentCredentials>) | undefined
  /** Ends what is under way. */
  dispose(): Promise<void>
}

/** An event as the client takes it. */
export interface KurrentEvent {
  readonly id: string
  readonly type: string
  readonly contentType: 'application/json'
  readonly data: Record<string, unknown>
  readonly metadata: Record<string, string>
}

/** The state in which the server has to find a stream. */
export type StreamState = 'any' | 'no_stream' | 'stream_exists' | bigint

/** A stream, and the state that an append requires of it. */
export interface StreamCheck {
  readonly type: 'stream_state'
  readonly streamName: string
  readonly expectedState: StreamState
}

/** The answer to an append to one stream. */
export interface AppendToStreamResult {
  /** `false`: the stream stands elsewhere, and the client was told not to throw then. */
  readonly success: boolean
  /** The revision of the stream's last event. */
  readonly nextExpectedRevision: bigint
  readonly position?: LogPosition | undefined
}

/** The answer to an append to several. */
export interface AppendRecordsResult {
  /** That of the last record. */
  readonly position: bigint
  /** The head of each stream that was written. */
  readonly responses: readonly { readonly streamName: string; readonly revision: bigint }[]
}

/** The client's native part. */
export interface KurrentReader {
  readStream(stream: string, options: ReadStreamOptions): AsyncIterable<readonly KurrentResolved[]>
  readAll(options: ReadAllOptions): AsyncIterable<readonly KurrentResolved[]>
}

interface ReadOptions {
  readonly direction: 'forwards' | 'backwards'
  readonly maxCount: bigint
  readonly requiresLeader: boolean
  readonly resolvesLink: boolean
  readonly credentials?: KurrentCredentials
}

/** How a stream is read. */
export interface ReadStreamOptions extends ReadOptions {
  readonly fromRevision: bigint | 'start' | 'end'
}

/** How the log is read. */
export interface ReadAllOptions extends ReadOptions {
  /** Forwards, what lies there is read, too; backwards it is not. */
  readonly fromPosition: LogPosition | 'start' | 'end'
  readonly filter?: ReadFilter
}

/** How the log is followed. */
export interface FollowOptions extends Omit<ReadOptions, 'direction' | 'maxCount'> {
  /** Events after this position. */
  readonly fromPosition: LogPosition | 'start' | 'end'
  readonly filter: ReadFilter
  /** After how many events that do not match the server says how far it is. */
  readonly window: number
}

/** The events that the server gives: those of which one property matches. */
export interface ReadFilter {
  readonly filterOn: 'streamName' | 'eventType'
  /** In the syntax of .NET. */
  readonly regex: string
}

/** The user who calls. */
export type KurrentCredentials =
  { readonly username: string; readonly password: string } | { readonly bearerToken: string }

/** An event or a link. */
export interface KurrentResolved {
  readonly event?: KurrentRecorded | undefined
}

/** An event as the server has it. */
export interface KurrentRecorded {
  readonly streamId: string
  readonly id: string
  readonly type: string
  readonly isJson: boolean
  readonly revision: bigint
  /** Milliseconds since 1970. */
  readonly created: number
  readonly data: Uint8Array
  readonly metadata: Uint8Array
  readonly position?: LogPosition | undefined
}

/** A place in the server's log. */
export interface LogPosition {
  readonly commit: bigint
  readonly prepare: bigint
}

/** Makes a client with the installed driver. @throws OpenError if none is installed. */
export async function makeClient(connectionString: string): Promise<KurrentClient> {
  let client: DriverExports['KurrentDBClient']
  try {
    const module = (await import('@kurrent/kurrentdb-client')) as unknown as Driver
    client = (module.default ?? module).KurrentDBClient
  } catch (cause) {
    const message =
      'no KurrentDB driver: install @kurrent/kurrentdb-client (npm install @kurrent/kurrentdb-client)'
    throw new OpenError('driver-missing', message, { cause })
  }
  return withUncompressedAnswers(client.connectionString(withOwnConnection(connectionString)))
}

/**
 * Clients whose settings are alike share their connections to a server, also one that does not answer any more: each
 * waits for signs of life a little longer than the one before it, which tells them apart.
 */
function withOwnConnection(connectionString: string): string {
  const [before, given, after] = connectionString.split(/(?<=[?&]keepAliveTimeout=)(\d+)/)
  const timeout = Number(given ?? 10_000) + (clients++ % 1_000)
  if (given !== undefined) return `${before!}${String(timeout)}${after!}`
  return connectionString.includes('keepAliveTimeout=')
    ? connectionString
    : `${connectionString}&keepAliveTimeout=${String(timeout)}`
}

let clients = 0

interface DriverExports {
  readonly KurrentDBClient: { connectionString(text: string): KurrentClient }
}

type Driver = DriverExports & { readonly default?: DriverExports }
