import { checkOptions, checkWhole } from '../base/arguments.ts'
import {
  CheckpointFromAnotherStoreError,
  historyRewound,
  type MnemeError,
  StoreClosedError,
} from '../base/errors.ts'
import type { Recorded } from '../model/event.ts'
import { onAbort } from '../base/abort.ts'
import { retryUntilReached } from '../base/retry.ts'
import type { Position } from '../base/revision.ts'
import { frozenFromStored, sharedFromStored, sharedPageFromStored } from './decode.ts'
import { tellPage } from './diagnostics.ts'
import type { StoreCore } from './lifecycle.ts'
import type { Checkpoint, PagesOptions, SubscribeFrom, Subscription } from './event-store.ts'
import type { LogPlace, StoredEvent, SubscribedPage, SubscribeRequest } from '../adapter/store-adapter.ts'

/** The settings of a subscription. */
export type Wanted = Omit<SubscribeRequest, 'after' | 'signal'> & { readonly from: SubscribeFrom }

/** Hands out the events of a store's subscription, one by one or in pages. */
export class EventSubscription implements Subscription {
  readonly #wanted: Wanted
  readonly #core: StoreCore
  /** Whether the store was closed already when this was made. */
  readonly #isTooLate: boolean
  /** The place to begin at; looked up at once for `'end'`, which moves. */
  #place: Promise<LogPlace | undefined> | undefined
  #pages: AsyncIterator<SubscribedPage, undefined> | undefined
  #identity = ''
  #page: readonly StoredEvent[] = []
  /** Whether other subscriptions are given the same events, or the same list of them. */
  #isShared = false
  #isSharedPage = false
  #next = 0
  #through: LogPlace | undefined
  #checkpoint: LogPlace | undefined
  #isCaughtUp = false
  #isWaiting = false
  #over: { readonly error?: unknown } | undefined
  readonly #ending = new AbortController()
  readonly #unlisten: (() => void)[] = []
  /** Set while a page is being read: further calls wait for it. */
  #turning: Promise<unknown> | undefined
  #interrupt: (() => void) | undefined
  #listeners: Listener[] = []

  constructor(core: StoreCore, wanted: Wanted, signal: AbortSignal | undefined) {
    this.#core = core
    this.#isTooLate = core.isClosing
    this.#wanted = wanted
    if (signal) {
      this.#unlisten.push(onAbort(signal, () => void this.return()))
      if (signal.aborted) void this.return()
    }
    if (wanted.from === 'end' && !this.#over) {
      this.#place = placeOf(core, 'end')
      this.#place.catch(() => undefined)
    }
  }

  get checkpoint(): Checkpoint | undefined {
    const place = this.#checkpoint
    return place && { store: this.#identity, position: place.position, id: place.id }
  }

  next(): Promise<IteratorResult<Recorded, undefined>> {
    if (this.#turning) return this.#turning.then(() => this.next())
    if (this.#over) return Promise.resolve(OVER)
    const stored = this.#page[this.#next]
    if (!stored) return this.#turnPage(() => this.next())
    try {
      const value = this.#isSharedPage ? sharedPageFromStored(this.#page)[this.#next]! : this.#decode(stored)
      this.#next++
      this.#checkpoint = stored
      return Promise.resolve({ done: false, value })
    } catch (error) {
      return this.#failed(error)
    }
  }

  pages(options: PagesOptions = {}): AsyncIterableIterator<readonly Recorded[], undefined> {
    const { limit = MAX_EVENTS_PER_PAGE } = checkOptions(options, 'options', ['limit'])
    checkWhole(limit, 'limit', 1)
    const pages: AsyncIterableIterator<readonly Recorded[], undefined> = {
      next: () => this.#nextPage(limit),
      return: () => this.return(),
      [Symbol.asyncIterator]: () => pages,
    }
    return pages
  }

  #nextPage(limit: number): Promise<IteratorResult<readonly Recorded[], undefined>> {
    if (this.#turning) return this.#turning.then(() => this.#nextPage(limit))
    if (this.#over) return Promise.resolve(OVER)
    if (this.#next === this.#page.length) return this.#turnPage(() => this.#nextPage(limit))
    try {
      const value = this.#decodePage(limit)
      this.#next += value.length
      this.#checkpoint = this.#page[this.#next - 1]
      return Promise.resolve({ done: false, value })
    } catch (error) {
      return this.#failed(error)
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#end({})
    await this.#pages?.return?.()
    return OVER
  }

  caughtUp(): Promise<void> {
    if (this.#over) return this.#failure(this.#over)
    return new Promise((resolve, reject) => {
      const listener: Listener = { resolve, reject, until: undefined }
      this.#listeners.push(listener)
      void this.#aim(listener)
    })
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- async, so that it rejects with any value
  async #failure({ error = new StoreClosedError() }: { readonly error?: unknown }): Promise<never> {
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #decode(stored: StoredEvent): Recorded {
    return this.#isShared ? sharedFromStored(stored) : frozenFromStored(stored)
  }

  /** The events that come next, at most so many. */
  #decodePage(limit: number): readonly Recorded[] {
    const isWhole = this.#next === 0 && this.#page.length <= limit
    if (this.#isSharedPage && isWhole) return sharedPageFromStored(this.#page)
    const end = this.#next + limit
    if (this.#isSharedPage) return Object.freeze(sharedPageFromStored(this.#page).slice(this.#next, end))
    return Object.freeze(this.#page.slice(this.#next, end).map((stored) => this.#decode(stored)))
  }

  /** An event cannot be decoded: this ends the subscription. */
  async #failed(error: unknown): Promise<never> {
    this.#end({ error })
    await this.return()
    throw error
  }

  async #turnPage<T>(next: () => Promise<T>): Promise<T> {
    const turning = this.#waitForPage()
    this.#turning = turning.catch(() => undefined)
    try {
      await turning
    } catch (error) {
      this.#end({ error })
      throw error
    } finally {
      this.#turning = undefined
    }
    return next()
  }

  /** Resolves when a page has events, or the subscription has ended. */
  async #waitForPage(): Promise<void> {
    this.#pages ??= await this.#unlessOver(this.#begin())
    this.#isWaiting = true
    while (this.#pages && !this.#over) {
      // No event that passes the filters lies between the last event and this place.
      this.#checkpoint = this.#through
      this.#tell()
      const result = await this.#unlessOver(this.#pages.next())
      if (!result) break
      if (result.done) {
        this.#end({})
        break
      }
      tellPage(result.value)
      const { events, through, isCaughtUp, isShared, isSharedPage } = result.value
      this.#through = through
      this.#isCaughtUp = isCaughtUp
      if (events.length === 0) continue
      this.#page = events
      this.#isShared = isShared === true
      this.#isSharedPage = isSharedPage === true
      this.#next = 0
      break
    }
    this.#isWaiting = false
  }

  /** Looks up the end of the log, which its consumer is to reach: an acknowledged event may still be on its way here. */
  async #aim(listener: Listener): Promise<void> {
    const head = await this.#retried(listener, () => this.#core.logHead())
    if (!head) return
    listener.until = { position: head.value }
    this.#tell()
  }

  /** Resolves those that wait to have caught up, if the consumer has taken every event up to where they wait for. */
  #tell(): void {
    if (!this.#isWaiting || !this.#isCaughtUp) return
    const at = this.#through?.position
    this.#listeners = this.#listeners.filter((listener) => {
      const { until } = listener
      if (!until) return true
      const { position } = until
      if (position !== undefined && (at === undefined || at < position)) {
        if (until.isWanted !== true) void this.#aimAtWanted(listener, at, position)
        return true
      }
      listener.resolve()
      return false
    })
  }

  /** Nothing tells of events that the filters leave out: waits no longer than for the last one that passes them. */
  async #aimAtWanted(listener: Listener, after: Position | undefined, end: Position): Promise<void> {
    listener.until = undefined
    const { streams, categories, types } = this.#wanted
    const request = {
      streams,
      categories,
      types,
      after,
      to: end,
      direction: 'forwards',
      limit: undefined,
    } as const
    const found = await this.#retried(listener, async () => {
      let last: Position | undefined
      for await (const page of this.#core.readAllForUser(request)) {
        last = page.at(-1)?.position ?? last
      }
      return last
    })
    if (!found) return
    listener.until = { position: found.value, isWanted: true }
    this.#tell()
  }

  /** Asks the store, again while it is unreachable; `undefined` if the listener was told of an error instead. */
  async #retried<T>(listener: Listener, ask: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
    try {
      return await retryUntilReached(async () => ({ value: await ask() }), { signal: this.#ending.signal })
    } catch (error) {
      // If the subscription has ended meanwhile, its end was told already.
      if (this.#listeners.includes(listener)) listener.reject(error)
      this.#listeners = this.#listeners.filter((other) => other !== listener)
      return undefined
    }
  }

  /** Looks up where to begin, for as long as it takes to reach the store. */
  async #begin(): Promise<AsyncIterator<SubscribedPage, undefined> | undefined> {
    const { from, ...wanted } = this.#wanted
    const { signal } = this.#ending
    if (this.#core.isClosing && !this.#isTooLate) {
      this.#end({})
      return undefined
    }
    this.#unlisten.push(this.#core.atClose(() => this.return()))
    // Errors after which it is retried are Mneme's own.
    const failed = (error: unknown) => {
      wanted.interrupted(error as MnemeError)
    }
    const waiting = { signal, failed }
    const identity = await retryUntilReached(() => this.#core.identity(), waiting)
    const findPlace = () => {
      const place = this.#place ?? placeOf(this.#core, from)
      this.#place = undefined
      return place
    }
    const after = await retryUntilReached(findPlace, waiting)
    if (identity === undefined || signal.aborted) return undefined
    this.#identity = identity
    this.#through = after
    return this.#core.subscribe({ ...wanted, after, signal })
  }

  /** Stops waiting for the call once the subscription has ended. */
  #unlessOver<T>(call: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => {
        resolve(undefined)
      }
      call.then(resolve, reject)
    })
  }

  #end(over: { readonly error?: unknown }): void {
    if (this.#over) return
    this.#over = over
    this.#page = []
    for (const stop of this.#unlisten.splice(0)) stop()
    for (const { reject } of this.#listeners.splice(0)) reject(over.error ?? new StoreClosedError())
    this.#interrupt?.()
    this.#ending.abort()
  }
}

const OVER: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

/** Unless the consumer says how many it takes. */
const MAX_EVENTS_PER_PAGE = 1_000

/** A call that waits for the subscription to have caught up. */
interface Listener {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  /** The last event that the consumer is to take first; `undefined` while it is looked up. */
  until: { readonly position: Position | undefined; readonly isWanted?: boolean } | undefined
}

/**
 * The place in a store's log after which a subscription begins.
 *
 * @throws CheckpointFromAnotherStoreError, HistoryRewoundError, InvalidArgumentError
 */
export async function placeOf(core: StoreCore, from: SubscribeFrom): Promise<LogPlace | undefined> {
  if (from === 'start') return undefined
  if (from === 'end') {
    const position = await core.logHead()
    return position === undefined ? undefined : placeOf(core, position)
  }
  if (typeof from !== 'string') {
    const { store, position, id } = from
    const identity = await core.identity()
    if (store !== identity) throw new CheckpointFromAnotherStoreError(store, identity)
    if ((await core.idAt(position)) !== id) throw historyRewound(position)
    return { position, id }
  }
  const id = await core.idAt(from)
  if (id === undefined) throw historyRewound(from)
  return { position: from, id }
}
