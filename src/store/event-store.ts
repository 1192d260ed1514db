import type { MnemeError } from '../base/errors.ts'
import type { AnyEventType } from '../model/event-type.ts'
import type { Event, Recorded } from '../model/event.ts'
import type { Metadata } from '../model/metadata.ts'
import type { ExpectedRevision, Position, Revision } from '../base/revision.ts'
import type { Capabilities, Direction } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * Keeps the events of every stream, in the order in which they were appended. Made by `memoryStore`,
 * `sqliteStore`, `postgresStore` or, of one's own adapter, `createStore`.
 */
export interface EventStore {
  readonly capabilities: Capabilities

  /** A UUID, made once for a store's data and kept with it. */
  identity(): Promise<string>

  /**
   * Appends events to one stream or to several: all of them or none, and only if every stream stands where it
   * was expected. Durable once it resolves. The events get consecutive revisions and adjacent positions, in
   * the order given. Without events it only checks what it expects.
   *
   * The same event ids again, with the same exact expectation, are a success and one copy.
   *
   * @throws ConflictError where a stream stands elsewhere than expected.
   * @throws KeyReusedError where the key was used with other events.
   * @throws InvalidArgumentError, InvalidDataError, LimitError where an argument is wrong.
   * @throws OverloadedError, StoreBusyError, StoreFullError, StoreFailedError, OutcomeUnknownError,
   *   StoreClosedError, UnsupportedError
   * @example
   * ```ts
   * await store.append({ stream: Door('front'), events: [Door.events.Opened()], expected: 'none' })
   * ```
   */
  append(writes: StreamWrite | readonly StreamWrite[], options?: AppendOptions): Promise<AppendResult>

  /**
   * Reads a stream's events in order, a page at a time. Given `BankAccount('alice')` rather than a name, older
   * versions and names of events come as the present ones.
   *
   * @throws UnknownEventError, FoldError, then, where an event is unknown to the aggregate or its upcast throws.
   * @example
   * ```ts
   * for await (const event of store.read('Door-front', { direction: 'backwards', limit: 1 })) {
   *   console.log(event.type, event.revision)
   * }
   * ```
   */
  read(stream: string | AnyStream, options?: ReadOptions): AsyncIterableIterator<Recorded>

  /** Reads the events of all streams in the order of the store, a page at a time. */
  readAll(options?: ReadAllOptions): AsyncIterableIterator<Recorded>

  /**
   * Hands out the events of all streams in the order of the store: those that are there, then each as it is appended,
   * by whichever process, within milliseconds. It has no end: it is over with `break`, `return`, its `signal`, or when
   * the store is closed, none of which is an error.
   *
   * Each event comes once, in order, whatever writers do. While the consumer is at work nothing piles up. A lost
   * connection or a server that starts again is waited for, and told to `onInterrupted`. Events come as they are stored,
   * as from `readAll`.
   *
   * @throws CheckpointFromAnotherStoreError, HistoryRewoundError, then, where `from` is no place in this store's history,
   *   and at any time when the history is rewound beneath it.
   * @throws InvalidArgumentError
   * @example
   * ```ts
   * for await (const event of store.subscribe({ categories: ['Door'] })) {
   *   console.log(event.type, event.stream)
   * }
   * ```
   */
  subscribe(options?: SubscribeOptions): Subscription

  /** Where a stream stands: the revision of its last event, or `'none'`. */
  head(stream: string | AnyStream): Promise<Revision>

  /** The position of the store's last event; `undefined` where it has none. */
  logHead(): Promise<Position | undefined>

  /** Waits for calls in flight, then frees everything. Later calls fail with `StoreClosedError`. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/** Events for one stream, or an expectation of a stream that is only read. */
export interface StreamWrite {
  readonly stream: string | AnyStream
  /** None where left out. */
  readonly events?: readonly EventToAppend[] | undefined
  /**
   * Where the stream is expected to stand; `'any'` where left out. A stream may be named again, to interleave
   * its events with others'; its expectation is then said once.
   */
  readonly expected?: ExpectedRevision | undefined
}

/** An event as constructors make it, with an id of one's own if wanted. */
export interface EventToAppend extends Event {
  /** A UUID, made where left out. With an id of its own, an append can be repeated without a second copy. */
  readonly id?: string | undefined
}

/** Options of `append`. */
export interface AppendOptions {
  readonly metadata?: Metadata | undefined
  /**
   * An idempotency key: the same key again appends nothing and gives what the first append gave. Its scope is
   * the store; it is kept as long as the store.
   */
  readonly key?: string | undefined
  /** Given up where nothing was sent yet; afterwards the outcome is awaited. */
  readonly signal?: AbortSignal | undefined
}

/** What `append` resolves with. */
export interface AppendResult {
  /** The events as stored, in the order given. */
  readonly events: readonly Recorded[]
  /** Where every stream named stood right after it, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  /** The position of its last event; `undefined` where it had none. */
  readonly position: Position | undefined
  /**
   * Whether it had been appended before (the same event ids or key), so that nothing was appended now. What was appended
   * by this very call, and had to be found out about, is no repeat; of two such at once each takes itself for the first.
   */
  readonly repeated: boolean
}

/** Options of `read`. */
export interface ReadOptions {
  /** Forwards where left out. */
  readonly direction?: Direction | undefined
  /** The first revision to read, inclusive. Where left out, the end that the direction begins at. */
  readonly from?: number | undefined
  /** How many events at most. All where left out. */
  readonly limit?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Options of `readAll`. */
export interface ReadAllOptions {
  /** Forwards where left out. */
  readonly direction?: Direction | undefined
  /** Read what follows this position in the direction. */
  readonly after?: Position | undefined
  /** How many events at most. All where left out. */
  readonly limit?: number | undefined
  /** Only these streams. With `categories` too, either is enough. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Only streams of these categories: the part of a name before the first `-`. */
  readonly categories?: readonly string[] | undefined
  /**
   * Only events of these types: by constructor, under its former names too; by name, as stored.
   */
  readonly types?: readonly (string | AnyEventType)[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** Where a subscription begins. Any position will do, and the editor knows the other two. */
export type SubscribeFrom = 'start' | 'end' | (Position & {}) | Checkpoint

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /**
   * Where to begin: `'start'`, where left out; `'end'`, with what is appended from now on; behind a position of this
   * store; or at a checkpoint, which another store or another history does not take for its own.
   */
  readonly from?: SubscribeFrom | undefined
  /** Only these streams. With `categories` too, either is enough. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Only streams of these categories: the part of a name before the first `-`. */
  readonly categories?: readonly string[] | undefined
  /** Only events of these types: by constructor, under its former names too; by name, as stored. */
  readonly types?: readonly (string | AnyEventType)[] | undefined
  /** Ends it, as `return` does. */
  readonly signal?: AbortSignal | undefined
  /** Called when the store cannot be had, each time before it is tried again. */
  readonly onInterrupted?: ((error: MnemeError) => void) | undefined
}

/** A place in a store's history, to go on from: plain JSON, to be kept wherever one likes. */
export interface Checkpoint {
  /** The identity of the store. */
  readonly store: string
  /** Up to this event, all was handed out. */
  readonly position: Position
  /** The event's id, by which a history that was rewound is recognised. */
  readonly id: string
}

/** Events as they come, deeply frozen. Made by `store.subscribe`. */
export interface Subscription extends AsyncIterableIterator<Recorded, undefined> {
  /**
   * Where to go on from another time: behind the event that was handed out last, or further, where nothing that was
   * asked for follows. `undefined`: from the start.
   */
  readonly checkpoint: Checkpoint | undefined
  /**
   * Resolves when all that is there has been handed out, and the consumer has asked for more: at once, where it
   * waits already.
   *
   * @throws what ends the subscription before; StoreClosedError where it was over without an error.
   */
  caughtUp(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Options that every store takes. */
export interface StoreOptions {
  /** How many commands and appends, together, may be under way before `OverloadedError`. 10,000. */
  readonly maxPending?: number | undefined
  /** How many streams' states are kept at hand for the next command; 0 for none. 1,000. */
  readonly cachedStates?: number | undefined
}
