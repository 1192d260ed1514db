import { type EncodedAppend, encodeWrites } from './encode.ts'
import { markMade, refuseOtherCopy } from '../base/copies.ts'
import { inCallerContext } from '../base/caller-context.ts'
import { checkDirection, checkUsableKey, streamName } from './arguments.ts'
import { tellInterrupted, watchAppend } from './diagnostics.ts'
import { checkList, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { decode } from '../model/upcast.ts'
import { ConflictError, InvalidArgumentError, KeyReusedError, type MnemeError } from '../base/errors.ts'
import type { EventsOf } from '../model/aggregate.ts'
import { type AnyEventType, eventTypeRecord } from '../model/event-type.ts'
import type { Recorded } from '../model/event.ts'
import { EventIterator } from './read-iterator.ts'
import { fingerprint } from '../model/fingerprint.ts'
import { checkMetadata, type Metadata, NO_METADATA } from '../model/metadata.ts'
import { checkEventType } from '../model/names.ts'
import { fromUse, fromVerdict } from './decode.ts'
import type { Position, Revision } from '../base/revision.ts'
import { StoreCore } from './lifecycle.ts'
import { EventSubscription } from './subscription.ts'
import type {
  AppendOptions,
  AppendResult,
  Checkpoint,
  EventStore,
  SubscribeFrom,
  ReadAllOptions,
  ReadOptions,
  StoreOptions,
  StreamWrite,
  SubscribeOptions,
  Subscription,
} from './event-store.ts'
import type {
  Appended,
  AppendRequest,
  Capabilities,
  KeyUse,
  LogFilter,
  Repeated,
  StoreAdapter,
} from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * Makes a store of an adapter. The store checks, completes, encodes and decodes; the adapter only stores.
 *
 * @throws InvalidArgumentError if an option is wrong.
 */
export function createStore(adapter: StoreAdapter, options: StoreOptions = {}): EventStore {
  const known = ['maxPending', 'cachedStates'] as const
  const { maxPending = 10_000, cachedStates = 1_000 } = checkOptions(options, 'options', known)
  const core = new StoreCore(adapter, {
    maxPending: checkWhole(maxPending, 'maxPending', 1),
    cachedStates: checkWhole(cachedStates, 'cachedStates', 0),
  })
  const store = new Store(core)
  cores.set(store, core)
  markMade(store)
  return store
}

/** The core of a store. @throws InvalidArgumentError if `createStore` did not make the store. */
export function coreOf(store: EventStore): StoreCore {
  const core = cores.get(store)
  if (!core) {
    refuseOtherCopy(store, 'store', 'the store')
    throw new InvalidArgumentError(
      'store',
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
    return watchAppend(options, (...args) => this.#append(writes, ...args))
  }

  async #append(
    writes: StreamWrite | readonly StreamWrite[],
    options: AppendOptions | undefined,
    encodedAs?: (request: AppendRequest) => void,
  ): Promise<AppendResult> {
    const { key, signal, metadata } = checkAppendOptions(options, this.capabilities)
    const encoded = encodeWrites(writes, JSON.stringify(metadata), this.capabilities)
    const request = key === undefined ? encoded : withKey(encoded, key)
    encodedAs?.(request)
    this.#core.enter()
    try {
      signal?.throwIfAborted()
      const verdict = await this.#core.commit(request, signal)
      if (verdict.kind === 'conflict') throw new ConflictError(verdict)
      if (verdict.kind === 'used') return usedResult(request, verdict.uses)
      return appendResult(request, verdict, metadata)
    } finally {
      this.#core.leave()
    }
  }

  read<S extends string | AnyStream>(
    stream: S,
    options: ReadOptions = {},
  ): AsyncIterableIterator<EventsOf<S>> {
    const name = streamName(stream, 'stream')
    checkOptions(options, 'options', ['direction', 'from', 'to', 'limit', 'signal'])
    const { from, to, limit } = options
    const signal = checkSignal(options.signal)
    const pages = this.#core.readForUser({
      stream: name,
      direction: checkDirection(options.direction),
      from: from === undefined ? undefined : checkWhole(from, 'from', 0),
      to: to === undefined ? undefined : checkWhole(to, 'to', 0),
      limit: limit === undefined ? undefined : checkWhole(limit, 'limit', 1),
    })
    const fold = typeof stream === 'string' ? undefined : stream.fold
    const decoding = { decode: fold && ((event: Recorded) => decode(fold, event)), signal }
    return new EventIterator(pages, decoding) as AsyncIterableIterator<EventsOf<S>>
  }

  readAll(options: ReadAllOptions = {}): AsyncIterableIterator<Recorded> {
    checkOptions(options, 'options', [
      'direction',
      'after',
      'to',
      'limit',
      'streams',
      'categories',
      'types',
      'signal',
    ])
    const { after, to, limit } = options
    const signal = checkSignal(options.signal)
    const pages = this.#core.readAllForUser({
      direction: checkDirection(options.direction),
      after: after === undefined ? undefined : checkPosition(after, 'after'),
      to: to === undefined ? undefined : checkPosition(to, 'to'),
      limit: limit === undefined ? undefined : checkWhole(limit, 'limit', 1),
      ...checkFilter(options),
    })
    return new EventIterator(pages, { signal })
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

  async head(stream: string | AnyStream): Promise<Revision> {
    const name = streamName(stream, 'stream')
    return this.#core.track(() => this.#core.adapter.head(name))
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

function checkFilter({ streams, categories, types }: ReadAllOptions | SubscribeOptions): LogFilter {
  return {
    streams: checkList(streams, 'streams', streamName),
    categories: checkList(categories, 'categories', streamName),
    types: checkList(types, 'types', typeNames)?.flat(),
  }
}

/** @throws InvalidArgumentError */
function checkPosition(position: Position, argument: string): Position {
  if (typeof (position as unknown) === 'string') return position
  throw new InvalidArgumentError(argument, 'a position that this store gave')
}

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

function withKey(request: EncodedAppend, key: string): EncodedAppend {
  const { conditions, events } = request
  const written = events.map(({ stream, type, version, event }) => [stream, type, version, event.data])
  const read = conditions.map(({ stream }) => stream)
  const claim = { key, fingerprint: fingerprint([written, read]), first: 0, count: events.length }
  return { ...request, keys: [claim] }
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

function usedResult(request: AppendRequest, uses: readonly KeyUse[]): AppendResult {
  const use = uses[0]
  const claim = request.keys[0]
  if (!use || use.fingerprint !== claim?.fingerprint) throw new KeyReusedError(String(claim?.key))
  return fromUse(use)
}
