import { type CheckedEvent, checkWrites, comparedOf, type EncodedAppend, encodeWrites } from './encode.ts'
import { unlessAborted } from '../base/abort.ts'
import { markMade, refuseOtherCopy } from '../base/copies.ts'
import { inCallerContext } from '../base/caller-context.ts'
import { checkDirection, checkPosition, checkUsableKey, streamName } from './arguments.ts'
import { tellInterrupted, watchAppend } from './diagnostics.ts'
import { checkList, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { decode } from '../model/upcast.ts'
import {
  ConflictError,
  InvalidArgumentError,
  KeyReusedError,
  type MnemeError,
  UnsupportedError,
} from '../base/errors.ts'
import type { EventsOf } from '../model/aggregate.ts'
import { type AnyEventType, eventTypeRecord } from '../model/event-type.ts'
import type { Recorded } from '../model/event.ts'
import { deleteStream, erasedError, truncateStream } from './erasing.ts'
import { EventIterator } from './read-iterator.ts'
import { fingerprint } from '../model/fingerprint.ts'
import { checkMetadata, type Metadata, NO_METADATA, textOf } from '../model/metadata.ts'
import { checkEventType } from '../model/names.ts'
import { fromUse, fromVerdict } from './decode.ts'
import type { Position, Revision } from '../base/revision.ts'
import type { KeyRing } from './key-ring.ts'
import { StoreCore } from './lifecycle.ts'
import { isToSeal, sealEvents } from './sealing.ts'
import { EventSubscription } from './subscription.ts'
import type {
  AppendOptions,
  AppendResult,
  Checkpoint,
  DeleteOptions,
  Erasure,
  EventPage,
  EventStore,
  LogPage,
  SubscribeFrom,
  ReadAllOptions,
  ReadOptions,
  StoreOptions,
  StreamsOptions,
  StreamWrite,
  SubscribeOptions,
  Subscription,
  TruncateOptions,
} from './event-store.ts'
import type {
  Appended,
  AppendRequest,
  Capabilities,
  KeyUse,
  LogFilter,
  ReadAllRequest,
  ReadRequest,
  Repeated,
  StoreAdapter,
  StreamSummary,
} from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * Makes a store of an adapter. The store checks, completes, encodes and decodes; the adapter only stores.
 *
 * @throws InvalidArgumentError if an option is wrong.
 */
export function createStore(adapter: StoreAdapter, options: StoreOptions = {}): EventStore {
  checkOptions(options, 'options', STORE_OPTIONS)
  const { maxPending = 10_000, cachedStates = 1_000, personal } = options
  const core = new StoreCore(adapter, {
    maxPending: checkWhole(maxPending, 'maxPending', 1),
    cachedStates: checkWhole(cachedStates, 'cachedStates', 0),
    personal: checkKeyRing(personal),
  })
  const store = new Store(core)
  cores.set(store, core)
  markMade(store)
  return store
}

/** The options of every store. */
export const STORE_OPTIONS = ['maxPending', 'cachedStates', 'personal'] as const

/** @throws InvalidArgumentError */
export function checkKeyRing(ring: KeyRing | undefined): KeyRing | undefined {
  if (ring === undefined) return undefined
  if (typeof (Object(ring) as Partial<KeyRing>).seal === 'function') return ring
  throw new InvalidArgumentError('personal', 'a key ring, made by keyRing(...) of mneme/erasure')
}

/** The core of a store. @throws InvalidArgumentError if `createStore` did not make the store. */
export function coreOf(store: EventStore, argument = 'store'): StoreCore {
  const core = cores.get(store)
  if (!core) {
    refuseOtherCopy(store, argument, 'the store')
    throw new InvalidArgumentError(
      argument,
      'a store of Mneme, made by memoryStore(), sqliteStore() or the like',
    )
  }
  return core
}

const cores = new WeakMap<EventStore, StoreCore>()

class Store implements EventStore {
  readonly #core: StoreCore

  constructor(core: StoreCore) {
    this.#core = core
  }

  get capabilities(): Capabilities {
    return this.#core.capabilities
  }

  identity(): Promise<string> {
    return this.#core.identity()
  }

  append(writes: StreamWrite | readonly StreamWrite[], options?: AppendOptions): Promise<AppendResult> {
    return watchAppend(options, (given, encodedAs) => this.#append(writes, given, encodedAs))
  }

  async #append(
    writes: StreamWrite | readonly StreamWrite[],
    options: AppendOptions | undefined,
    encodedAs?: (request: AppendRequest) => void,
  ): Promise<AppendResult> {
    const { key, signal, metadata } = checkAppendOptions(options, this.capabilities)
    const { conditions, events: checked } = checkWrites(writes, textOf(metadata))
    const events = checked.some(isToSeal) ? await unlessAborted(this.#seal(checked), signal) : checked
    const encoded = encodeWrites({ conditions, events }, this.capabilities)
    const request = key === undefined ? encoded : withKey(encoded, events, key, this.#core)
    encodedAs?.(request)
    this.#core.enter()
    try {
      signal?.throwIfAborted()
      const verdict = await this.#core.commit(request, signal)
      if (verdict.kind === 'conflict') throw new ConflictError(verdict)
      if (verdict.kind === 'erased') throw erasedError(verdict)
      if (verdict.kind === 'used') return usedResult(request, verdict.uses, this.#core)
      return appendResult(request, verdict, metadata)
    } finally {
      this.#core.leave()
    }
  }

  #seal(events: readonly CheckedEvent[]): Promise<CheckedEvent[]> {
    return this.#core.track(() => sealEvents(this.#core.options.personal, events))
  }

  read<S extends string | AnyStream>(
    stream: S,
    options: ReadOptions = {},
  ): AsyncIterableIterator<EventsOf<S>> {
    const request = checkRead(stream, options)
    return this.#events(stream, request, options.signal) as AsyncIterableIterator<EventsOf<S>>
  }

  readAll(options: ReadAllOptions = {}): AsyncIterableIterator<Recorded> {
    const request = checkReadAll(options)
    return new EventIterator(this.#core.readAllForUser(request), { signal: options.signal })
  }

  async readPage<S extends string | AnyStream>(
    stream: S,
    options: ReadOptions = {},
  ): Promise<EventPage<EventsOf<S>>> {
    const { limit = EVENTS_PER_PAGE, ...request } = checkRead(stream, options)
    const { signal } = options
    signal?.throwIfAborted()
    const head = await unlessAborted(this.head(request.stream), signal)
    if (head === 'none') return { events: [], head, next: undefined }
    // Events never change, so what is read up to the head is what was there at that moment.
    const { direction, from = head, to = head } = request
    const part = direction === 'forwards' ? { to: Math.min(to, head) } : { from: Math.min(from, head) }
    const wanted = { ...request, ...part, limit: oneMore(limit) }
    const events = (await listOf(this.#events(stream, wanted, signal))) as EventsOf<S>[]
    const next = events.length > limit ? (events.pop() as Recorded).revision : undefined
    return { events, head, next }
  }

  async readAllPage(options: ReadAllOptions = {}): Promise<LogPage> {
    const { limit = EVENTS_PER_PAGE, ...request } = checkReadAll(options)
    const { signal } = options
    signal?.throwIfAborted()
    const found = await unlessAborted(this.#core.logHead(), signal)
    if (found === undefined) return { events: [], head: found, next: undefined }
    const isForwards = request.direction === 'forwards'
    const to = isForwards ? (request.to ?? found) : request.to
    const pages = this.#core.readAllForUser({ ...request, to, limit: oneMore(limit) })
    const read = await listOf(new EventIterator(pages, { signal }))
    // Since the head was read, more may have been appended: backwards, that comes first.
    const newest = read[0]?.position ?? found
    const head = isForwards ? latest(request.after, earlier(to!, found)) : latest(newest, found)
    const events = read.filter(({ position }) => position <= head)
    const isMore = events.length > limit
    if (isMore) events.pop()
    return { events, head, next: isMore ? events.at(-1)?.position : undefined }
  }

  streams(options: StreamsOptions = {}): AsyncIterableIterator<StreamSummary, undefined> {
    checkOptions(options, 'options', ['category', 'after', 'limit', 'signal'])
    const { category, after, limit } = options
    const request = {
      category: category === undefined ? undefined : streamName(category, 'category'),
      after: after === undefined ? undefined : streamName(after, 'after'),
      limit: limit === undefined ? undefined : checkWhole(limit, 'limit', 1),
    }
    const signal = checkSignal(options.signal)
    if (!this.capabilities.listsStreams) throw new UnsupportedError(NO_LIST)
    return itemsOf(this.#core.streamsForUser(request), signal)
  }

  #events(stream: string | AnyStream, request: ReadRequest, signal: AbortSignal | undefined): EventIterator {
    const fold = typeof stream === 'string' ? undefined : stream.fold
    const pages = this.#core.readForUser(request)
    return new EventIterator(pages, { decode: fold && ((event) => decode(fold, event)), signal })
  }

  subscribe(options: SubscribeOptions = {}): Subscription {
    checkOptions(options, 'options', ['from', 'streams', 'categories', 'types', 'signal', 'onInterrupted'])
    const { from = 'start', onInterrupted = () => undefined } = options
    if (typeof (onInterrupted as unknown) !== 'function') {
      throw new InvalidArgumentError('onInterrupted', 'a function')
    }
    const interrupted = (error: MnemeError) => {
      tellInterrupted(error)
      onInterrupted(error)
    }
    const wanted = {
      from: checkFrom(from),
      ...checkFilter(options),
      interrupted: inCallerContext(interrupted),
    }
    return new EventSubscription(this.#core, wanted, checkSignal(options.signal))
  }

  truncate(stream: string | AnyStream, options: TruncateOptions): Promise<Erasure> {
    return truncateStream(this.#core, stream, options)
  }

  delete(stream: string | AnyStream, options: DeleteOptions = {}): Promise<Erasure> {
    return deleteStream(this.#core, stream, options)
  }

  async head(stream: string | AnyStream): Promise<Revision> {
    const name = streamName(stream, 'stream')
    const [head] = await this.#core.track(() => this.#core.heads([name]))
    return head!
  }

  logHead(): Promise<Position | undefined> {
    return this.#core.logHead()
  }

  close(): Promise<void> {
    return this.#core.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Events in a page whose caller states no limit. */
const EVENTS_PER_PAGE = 1_000
const NO_LIST =
  'this store has no index of the names of streams, so it cannot list them without reading all events: keep a list by a projection'

function earlier(a: Position, b: Position): Position {
  return a < b ? a : b
}

function latest(a: Position | undefined, b: Position): Position {
  return a !== undefined && a > b ? a : b
}

/** One more event than a page may have tells whether there is another page. */
function oneMore(limit: number): number {
  return Math.min(limit + 1, Number.MAX_SAFE_INTEGER)
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

/** The items of pages, one by one. */
async function* itemsOf<T>(
  pages: AsyncIterableIterator<readonly T[], undefined>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, undefined> {
  try {
    for (;;) {
      signal?.throwIfAborted()
      const { done, value } = await unlessAborted(pages.next(), signal)
      if (done) return undefined
      for (const item of value) {
        signal?.throwIfAborted()
        yield item
      }
    }
  } finally {
    // Not awaited: a page may still be on its way.
    void Promise.resolve(pages.return?.()).catch(() => undefined)
  }
}

function checkRead(stream: string | AnyStream, options: ReadOptions): ReadRequest {
  const name = streamName(stream, 'stream')
  checkOptions(options, 'options', ['direction', 'from', 'to', 'limit', 'signal'])
  checkSignal(options.signal)
  const { from, to, limit } = options
  return {
    stream: name,
    direction: checkDirection(options.direction),
    from: from === undefined ? undefined : checkWhole(from, 'from', 0),
    to: to === undefined ? undefined : checkWhole(to, 'to', 0),
    limit: limit === undefined ? undefined : checkWhole(limit, 'limit', 1),
  }
}

function checkReadAll(options: ReadAllOptions): ReadAllRequest {
  const known = ['direction', 'after', 'to', 'limit', 'streams', 'categories', 'types', 'signal'] as const
  checkOptions(options, 'options', known)
  checkSignal(options.signal)
  const { after, to, limit } = options
  return {
    direction: checkDirection(options.direction),
    after: checkPosition(after, 'after'),
    to: checkPosition(to, 'to'),
    limit: limit === undefined ? undefined : checkWhole(limit, 'limit', 1),
    ...checkFilter(options),
  }
}

function checkFilter({ streams, categories, types }: ReadAllOptions | SubscribeOptions): LogFilter {
  return {
    streams: checkList(streams, 'streams', streamName),
    categories: checkList(categories, 'categories', streamName),
    types: checkList(types, 'types', typeNames)?.flat(),
  }
}

/** @throws InvalidArgumentError */
function checkFrom(from: SubscribeFrom): SubscribeFrom {
  const { store, position, id } = Object(from) as Partial<Checkpoint>
  const isCheckpoint = [store, position, id].every((text) => typeof text === 'string')
  if (isCheckpoint || (typeof from === 'string' && from !== '')) return from
  throw new InvalidArgumentError('from', "'start', 'end', a position that this store gave, or a checkpoint")
}

/** The names under which events of a type are stored. */
function typeNames(type: string | AnyEventType, argument: string): readonly string[] {
  if (typeof type === 'string' || typeof (type as unknown) !== 'function') {
    return [checkEventType(type as string, argument)]
  }
  const record = eventTypeRecord(type)
  return [record.type, ...record.formerly]
}

interface CheckedAppendOptions {
  readonly key: string | undefined
  readonly signal: AbortSignal | undefined
  readonly metadata: Metadata
}

const NO_OPTIONS: CheckedAppendOptions = { key: undefined, signal: undefined, metadata: NO_METADATA }

function checkAppendOptions(
  options: AppendOptions | undefined,
  capabilities: Capabilities,
): CheckedAppendOptions {
  if (options === undefined) return NO_OPTIONS
  checkOptions(options, 'options', ['metadata', 'key', 'signal'])
  const { key } = options
  return {
    key: key === undefined ? undefined : checkUsableKey(key, capabilities),
    signal: checkSignal(options.signal),
    metadata: checkMetadata(options.metadata),
  }
}

/** @param checked the events, with what a key is compared by. */
function withKey(
  request: EncodedAppend,
  checked: readonly CheckedEvent[],
  key: string,
  core: StoreCore,
): EncodedAppend & { readonly fingerprint: string } {
  const { conditions, events } = request
  const written = events.map(({ stream, type, version }, i) => [
    stream,
    type,
    version,
    comparedOf(checked[i]!),
  ])
  const read = conditions.map(({ stream }) => stream)
  const own = fingerprint([written, read])
  const claim = { key, fingerprint: core.keptFingerprint(own), first: 0, count: events.length }
  return { ...request, keys: [claim], fingerprint: own }
}

function appendResult(
  request: EncodedAppend,
  verdict: Appended | Repeated,
  metadata: Metadata,
): AppendResult {
  const events = fromVerdict(request.events, verdict, metadata)
  const revisions = new Map<string, Revision>()
  request.conditions.forEach(({ stream }, i) => revisions.set(stream, verdict.heads[i]!))
  return {
    events,
    revisions,
    position: events.at(-1)?.position,
    repeated: verdict.kind === 'repeated',
  }
}

function usedResult(
  { keys, fingerprint: own }: AppendRequest & { readonly fingerprint?: string },
  uses: readonly KeyUse[],
  core: StoreCore,
): AppendResult {
  const use = uses[0]
  if (!use || own === undefined || !core.isFingerprint(use.fingerprint, own)) {
    throw new KeyReusedError(String(keys[0]?.key))
  }
  return fromUse(use)
}
