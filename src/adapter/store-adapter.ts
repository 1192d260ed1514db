import type { MnemeError } from '../base/errors.ts'
import type { ExpectedRevision, Position, Revision } from '../base/revision.ts'

/**
 * What a store must do to be one of Mneme's. The public face (`createStore`) validates, defaults, encodes and
 * decodes, so an adapter receives exact, checked arguments and only stores.
 *
 * Each promise below is proved by a case of the contract suite (`mneme/testing`) of the same number, whose
 * name begins with it. An adapter throws nothing but Mneme's errors.
 */
export interface StoreAdapter {
  readonly capabilities: Capabilities

  /** A UUID, made once for a store's data and kept with it: also after a restart, a move or a copy of the data. */
  identity(): Promise<string>

  /**
   * Appends all of the events or none (W1), if every condition holds at that very moment (W2); nothing else
   * may come between the conditions and the events. Resolves once it is durable (W5).
   *
   * - The events get consecutive revisions in their streams and adjacent positions, in the order given (R1).
   * - Without events it only checks its conditions.
   * - The same event ids again, with the same exact expectation (`'none'` or a revision) on at least one stream
   *   that they are written to: nothing is written, and the answer is `repeated`, with what the first append stored
   *   (W4), whatever was appended since. The first events of an earlier append count as a repeat of it, too.
   * - A key that is known already: nothing is written, and the answer is `used`; judged before the conditions.
   * - If the commit's outcome is in doubt, the adapter finds it out; if it cannot, it throws `OutcomeUnknownError`.
   * - `signal` may be honoured as long as nothing was sent. Afterwards the true outcome is awaited.
   *
   * Calls made at once may be committed together. Each has a verdict of its own, as if made one after the other.
   */
  append(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict>

  /**
   * A stream's events in pages, in the order asked for: of those there at the first page, all; of those that
   * come later, any prefix. A page is asked for when the one before it is consumed; between pages nothing is
   * held open. `return()` frees what is held at once (R4).
   *
   * A stream whose events were all erased differs from one that never existed: read forwards from its beginning, it gives
   * one empty page. So does a stream of which the rest was erased while it was read forwards.
   *
   * @throws StreamDeletedError
   */
  read(request: ReadRequest): AsyncIterable<readonly StoredEvent[]>

  /** The events of all streams in the order of the store, in pages as `read`. Filters run in the store. */
  readAll(request: ReadAllRequest): AsyncIterable<readonly StoredEvent[]>

  /**
   * The streams that have an event, in the order of their names' bytes in UTF-8, in pages as `read`; found by an index of
   * names, without reading the events. Only if `listsStreams` is declared.
   */
  streams?(request: StreamsRequest): AsyncIterable<readonly StreamSummary[]>

  /** The revision of the last event of each stream, all as of one moment during the call. @throws StreamDeletedError */
  heads(streams: readonly string[]): Promise<readonly Revision[]>

  /**
   * Erases the first events of a stream, or deletes the stream for good, and appends the notice, in one commit; afterwards no
   * read of the stream gives an erased event (E4), and no call does if `erasesAtOnce` is declared. Only if `truncation` is declared.
   *
   * - Truncated, a stream stands where it stood. Deleted, it is deleted by every call that names it, whatever it expects, and
   *   no append of any process comes after the deletion (E3).
   * - Positions and ids of erased events stay known to `idAt`. A repeat of an append, or a used key, of which an event was
   *   erased is `erased`, or is answered as before; it is never appended again.
   * - Judged in this order: `erased` if it is deleted already, then the expected revision, then `beyond`, then `unchanged`.
   */
  erase?(request: EraseRequest, signal?: AbortSignal): Promise<EraseVerdict>

  /**
   * Lets a stream go on at a revision as if the events between its head and there had been appended and erased: for a copy of
   * a stream whose beginning is gone. Each of them keeps a place, which no read gives. Only if `truncation` and `imports` are declared.
   *
   * Of many events it may skip some in a commit of its own, so that a call that failed leaves a stream that is skipped in part.
   */
  skip?(request: SkipRequest): Promise<SkipVerdict>

  /**
   * The idempotency keys that are kept, in the order of their events, in pages as `read`: at least those up to where the log
   * stood when the first page was asked for. Only if `keys` and `imports` are declared.
   *
   * @param after only keys whose first event comes after this position.
   */
  keys?(after: Position | undefined): AsyncIterable<readonly KeptKey[]>

  /** The position of the last event of the store; `undefined` if it has none. */
  logHead(): Promise<Position | undefined>

  /** The id of the event at a position; `undefined` if there is none. */
  idAt(position: Position): Promise<string | undefined>

  /**
   * Events as they come: first the stored ones behind a place, then each new one, whichever process appends it, without an
   * end (R2). Each event asked for is given once, in the order of the store, also if it becomes visible late. `tailLog`
   * makes this of a log that can be scanned and watched.
   *
   * - A page is asked for when the one before it is consumed. However slow that is, no more than a few pages are held.
   * - A page without events says how far the log was scanned meanwhile, or that it was scanned to its end.
   * - While it is behind it never sleeps; an event that is appended then comes within milliseconds (R3).
   * - If the store is unreachable for a while, it calls `interrupted`, waits, and continues by itself.
   * - Ends, without an error and with nothing held, once `signal` is aborted, also while a page is waited for.
   *
   * @throws HistoryRewoundError if, now or later, no event with that id stands at `after`.
   */
  subscribe(request: SubscribeRequest): AsyncIterable<SubscribedPage>

  /** States of streams, kept beside the log. Only if `snapshots` is declared. */
  readonly snapshots?: SnapshotKeeper

  /** Waits for calls in flight, then frees everything, so that a process can end by itself. Called once. */
  close(): Promise<void>
}

/** Optional features of a store. */
export interface Capabilities {
  /** Several streams in one append, and conditions on streams that are only read. */
  readonly severalStreams: boolean
  /** Idempotency keys. */
  readonly keys: boolean
  /** Whether an append with `'any'` or `'exists'` whose commit was in doubt is settled. */
  readonly settlesAny: boolean
  /** Whether it truncates and deletes streams. */
  readonly truncation: boolean
  /** Whether erased events are gone from the log at once; if not, only from their streams until the server tidies up. */
  readonly erasesAtOnce: boolean
  /** Whether it lists its streams. */
  readonly listsStreams: boolean
  /** Whether imported events keep the time at which they were recorded. */
  readonly imports: boolean
  /** Whether it keeps snapshots of states. */
  readonly snapshots: boolean
  /** What would provide the missing features, for the error that says they are missing. */
  readonly needed?: string
}

/** One append, checked and encoded. */
export interface AppendRequest {
  /** Each stream once, written or only read. Names that differ only in case never come together. */
  readonly conditions: readonly Condition[]
  /** In the order in which they are to be stored. Each one's stream is among the conditions. */
  readonly events: readonly NewEvent[]
  /** Idempotency keys, with the events that each one covers. Usually none or one. */
  readonly keys: readonly KeyClaim[]
  /**
   * `'given'`: the caller gave the ids of some events, so that they may be a repeat of an earlier append. `'made'`:
   * all of them were made for this one.
   */
  readonly ids: 'given' | 'made'
}

/** A stream with its expected revision. */
export interface Condition {
  readonly stream: string
  readonly expected: ExpectedRevision
}

/** An event to be stored. */
export interface NewEvent {
  readonly stream: string
  readonly id: string
  readonly type: string
  readonly version: number
  /** JSON text of an object. */
  readonly data: string
  /** JSON text of an object of strings. */
  readonly metadata: string
  /** When it was recorded, if it is imported: it keeps this time. Only if `imports` is declared. ISO 8601, UTC, milliseconds. */
  readonly time?: string
}

/** An idempotency key, kept with the events `first` to `first + count - 1` of its append; none keep no key. */
export interface KeyClaim {
  readonly key: string
  /** Of what the key stands for; compared by the public face. */
  readonly fingerprint: string
  readonly first: number
  readonly count: number
  /**
   * The streams that its append named, if it is imported together with others. A store that keeps the heads of all conditions'
   * streams instead gives more of them back with a repeated key.
   */
  readonly streams?: readonly string[] | undefined
}

/** An idempotency key, with the events that it covers. */
export interface KeptKey {
  readonly key: string
  readonly fingerprint: string
  /** The positions of its first and of its last event. */
  readonly from: Position
  readonly through: Position
  /** The streams of its append's conditions. */
  readonly streams: readonly string[]
}

/** An event as the store keeps it. The public face changes nothing of it. */
export interface StoredEvent extends NewEvent {
  readonly revision: number
  readonly position: Position
  readonly time: string
}

/** The outcome of an append. */
export type AppendVerdict = Appended | Repeated | Conflict | KeyUsed | EventsErased

/** It was appended. */
export interface Appended {
  readonly kind: 'appended'
  /** The revision of each event of the request. */
  readonly revisions: readonly number[]
  /** The position of each event of the request. */
  readonly positions: readonly Position[]
  /** When the store took them: ISO 8601, UTC, milliseconds. */
  readonly time: string
  /** The head of each condition's stream after it. */
  readonly heads: readonly Revision[]
}

/** It had been appended before. Nothing was written. */
export interface Repeated {
  readonly kind: 'repeated'
  /** The events as the first append stored them. */
  readonly events: readonly StoredEvent[]
  /**
   * The head of each condition's stream after it; the present head for a stream that is only read under `'any'` or
   * `'exists'`.
   */
  readonly heads: readonly Revision[]
}

/** A condition did not hold. Nothing was written. */
export interface Conflict {
  readonly kind: 'conflict'
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly actual: Revision
}

/** Keys were used before. Nothing was written. */
export interface KeyUsed {
  readonly kind: 'used'
  readonly uses: readonly KeyUse[]
}

/** It names a deleted stream, or it repeats an append of which an event was erased. Nothing was written. */
export interface EventsErased {
  readonly kind: 'erased'
  readonly stream: string
  /** The first revision that the stream still has, or that comes next; `undefined` if the stream was deleted for good. */
  readonly firstRevision: number | undefined
}

/** What to erase of a stream. */
export interface EraseRequest {
  readonly stream: string
  readonly expected: ExpectedRevision
  /** Erase the events before this revision; `undefined`: delete the stream for good. */
  readonly before: number | undefined
  /** The event that tells of it, for a stream of its own, where it stands under any expectation. */
  readonly notice: NewEvent
}

/** The outcome of an erasure; nothing was written unless it is `done`. */
export type EraseVerdict =
  /** Erased; the position of the notice. */
  | { readonly kind: 'done'; readonly position: Position }
  /** Nothing to do: the stream had begun at that revision, or behind it. */
  | { readonly kind: 'unchanged' }
  /** The stream does not reach the revision before which it is to be truncated. */
  | { readonly kind: 'beyond'; readonly head: Revision }
  | Conflict
  | EventsErased

/** Which revisions of a stream to skip. */
export interface SkipRequest {
  readonly stream: string
  /** Where the stream stands. */
  readonly expected: Revision
  /** The revision at which it is to go on: behind the next one. */
  readonly before: number
}

/** The outcome of skipping revisions. */
export type SkipVerdict = { readonly kind: 'done' } | Conflict | EventsErased

/** What an earlier append with this key gave. */
export interface KeyUse {
  readonly key: string
  readonly fingerprint: string
  /** The events that the key covered. */
  readonly events: readonly StoredEvent[]
  /** The head of each stream of that append's conditions after those events, in the order of the conditions. */
  readonly heads: readonly (readonly [stream: string, revision: Revision])[]
}

/** Which events of a stream to read. */
export interface ReadRequest {
  readonly stream: string
  readonly direction: Direction
  /** The first revision to read, inclusive; `undefined`: from the end that the direction begins at. */
  readonly from: number | undefined
  /** The last revision to read, inclusive; `undefined`: to the end that the direction leads to. */
  readonly to: number | undefined
  /** How many events at most; `undefined`: all. */
  readonly limit: number | undefined
}

/** Which events of the log are asked for. */
export interface LogFilter {
  /** Only streams of these names or categories; `undefined`: all. Either is enough. */
  readonly streams: readonly string[] | undefined
  readonly categories: readonly string[] | undefined
  /** Only events of these types; `undefined`: all. */
  readonly types: readonly string[] | undefined
}

/** Which events of the store to read. */
export interface ReadAllRequest extends LogFilter {
  readonly direction: Direction
  /** Read what follows this position in the direction; `undefined`: from the end that it begins at. */
  readonly after: Position | undefined
  /**
   * The last position to read, inclusive, whether an event stands there or not; `undefined`: to the end that the direction
   * leads to.
   */
  readonly to: Position | undefined
  readonly limit: number | undefined
}

/**
 * Keeps snapshots beside the log (H1): they are in no stream that can be read, and have no position. Mneme uses a snapshot
 * only after it found its event in the stream, and can do without any: a snapshot may be lost, old, or unreadable.
 */
export interface SnapshotKeeper {
  /** The snapshot of a stream that was kept last under a name. */
  get(stream: string, name: string): Promise<Snapshot | undefined>

  /**
   * Keeps a snapshot in place of the one before it, unless its event is no longer in the stream at its revision. It needs
   * not be durable, and holds up no append.
   *
   * @returns whether it was kept.
   */
  put(snapshot: NamedSnapshot): Promise<boolean>

  /**
   * Removes all snapshots of a stream. A snapshot whose event is removed from its stream must be removed with it, also one
   * that is being put at the same time.
   */
  delete(stream: string): Promise<void>

  /** The streams that have a snapshot of a name, in the order of their names, if the store can list them. */
  list?(request: SnapshotsRequest): Promise<readonly string[]>
}

/** A state, kept with the last of the events that it was folded from. */
export interface Snapshot {
  readonly revision: number
  /** The id of the event at that revision. */
  readonly id: string
  /** A text of the public face's, at most as long as the data of an event may be. */
  readonly content: string
}

/** A snapshot with its place. */
export interface NamedSnapshot extends Snapshot {
  readonly stream: string
  readonly name: string
}

/** Which streams with snapshots to list. */
export interface SnapshotsRequest {
  readonly name: string
  /** Only streams behind this one; `undefined`: from the first. */
  readonly after: string | undefined
  readonly limit: number
}

/** Which streams to list. */
export interface StreamsRequest {
  /** Only streams of this category; `undefined`: all. */
  readonly category: string | undefined
  /** Only names behind this one, which need not exist; `undefined`: from the first. */
  readonly after: string | undefined
  readonly limit: number | undefined
}

/** A stream of a list. */
export interface StreamSummary {
  readonly stream: string
  /** The revision of its last event. */
  readonly revision: number
  /** How many events it has. */
  readonly events: number
}

/** A place in the log: immediately behind this event. */
export interface LogPlace {
  readonly position: Position
  /** The id of the event there, by which a different history is recognised. */
  readonly id: string
}

/** Which events to subscribe to. */
export interface SubscribeRequest extends LogFilter {
  /** Only events behind it; `undefined`: from the beginning. */
  readonly after: LogPlace | undefined
  /** Ends it. */
  readonly signal: AbortSignal
  /** Called with each error after which the subscription continues by itself. */
  readonly interrupted: (error: MnemeError) => void
}

/** A page of a subscription. */
export interface SubscribedPage {
  /** The events asked for; there may be none. */
  readonly events: readonly StoredEvent[]
  /** The place up to which the log was scanned, never before the last of the events. `undefined`: the log is empty. */
  readonly through: LogPlace | undefined
  /** Whether there was nothing behind it. */
  readonly isCaughtUp: boolean
  /** Whether other subscriptions are given the same objects: then each is decoded once for all of them. */
  readonly isShared?: boolean
  /** Whether other subscriptions are given this very list of them, which is then decoded as a whole. */
  readonly isSharedPage?: boolean
}

/** The order of reading. */
export type Direction = 'forwards' | 'backwards'
