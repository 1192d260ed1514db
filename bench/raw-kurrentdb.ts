import {
  BACKWARDS,
  END,
  excludeSystemEvents,
  FORWARDS,
  jsonEvent,
  KurrentDBClient,
  NO_STREAM,
  START,
  STREAM_STATE,
  type AppendResult,
  type AppendStreamState,
  type EventData,
  type JSONEventType,
  type Position,
} from '@kurrent/kurrentdb-client'

import { NOTE } from './account.ts'

/** The official client as its documentation uses it: events of the store's size, each append under a revision. */
export class RawKurrentdb {
  readonly #client: KurrentDBClient

  constructor(connection: string) {
    this.#client = KurrentDBClient.connectionString(connection)
  }

  /** The server's. The client offers it to nobody, but knows it. */
  async version(): Promise<string> {
    // eslint-disable-next-line @typescript-eslint/dot-notation -- it is protected
    return (await this.#client['capabilities']).serverVersion
  }

  /** One caller on a stream of its own, one event at a time. */
  async append(count: number): Promise<void> {
    const stream = nextStream()
    let streamState: AppendStreamState = NO_STREAM
    for (let i = 0; i < count; i++) {
      const event = depositOf(i)
      const result: AppendResult = await this.#client.appendToStream(stream, event, { streamState })
      streamState = result.nextExpectedRevision
    }
  }

  /** So many callers at once, each on a stream of its own. */
  async appendFrom(callers: number, count: number): Promise<void> {
    await Promise.all(Array.from({ length: callers }, () => this.append(count)))
  }

  /** Batches of events, each in one append. */
  async appendBatches(batches: number, size: number): Promise<void> {
    const stream = nextStream()
    let streamState: AppendStreamState = NO_STREAM
    for (let batch = 0; batch < batches; batch++) {
      const events = Array.from({ length: size }, (_, i) => depositOf(batch * size + i))
      const result: AppendResult = await this.#client.appendToStream(stream, events, { streamState })
      streamState = result.nextExpectedRevision
    }
  }

  /** An event to each of so many streams in every append, each stream under a check. */
  async appendRecords(count: number, width: number): Promise<void> {
    const streams = Array.from({ length: width }, nextStream)
    for (let i = 0; i < count; i++) {
      await this.#client.appendRecords(
        streams.map((streamName) => ({ streamName, record: depositOf(i) })),
        streams.map((streamName) => ({
          type: STREAM_STATE,
          streamName,
          expectedState: i === 0 ? NO_STREAM : BigInt(i - 1),
        })),
      )
    }
  }

  /** What a command is without a library: reads a stream, folds it and appends to it; each stream once. */
  async decideEach(streams: readonly string[]): Promise<void> {
    for (const stream of streams) {
      let balance = 0
      let revision: AppendStreamState = NO_STREAM
      for await (const { event } of this.#client.readStream<Deposited>(stream, {
        fromRevision: START,
        direction: FORWARDS,
      })) {
        if (!event) continue
        balance += event.data.amount
        revision = event.revision
      }
      await this.#client.appendToStream(stream, depositOf(balance), { streamState: revision })
    }
  }

  /** Reads each of these streams, in turn; how many events there were. */
  async readEach(streams: readonly string[]): Promise<number> {
    let count = 0
    for (const stream of streams) {
      const events = this.#client.readStream<Deposited>(stream, { fromRevision: START, direction: FORWARDS })
      for await (const { event } of events) if (event && event.revision >= 0n) count++
    }
    return count
  }

  /** Asks again and again, by an append of nothing, whether a stream stands at a revision. */
  async verify(stream: string, revision: number, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.#client.appendToStream(stream, [], { streamState: BigInt(revision) })
    }
  }

  /** The position of the last event of all. */
  async end(): Promise<Position> {
    const last = this.#client.readAll({ fromPosition: END, direction: BACKWARDS, maxCount: 1 })
    for await (const { event } of last) if (event?.position) return event.position
    throw new Error('the log is empty')
  }

  /** Reads what the log has from a position on, without what belongs to the server. */
  async readAll(fromPosition: Position): Promise<number> {
    const filter = excludeSystemEvents()
    let count = 0
    for await (const { event } of this.#client.readAll({ fromPosition, direction: FORWARDS, filter })) {
      if (event && event.revision >= 0n) count++
    }
    return count
  }

  async close(): Promise<void> {
    await this.#client.dispose()
  }
}

type Deposited = JSONEventType<'Account.Deposited', { amount: number; note: string }>

/** An event with an id and about as many bytes as the store's, which has its time in the metadata. */
function depositOf(amount: number): EventData<Deposited> {
  return jsonEvent<Deposited>({
    id: crypto.randomUUID(),
    type: 'Account.Deposited',
    data: { amount, note: NOTE },
    metadata: { 'bench.time': new Date().toISOString() },
  })
}

/** A stream that nobody has written to. */
function nextStream(): string {
  return `Raw-${crypto.randomUUID()}`
}
