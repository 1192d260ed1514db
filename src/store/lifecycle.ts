import { OverloadedError, StoreClosedError } from '../base/errors.ts'
import type { Position, Revision } from '../base/revision.ts'
import { ERASURES_STREAM } from '../model/erasures.ts'
import { ofErasures } from './arguments.ts'
import { watchPages } from './diagnostics.ts'
import type { KeyRing } from './key-ring.ts'
import type {
  AppendRequest,
  AppendVerdict,
  Capabilities,
  EraseRequest,
  EraseVerdict,
  KeptKey,
  ReadAllRequest,
  ReadRequest,
  SnapshotKeeper,
  StoreAdapter,
  StoredEvent,
  StreamsRequest,
  StreamSummary,
  SubscribedPage,
  SubscribeRequest,
} from '../adapter/store-adapter.ts'

const NO_KEYS: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
}

type Pages<Page> = AsyncIterableIterator<Page, undefined>

/** The options of a store, with defaults filled in. */
export interface StoreSettings {
  readonly maxPending: number
  readonly cachedStates: number
  readonly personal?: KeyRing | undefined
}

/** An adapter with its life cycle: it counts calls in flight, bounds how many wait, and closes. */
export class StoreCore {
  readonly adapter: StoreAdapter
  readonly options: StoreSettings
  #pending = 0
  #running = 0
  #idle: (() => void) | undefined
  #closing: Promise<void> | undefined
  readonly #atClose = new Set<() => Promise<unknown>>()
  readonly #atDelete = new Set<(stream: string) => void>()

  constructor(adapter: StoreAdapter, options: StoreSettings) {
    this.adapter = adapter
    this.options = options
  }

  /** Whether `close` was called. */
  get isClosing(): boolean {
    return this.#closing !== undefined
  }

  get capabilities(): Capabilities {
    return this.adapter.capabilities
  }

  /** Where snapshots are kept, if the store keeps any. */
  get snapshots(): SnapshotKeeper | undefined {
    return this.capabilities.snapshots ? this.adapter.snapshots : undefined
  }

  /**
   * Begins a user's append or command, unless too many are waiting; {@link leave} ends it.
   *
   * @throws StoreClosedError, OverloadedError
   */
  enter(): void {
    if (this.#closing) throw new StoreClosedError()
    if (this.#pending >= this.options.maxPending) throw new OverloadedError(this.#pending)
    this.#pending++
    this.#running++
  }

  /** Ends a call that {@link enter} began. */
  leave(): void {
    this.#pending--
    this.#ended()
  }

  /** Runs another call while the store is open; closing waits for it. @throws StoreClosedError */
  async track<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closing) throw new StoreClosedError()
    this.#running++
    try {
      return await call()
    } finally {
      this.#ended()
    }
  }

  /**
   * What a store keeps of a fingerprint with an idempotency key: with a key ring a keyed hash, because the plain one could be
   * found by trying out personal data.
   */
  keptFingerprint(fingerprint: string): string {
    const { personal } = this.options
    return personal ? `keyed:${personal.hash(fingerprint)}` : fingerprint
  }

  /** Whether a store's fingerprint is this one, also if it was kept before the store had a key ring. */
  isFingerprint(kept: string, fingerprint: string): boolean {
    return kept === fingerprint || kept === this.keptFingerprint(fingerprint)
  }

  /** Appends a checked and encoded request, for a call that has entered. */
  commit(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    if (request.conditions.some(({ stream }) => stream === ERASURES_STREAM))
      return this.#noted(request, signal)
    return this.adapter.append(request, signal)
  }

  /** An append that names the stream of erasures may only read it. */
  async #noted(request: AppendRequest, signal?: AbortSignal): Promise<AppendVerdict> {
    if (request.events.some(({ stream }) => stream === ERASURES_STREAM)) throw ofErasures()
    return this.adapter.append(request, signal)
  }

  /** Truncates or deletes a stream, for a call that has entered. */
  async erase(request: EraseRequest, signal?: AbortSignal): Promise<EraseVerdict> {
    const verdict = await this.adapter.erase!(request, signal)
    if (request.before === undefined) for (const deleted of this.#atDelete) deleted(request.stream)
    return verdict
  }

  /** Calls back when this process deletes a stream, or tries to. */
  atDelete(callback: (stream: string) => void): void {
    this.#atDelete.add(callback)
  }

  /** A stream's pages, for a call that has entered. */
  read(request: ReadRequest): AsyncIterable<readonly StoredEvent[]> {
    return watchPages(request.stream, request.direction, this.adapter.read(request))
  }

  /** A stream's pages for a user. Closing does not wait for the consumer, who may stop between two pages for ever. */
  readForUser(request: ReadRequest): Pages<readonly StoredEvent[]> {
    return this.#whileOpen(this.read(request))
  }

  /** The store's pages for a user. */
  readAllForUser(request: ReadAllRequest): Pages<readonly StoredEvent[]> {
    return this.#whileOpen(watchPages(undefined, request.direction, this.adapter.readAll(request)))
  }

  /** Pages of the store's streams for a user; the store declares that it lists them. */
  streamsForUser(request: StreamsRequest): Pages<readonly StreamSummary[]> {
    return this.#whileOpen(this.adapter.streams!(request))
  }

  /** Pages of the store's idempotency keys for a user; none, if it cannot give them. */
  keysForUser(after: Position | undefined): Pages<readonly KeptKey[]> {
    return this.#whileOpen(this.adapter.keys?.(after) ?? NO_KEYS)
  }

  identity(): Promise<string> {
    return this.track(() => this.adapter.identity())
  }

  /** The heads of streams as of one moment, for a call that has entered. */
  heads(streams: readonly string[]): Promise<readonly Revision[]> {
    return this.adapter.heads(streams)
  }

  logHead(): Promise<Position | undefined> {
    return this.track(() => this.adapter.logHead())
  }

  /** The id of the event at a position. */
  idAt(position: Position): Promise<string | undefined> {
    return this.track(() => this.adapter.idAt(position))
  }

  /** A subscription's pages. The caller ends them when the store is closed: see {@link atClose}. */
  subscribe(request: SubscribeRequest): AsyncIterator<SubscribedPage, undefined> {
    if (this.#closing) throw new StoreClosedError()
    const pages = this.adapter.subscribe(request)
    return pages[Symbol.asyncIterator]() as AsyncIterator<SubscribedPage, undefined>
  }

  /** Calls back when the store is closed, and closing waits for it. @returns a function that removes it. @throws StoreClosedError */
  atClose(callback: () => Promise<unknown>): () => void {
    if (this.#closing) throw new StoreClosedError()
    this.#atClose.add(callback)
    return () => this.#atClose.delete(callback)
  }

  /** Waits for calls in flight, then closes the adapter. Returns the same promise each time. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#atClose].map((callback) => callback()))
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    await this.adapter.close()
  }

  #ended(): void {
    if (--this.#running === 0) this.#idle?.()
  }

  #whileOpen<Page>(pages: AsyncIterable<Page>): Pages<Page> {
    const iterator = pages[Symbol.asyncIterator]() as AsyncIterator<Page, undefined>
    return {
      next: () => this.track(() => iterator.next()),
      return: async () => {
        await iterator.return?.()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }
}
