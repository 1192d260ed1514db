import type { MnemeError } from '../base/errors.ts'
import type { EventsOf } from '../model/aggregate.ts'
import type { AnyEventType } from '../model/event-type.ts'
import type { Event, Recorded } from '../model/event.ts'
import type { Metadata } from '../model/metadata.ts'
import type { KeyRing } from './key-ring.ts'
import type { ExpectedRevision, Position, Revision } from '../base/revision.ts'
import type { Capabilities, Direction, StreamSummary } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * Keeps the events of every stream, in the order in which they were appended. Made by `memoryStore`, `sqliteStore`,
 * `postgresStore`, `kurrentdbStore`, or by `createStore` from an adapter of your own.
 */
export interface EventStore {
  readonly capabilities: Capabilities

  /** The UUID of the store's data, kept with the data. */
  identity(): Promise<string>

  /**
   * Appends events to one stream or to several: all of them or none, and only if the head of every stream is the expected
   * one. Durable once it resolves. The events get consecutive revisions and adjacent positions, in the given order.
   * Without events, only the expectations are checked.
   *
   * Appending the same event ids again, with the same exact expectation, succeeds and stores one copy.
   *
   * @throws ConflictError if the head of a stream is not the expected one.
   * @throws KeyReusedError if the key was used with other events.
   * @throws InvalidArgumentError, InvalidDataError, LimitError if an argument is wrong.
   * @throws OverloadedError, StoreBusyError, StoreFullError, StoreFailedError, OutcomeUnknownError,
   *   StoreClosedError, UnsupportedError
   * @example
   * ```ts
   * await store.append({ stream: Door('front'), events: [Door.events.Opened()], expected: 'none' })
   * ```
   */
  append(writes: StreamWrite | readonly StreamWrite[], options?: AppendOptions): Promise<AppendResult>

  /**
   * Reads a stream's events in order, a page at a time. Given `BankAccount('alice')` rather than a name, the events are
   * typed by the aggregate, and those of older versions and names come under the current ones.
   *
   * @throws UnknownEventError, FoldError if an event is unknown to the aggregate, or its upcast throws.
   * @example
   * ```ts
   * for await (const event of store.read('Door-front', { direction: 'backwards', limit: 1 })) {
   *   console.log(event.type, event.revision)
   * }
   * ```
   */
  read<S extends string | AnyStream>(stream: S, options?: ReadOptions): AsyncIterableIterator<EventsOf<S>>

  /** Reads the events of all streams in the order of the store, a page at a time. */
  readAll(options?: ReadAllOptions): AsyncIterableIterator<Recorded>

  /**
   * Reads a page of a stream's events and the head that the stream had then, both as of one moment during the call. Takes the
   * options of `read`; `limit` is 1,000 by default.
   *
   * @throws UnknownEventError, FoldError as `read` does.
   * @example
   * ```ts
   * const { events, head, next } = await store.readPage('Door-front', { limit: 20 })
   * ```
   */
  readPage<S extends string | AnyStream>(stream: S, options?: ReadOptions): Promise<EventPage<EventsOf<S>>>

  /**
   * Reads a page of the events of all streams, and the position up to which the store was read for it. Takes the options of
   * `readAll`; `limit` is 1,000 by default.
   *
   * To follow the store forwards without a subscription, continue with `after: next ?? head`.
   */
  readAllPage(options?: ReadAllOptions): Promise<LogPage>

  /**
   * Lists the streams that have an event, in the order of their names' bytes in UTF-8, a page at a time: by an index,
   * without reading the events. Each page is as of its own moment, so a stream that is new may be missing.
   *
   * @throws UnsupportedError if the store does not list its streams (`capabilities.listsStreams`).
   * @example
   * ```ts
   * for await (const { stream, events } of store.streams({ category: 'Door', limit: 100 })) {
   *   console.log(stream, events)
   * }
   * ```
   */
  streams(options?: StreamsOptions): AsyncIterableIterator<StreamSummary, undefined>

  /**
   * Subscribes to the events of all streams, in the order of the store: the existing events first, then each new one
   * within milliseconds, from every process. A subscription ends with `break`, `return`, its `signal`, or when the store
   * is closed; none of these is an error.
   *
   * Each event comes once, in order. A slow consumer causes no queue. If the store cannot be reached, at the beginning
   * or later, the subscription waits for it, reconnects by itself and calls `onInterrupted` before each retry. Events come as they are stored, like those of
   * `readAll`.
   *
   * @throws CheckpointFromAnotherStoreError, HistoryRewoundError if `from` does not exist in this store's history, or if
   *   the store is restored to an earlier point while the subscription runs.
   * @throws InvalidArgumentError
   * @example
   * ```ts
   * for await (const event of store.subscribe({ categories: ['Door'] })) {
   *   console.log(event.type, event.stream)
   * }
   * ```
   */
  subscribe(options?: SubscribeOptions): Subscription

  /**
   * Erases the events of a stream before a revision. The stream stands where it stood and can be appended to; its state can
   * no longer be folded ({@link StreamTruncatedError}), except from where a process has it cached. Subscribers that ask for
   * `erasures` are told.
   *
   * Nothing is erased, and nobody told, if the stream begins at that revision already.
   *
   * @throws ConflictError if the head of the stream is not the expected one.
   * @throws StreamDeletedError if the stream was deleted.
   * @throws InvalidArgumentError if the stream does not reach so far; UnsupportedError, and the errors of `append`.
   * @example
   * ```ts
   * await store.truncate(Door('front'), { before: 400 })
   * ```
   */
  truncate(stream: string | AnyStream, options: TruncateOptions): Promise<Erasure>

  /**
   * Erases all events of a stream, and deletes the stream for good: every later call that names it fails with
   * {@link StreamDeletedError}, also in processes that have its state cached. Subscribers that ask for `erasures` are told.
   *
   * @throws ConflictError if the head of the stream is not the expected one: by default, if the stream has no events.
   * @throws StreamDeletedError if the stream was deleted before.
   * @throws UnsupportedError, and the errors of `append`.
   * @example
   * ```ts
   * await store.delete(Door('front'))
   * ```
   */
  delete(stream: string | AnyStream, options?: DeleteOptions): Promise<Erasure>

  /** The head of a stream: the revision of its last event, or `'none'`. @throws StreamDeletedError */
  head(stream: string | AnyStream): Promise<Revision>

  /** The position of the store's last event; `undefined` if the store is empty. */
  logHead(): Promise<Position | undefined>

  /** Waits for calls in flight, then releases all resources. Later calls fail with `StoreClosedError`. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/** Events for one stream, or only an expectation of it. */
export interface StreamWrite {
  readonly stream: string | AnyStream
  /** Default: none. */
  readonly events?: readonly EventToAppend[] | undefined
  /**
   * The expected head of the stream. Default: `'any'`. A stream may occur several times, to interleave its events with
   * those of other streams; state its expectation once.
   */
  readonly expected?: ExpectedRevision | undefined
}

/** An event as constructors make it, optionally with an id. */
export interface EventToAppend extends Event {
  /** A UUID. Default: a new one. With given ids, an append can be repeated without a second copy. */
  readonly id?: string | undefined
  readonly time?: ReadEvent | undefined
  readonly position?: ReadEvent | undefined
  readonly revision?: ReadEvent | undefined
  readonly stream?: ReadEvent | undefined
  readonly metadata?: 'give metadata in the options of append' | undefined
}
type ReadEvent = 'an event that was read cannot be appended: give { type, data, version, id }'

/** Options of `append`. */
export interface AppendOptions {
  readonly metadata?: Metadata | undefined
  /**
   * An idempotency key: a second append with the same key appends nothing and returns the result of the first. Its scope
   * is the store, and it is kept as long as the store.
   */
  readonly key?: string | undefined
  /** Cancels the append until it is sent; afterwards its outcome is awaited. */
  readonly signal?: AbortSignal | undefined
}

/** What `append` resolves with. */
export interface AppendResult {
  /** The events as stored, in the given order. */
  readonly events: readonly Recorded[]
  /** The head of every named stream right after the append, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  /** The position of its last event; `undefined` if it had no events. */
  readonly position: Position | undefined
  /**
   * Whether the same event ids or key had been appended before, so that nothing was appended now. An append of this call
   * whose outcome had to be looked up counts as the first one.
   */
  readonly repeated: boolean
}

/** Options of `delete`. */
export interface DeleteOptions {
  /** The expected head of the stream, so that nothing is erased of which the caller does not know. Default: `'exists'`. */
  readonly expected?: ExpectedRevision | undefined
  /** Metadata of the event by which subscribers are told: who asked for it, for example. */
  readonly metadata?: Metadata | undefined
  /** Cancels it until it is sent; afterwards its outcome is awaited. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `truncate`. */
export interface TruncateOptions extends Omit<DeleteOptions, 'expected'> {
  /** The first revision to keep: at most the one that comes next. */
  readonly before: number
  /** The expected head of the stream. Default: `'any'`. */
  readonly expected?: ExpectedRevision | undefined
}

/** What `truncate` and `delete` resolve with. */
export interface Erasure {
  /** The position of the event by which subscribers are told; `undefined` if nothing had to be erased. */
  readonly position: Position | undefined
}

/** Options of `read`. */
export interface ReadOptions {
  /** Default: forwards. */
  readonly direction?: Direction | undefined
  /** The first revision to read, inclusive. Default: the end at which the direction begins. */
  readonly from?: number | undefined
  /** The last revision to read, inclusive. Default: the end to which the direction leads. */
  readonly to?: number | undefined
  /** The maximum number of events. Default: all. */
  readonly limit?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Options of `readAll`. */
export interface ReadAllOptions {
  /** Default: forwards. */
  readonly direction?: Direction | undefined
  /** Read only what follows this position in the direction. */
  readonly after?: Position | undefined
  /** The last position to read, inclusive. Default: the end to which the direction leads. */
  readonly to?: Position | undefined
  /** The maximum number of events. Default: all. */
  readonly limit?: number | undefined
  /** Only these streams. If `categories` are given too, an event has to match only one of the two. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Only streams of these categories: the part of a name before the first `-`. */
  readonly categories?: readonly string[] | undefined
  /** Only events of these types: a constructor also finds former names, a name only itself. */
  readonly types?: readonly (string | AnyEventType)[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** Events of a stream, and the head that it had when they were read. */
export interface EventPage<E = Recorded> {
  readonly events: readonly E[]
  /** The head of the stream. */
  readonly head: Revision
  /** `from` of the next page in the direction; `undefined` if there was nothing more to read. */
  readonly next: number | undefined
}

/** Events of all streams, and the position up to which the store was read for them. */
export interface LogPage {
  readonly events: readonly Recorded[]
  /**
   * The store was read up to this position: nothing that passes the filter is missing up to it. Forwards it is `to`, if that
   * comes before the end of the log, and never before `after`. `undefined` if the store is empty.
   */
  readonly head: Position | undefined
  /** `after` of the next page in the direction; `undefined` if there was nothing more to read. */
  readonly next: Position | undefined
}

/** Options of `streams`. */
export interface StreamsOptions {
  /** Only streams of this category: the part of a name before the first `-`. */
  readonly category?: string | undefined
  /** Only names behind this one, which need not exist: the last one of the list before. */
  readonly after?: string | undefined
  /** The maximum number of streams. Default: all. */
  readonly limit?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Where a subscription begins: at the start, at the end, after a position, or at a checkpoint. */
export type SubscribeFrom = 'start' | 'end' | (Position & {}) | Checkpoint

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /**
   * Where to begin: `'start'` (the default); `'end'`, for events that are appended from now on, or from when the store is
   * reached; after a position of this
   * store; or at a checkpoint, which is refused by another store or a restored history.
   */
  readonly from?: SubscribeFrom | undefined
  /** Only these streams. If `categories` are given too, an event has to match only one of the two. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Only streams of these categories: the part of a name before the first `-`. */
  readonly categories?: readonly string[] | undefined
  /** Only events of these types: a constructor also finds former names, a name only itself. */
  readonly types?: readonly (string | AnyEventType)[] | undefined
  /** Ends it, as `return` does. */
  readonly signal?: AbortSignal | undefined
  /** Called when the store cannot be reached, each time before a retry. */
  readonly onInterrupted?: ((error: MnemeError) => void) | undefined
}

/** A place in a store's history, from which a subscription can continue: plain JSON, to be kept anywhere. */
export interface Checkpoint {
  /** The identity of the store. */
  readonly store: string
  /** Every event up to here was handed out. */
  readonly position: Position
  /** The event's id, by which a restored history is recognised. */
  readonly id: string
}

/** An endless sequence of events, deeply frozen. Made by `store.subscribe`. */
export interface Subscription extends AsyncIterableIterator<Recorded, undefined> {
  /**
   * Where to continue another time: after the event that was handed out last, or further, if no event that passes the
   * filters follows. `undefined` means from the start.
   */
  readonly checkpoint: Checkpoint | undefined
  /**
   * The same events in pages: frozen arrays of all events that are there, at least one. Waiting for a page costs as much as waiting
   * for one event, so a consumer that handles many at once is much faster. After a page, `checkpoint` is behind its last
   * event. The pages end when the subscription ends, and the subscription with them.
   *
   * @throws InvalidArgumentError
   * @example
   * ```ts
   * for await (const page of store.subscribe({ categories: ['Door'] }).pages({ limit: 500 })) {
   *   console.log(page.length, 'events up to', page.at(-1)?.position)
   * }
   * ```
   */
  pages(options?: PagesOptions): AsyncIterableIterator<readonly Recorded[], undefined>
  /**
   * Resolves when every event that was committed before this call has been handed out, if it passes the filters, and the
   * consumer has asked for the next one, or for the next page.
   *
   * @throws the error that ends the subscription before that; StoreClosedError if it ended without an error.
   */
  caughtUp(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of a subscription's `pages`. */
export interface PagesOptions {
  /** The maximum number of events in a page. Default: 1,000. */
  readonly limit?: number | undefined
}

/** Options that every store takes. */
export interface StoreOptions {
  /** How many commands and appends may wait at once before `OverloadedError`. Default: 10,000. */
  readonly maxPending?: number | undefined
  /** How many states are cached for the next command; 0 for none. Default: 1,000. */
  readonly cachedStates?: number | undefined
  /** The keys by which the personal data of its events is sealed: `keyRing` of `mneme/erasure`. */
  readonly personal?: KeyRing | undefined
}
