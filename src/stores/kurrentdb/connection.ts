import { onAbort } from '../../base/abort.ts'
import type { ExpectedRevision, Revision } from '../../base/revision.ts'
import type {
  AppendRecordsResult,
  AppendToStreamResult,
  FollowOptions,
  KurrentClient,
  KurrentCredentials,
  KurrentEvent,
  KurrentRecorded,
  KurrentResolved,
  LogPosition,
  ReadAllOptions,
  ReadStreamOptions,
  StreamState,
} from './driver.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import type { DriverParts } from './driver-internals.ts'
import { LateError } from './errors.ts'
import { type Followed, followLog, QuickRead } from './grpc.ts'
import { Semaphore } from './semaphore.ts'
import { FIRST_PAGE_EVENTS } from './page.ts'

/** How a store calls the server. */
export interface CallSettings {
  /** Milliseconds to wait for an answer. */
  readonly deadline: number
  /** Whether only the leader may answer reads. */
  readonly requiresLeader: boolean
  /** The user who reads. Default: the client's own. */
  readonly credentials?: KurrentCredentials | undefined
  /** The clock of deadlines and retries. Default: the system's. */
  readonly clock?: Clock | undefined
}

/** A record of an append, and its stream. */
export interface StreamRecord {
  readonly stream: string
  readonly event: KurrentEvent
}

/** The expected revision of a stream. */
export interface StreamExpectation {
  readonly stream: string
  readonly expected: ExpectedRevision
}

/** The server's answer to an append. */
export interface Written {
  /** The head of each stream that was written. */
  readonly heads: ReadonlyMap<string, number>
  /** The position of the last record. Servers leave it out for a repeat that they found in memory only. */
  readonly position: LogPosition | undefined
}

/** The part of a stream or of the log to read. */
export type Part<Options> = Pick<
  Options,
  Exclude<keyof Options, 'requiresLeader' | 'resolvesLink' | 'credentials'>
>

/**
 * The calls that a store makes to the client, each with a deadline: some of the client's own calls have none, and some
 * never settle when their connection is lost.
 */
export class Calls {
  readonly #settings: CallSettings
  readonly #connect: (() => Promise<KurrentClient>) | undefined
  readonly #parts: DriverParts | undefined
  readonly #quick: QuickRead | undefined
  readonly clock: Clock
  readonly #messages = new Semaphore(MAX_MESSAGES_IN_FLIGHT)
  #client: KurrentClient
  #reconnecting: Promise<void> | undefined
  #reconnected = -Infinity
  /** The controllers that end the subscriptions under way. */
  readonly #followers = new Set<AbortController>()
  /** Functions that close replaced clients, which stay open until their calls are over. */
  readonly #old = new Set<() => Promise<void>>()

  /** @param connect makes another client; if it is missing, the client belongs to the caller and is not closed. */
  constructor(
    client: KurrentClient,
    settings: CallSettings,
    parts?: DriverParts,
    connect?: () => Promise<KurrentClient>,
  ) {
    this.#client = client
    this.#settings = settings
    this.clock = settings.clock ?? systemClock
    this.#parts = parts
    this.#quick = parts && new QuickRead(parts)
    this.#connect = connect
  }

  get deadline(): number {
    return this.#settings.deadline
  }

  /** Whether only the leader answers reads. */
  get requiresLeader(): boolean {
    return this.#settings.requiresLeader
  }

  /** Whether the driver has what {@link follow} needs. */
  get canFollow(): boolean {
    return this.#parts !== undefined
  }

  /** Appends to one stream. Without events it only checks the expected revision. */
  async appendToStream(
    { stream, expected }: StreamExpectation,
    events: KurrentEvent[],
    bytes = 0,
  ): Promise<Written> {
    const streamState = stateOf(expected)
    const messages = Math.min(2 + Math.floor(bytes / BYTES_PER_MESSAGE), MAX_MESSAGES_IN_FLIGHT)
    const { success, nextExpectedRevision, position } = await this.#messages.run(messages, () =>
      this.#within<AppendToStreamResult>(
        this.#client.appendToStream(stream, events, { streamState, deadline: SERVER_DEADLINE_MS }),
      ),
    )
    // The caller's client was told not to throw. The revision that it gives then is wrong.
    if (!success) throw Object.assign(new Error(), { type: 'wrong-expected-version', streamName: stream })
    return { heads: new Map([[stream, Number(nextExpectedRevision)]]), position }
  }

  /** Appends to any number of streams, under any number of expectations. */
  async appendRecords(
    records: readonly StreamRecord[],
    expectations: readonly StreamExpectation[],
  ): Promise<Written> {
    const { position, responses } = await this.#within<AppendRecordsResult>(
      this.#client.appendRecords(
        records.map(({ stream, event }) => ({ streamName: stream, record: event })),
        expectations.map(({ stream, expected }) => ({
          type: 'stream_state',
          streamName: stream,
          expectedState: stateOf(expected),
        })),
      ),
    )
    const heads = responses.map(({ streamName, revision }) => [streamName, Number(revision)] as const)
    // A repeat whose events were deleted meanwhile has none.
    return {
      heads: new Map(heads),
      position: position < 0n ? undefined : { commit: position, prepare: position },
    }
  }

  /** Deletes a stream for good, if it stands where it is expected. */
  async tombstone(stream: string, expected: Revision): Promise<void> {
    const expectedRevision = expected === 'none' ? 'no_stream' : BigInt(expected)
    await this.#within(this.#client.tombstoneStream(stream, { expectedRevision }))
  }

  /** Events of a stream, in batches. */
  async *readStream(
    stream: string,
    part: Part<ReadStreamOptions>,
  ): AsyncGenerator<readonly KurrentRecorded[], undefined> {
    const options = { ...part, ...(await this.#readOptions()) }
    if (!this.#quick || part.maxCount > MAX_QUICK_READ_EVENTS) {
      return yield* this.#batches(this.#client.rustClient.readStream(stream, options))
    }
    const late = new AbortController()
    yield await this.#within(this.#quick.stream(this.#client, stream, options, late.signal), { late })
    return undefined
  }

  /** Events of the log, in batches. */
  async *readAll(part: Part<ReadAllOptions>): AsyncGenerator<readonly KurrentRecorded[], undefined> {
    const options = { ...part, ...(await this.#readOptions()) }
    const isAlive = () => this.#isAlive()
    if (!this.#quick || part.maxCount > MAX_QUICK_READ_EVENTS) {
      return yield* this.#batches(this.#client.rustClient.readAll(options), isAlive)
    }
    const late = new AbortController()
    yield await this.#within(this.#quick.all(this.#client, options, late.signal), { isAlive, late })
    return undefined
  }

  /**
   * Events of the log after a place, stored and new ones, until the caller returns or `signal` is aborted. If none comes for
   * the length of the deadline, the server is asked whether it is alive.
   */
  async *follow(part: Part<FollowOptions>, signal: AbortSignal): AsyncGenerator<Followed, undefined> {
    const options = { ...part, ...(await this.#readOptions()) }
    const ending = new AbortController()
    const end = () => {
      ending.abort()
    }
    const stop = onAbort(signal, end)
    if (signal.aborted) end()
    this.#followers.add(ending)
    const iterator = followLog(this.#client, this.#parts!, options, ending.signal)
    try {
      for (;;) {
        const next = await this.#within(iterator.next(), { isAlive: () => this.#isAlive(), late: ending })
        if (signal.aborted) return undefined
        if (next.done) throw new Error('the subscription has ended')
        yield next.value
      }
    } finally {
      stop()
      this.#followers.delete(ending)
      end()
    }
  }

  /**
   * Replaces the client, which stays with a server that is no longer the leader and with a connection that does not answer.
   * Calls under way with the old client may end within their deadlines.
   */
  reconnect(): Promise<void> {
    this.#reconnecting ??= this.#replaceClient().finally(() => {
      this.#reconnecting = undefined
    })
    return this.#reconnecting
  }

  async close(): Promise<void> {
    await this.#reconnecting
    this.#endFollowers()
    if (!this.#connect) return
    await Promise.all([closeClient(this.#client), ...[...this.#old].map((close) => close())])
  }

  async #replaceClient(): Promise<void> {
    if (!this.#connect || this.clock.now() < this.#reconnected + RECONNECT_INTERVAL_MS) return
    this.#reconnected = this.clock.now()
    const old = this.#client
    this.#client = await this.#connect()
    this.#endFollowers()
    const close = () => {
      cancel()
      this.#old.delete(close)
      return closeClient(old)
    }
    const cancel = this.clock.after(this.#settings.deadline, () => void close())
    this.#old.add(close)
  }

  #endFollowers(): void {
    for (const ending of this.#followers) ending.abort()
  }

  /** Whether the server answers. If so, a call that takes longer than the deadline is still at work. */
  async #isAlive(): Promise<boolean> {
    const part = { direction: 'backwards', fromPosition: 'end', maxCount: 1n } as const
    const options = { ...part, ...(await this.#readOptions()) }
    const late = new AbortController()
    try {
      const call =
        this.#quick?.all(this.#client, options, late.signal) ??
        this.#client.rustClient.readAll(options)[Symbol.asyncIterator]().next()
      await this.#within<unknown>(call, { late })
      return true
    } catch {
      return false
    }
  }

  async *#batches(
    source: AsyncIterable<readonly KurrentResolved[]>,
    isAlive?: () => Promise<boolean>,
  ): AsyncGenerator<readonly KurrentRecorded[], undefined> {
    const iterator = source[Symbol.asyncIterator]()
    for (;;) {
      const next = await this.#within<IteratorResult<readonly KurrentResolved[], unknown>>(iterator.next(), {
        isAlive,
      })
      if (next.done) return undefined
      const records: KurrentRecorded[] = []
      for (const { event } of next.value) if (event) records.push(event)
      yield records
    }
  }

  async #readOptions() {
    const { requiresLeader } = this.#settings
    const credentials = (await this.#client.credentialsProvider?.()) ?? this.#settings.credentials
    return { requiresLeader, resolvesLink: false, ...(credentials !== undefined && { credentials }) }
  }

  /**
   * Rejects if a call has not settled within the deadline, and ignores its outcome from then on.
   *
   * @param options `isAlive`: asked at the deadline whether to go on waiting. `late`: aborted if the call is given up.
   */
  #within<T>(call: Promise<T>, options: Waiting = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      let isSettled = false
      const isLate = async () => {
        if (await options.isAlive?.()) {
          if (!isSettled) cancel = this.clock.after(this.#settings.deadline, () => void isLate())
          return
        }
        reject(new LateError('no answer within the deadline'))
        options.late?.abort()
      }
      let cancel = this.clock.after(this.#settings.deadline, () => void isLate())
      void call.then(resolve, reject).finally(() => {
        isSettled = true
        cancel()
      })
    })
  }
}

interface Waiting {
  readonly isAlive?: (() => Promise<boolean>) | undefined
  readonly late?: AbortController | undefined
}

/** Closes a client and its connection, which the client leaves open. */
async function closeClient(client: KurrentClient): Promise<void> {
  await client.dispose()
  // Not documented. Without it, the connection ends after half an hour without calls, or with the process.
  const { getChannel } = client as { getChannel?: () => Promise<{ close(): void }> }
  const channel = await getChannel?.().catch(() => undefined)
  channel?.close()
}

/** Bytes of data after which the driver begins another message for the same append. */
const BYTES_PER_MESSAGE = 3 * 1024 * 1024
/**
 * With 16 messages in flight the driver waits for the connection to drain; if it breaks meanwhile, the driver rejects a
 * promise that nobody handles, which ends the process.
 */
const MAX_MESSAGES_IN_FLIGHT = 15

/** The least time between two new clients. */
const RECONNECT_INTERVAL_MS = 500

/** The driver's JavaScript part reads a first page, and the event before it, faster than the native part. */
const MAX_QUICK_READ_EVENTS = BigInt(FIRST_PAGE_EVENTS + 1)

function stateOf(expected: ExpectedRevision): StreamState {
  switch (expected) {
    case 'any':
      return 'any'
    case 'none':
      return 'no_stream'
    case 'exists':
      return 'stream_exists'
    default:
      return BigInt(expected)
  }
}

/** A day: the server compares the deadline, a time of the client's clock, with its own clock, and the two may differ. */
const SERVER_DEADLINE_MS = 86_400_000
