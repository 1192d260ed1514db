import { unlessAborted, withdrawOnAbort } from '../base/abort.ts'
import { checkOptions, checkSignal, checkWhole, MAX_TIMER_MS } from '../base/arguments.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { InvalidArgumentError, OverloadedError, StoreClosedError } from '../base/errors.ts'
import { checkText } from '../model/names.ts'
import { coreOf } from './create-store.ts'
import type { EventStore } from './event-store.ts'

/** Options of `storePool`. */
export interface StorePoolOptions {
  /** How many stores are open at once. Default: 50. */
  readonly max?: number | undefined
  /** After how many milliseconds without a lease a store is closed. Default: 60,000 ms. */
  readonly idle?: number | undefined
  /** How many callers may wait for a store at once before `OverloadedError`. Default: 10,000. */
  readonly maxWaiting?: number | undefined
}

/** Options of a lease. */
export interface LeaseOptions {
  /** Ends the wait for a store, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** Stores by the names of tenants, of which only some are open at a time. Made by `storePool`. */
export interface StorePool {
  /** How many stores are open, being opened or being closed. */
  readonly size: number

  /**
   * Leases a tenant's store while `work` runs, and resolves with what that resolves with.
   *
   * @throws what `work` and `lease` throw.
   */
  use<T>(tenant: string, work: (store: EventStore) => T | Promise<T>, options?: LeaseOptions): Promise<T>

  /**
   * Leases a tenant's store, and opens it if need be: raced, it is opened once. If as many stores are leased as may be
   * open, it waits for one that is released, first come, first served. Release the lease, or the store is never closed.
   *
   * @throws what `open` threw, to all who wait for it; the next lease opens the store again.
   * @throws StoreClosedError if the pool is closed; OverloadedError if too many callers wait; the signal's reason.
   */
  lease(tenant: string, options?: LeaseOptions): Promise<StoreLease>

  /** Waits until every lease is released, and closes all stores. Later leases fail with `StoreClosedError`. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/** A store that stays open until it is released. */
export interface StoreLease {
  readonly tenant: string
  readonly store: EventStore
  /** Gives it back; a second call does nothing. Do not use the store afterwards, and never close it. */
  release(): void
}

/**
 * A pool of stores, one for each tenant: files, schemas or prefixes, of which a bounded number is open at a time. The
 * least recently used one that is not leased is closed for the next; the others are closed when they are idle.
 *
 * @param open opens a tenant's store. Map the name to a file by `tenantFile`, so that no name leaves its folder.
 * @throws InvalidArgumentError if an argument is wrong.
 * @example
 * ```ts
 * const tenants = storePool((tenant) => sqliteStore(tenantFile('data', tenant)), { max: 50, idle: 60_000 })
 * await tenants.use('acme', (store) => store.append({ stream: Door('front'), events: [Door.events.Opened()] }))
 * await tenants.close()
 * ```
 */
export function storePool(
  open: (tenant: string) => EventStore | Promise<EventStore>,
  options: StorePoolOptions = {},
): StorePool {
  return makeStorePool(open, options, systemClock)
}

/** The same with another clock, for tests. */
export function makeStorePool(
  open: (tenant: string) => EventStore | Promise<EventStore>,
  options: StorePoolOptions,
  clock: Clock,
): StorePool {
  if (typeof (open as unknown) !== 'function') {
    throw new InvalidArgumentError('open', 'a function that opens the store of a tenant')
  }
  const known = ['max', 'idle', 'maxWaiting'] as const
  const { max = 50, idle = 60_000, maxWaiting = 10_000 } = checkOptions(options, 'options', known)
  checkWhole(max, 'options.max', 1)
  checkWhole(idle, 'options.idle', 0)
  checkWhole(maxWaiting, 'options.maxWaiting', 0)
  return new Pool(open, { max, idle: Math.min(idle, MAX_TIMER_MS), maxWaiting, clock })
}

interface Settings {
  readonly max: number
  readonly idle: number
  readonly maxWaiting: number
  readonly clock: Clock
}

/** A tenant's store that is open, or being opened. */
interface Entry {
  readonly tenant: string
  readonly opened: Promise<EventStore>
  leases: number
  /** Stops the idle time. */
  wake: () => void
}

/** A caller that waits for room. */
interface Waiting {
  resolve: () => void
  reject: (reason: unknown) => void
}

class Pool implements StorePool {
  readonly #open: (tenant: string) => EventStore | Promise<EventStore>
  readonly #settings: Settings
  /** The least recently released first. */
  readonly #entries = new Map<string, Entry>()
  readonly #closing = new Map<string, Promise<void>>()
  readonly #waiting: Waiting[] = []
  #closed: Promise<void> | undefined
  /** Called when the last entry has gone. */
  #onEmpty: (() => void) | undefined
  /** Why a store could not be closed. */
  #failure: { readonly error: unknown } | undefined

  constructor(open: (tenant: string) => EventStore | Promise<EventStore>, settings: Settings) {
    this.#open = open
    this.#settings = settings
  }

  get size(): number {
    return this.#entries.size + this.#closing.size
  }

  async use<T>(
    tenant: string,
    work: (store: EventStore) => T | Promise<T>,
    options?: LeaseOptions,
  ): Promise<T> {
    if (typeof (work as unknown) !== 'function') {
      throw new InvalidArgumentError('work', 'a function that is given the store')
    }
    const lease = await this.lease(tenant, options)
    try {
      return await work(lease.store)
    } finally {
      lease.release()
    }
  }

  async lease(tenant: string, options: LeaseOptions = {}): Promise<StoreLease> {
    checkText(tenant, 'tenant', 'the name of a tenant')
    const signal = checkSignal(checkOptions(options, 'options', ['signal']).signal)
    const entry = await this.#take(tenant, signal)
    let isReleased = false
    const release = () => {
      if (isReleased) return
      isReleased = true
      this.#release(entry)
    }
    try {
      return { tenant, store: await unlessAborted(entry.opened, signal), release }
    } catch (error) {
      release()
      throw error
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeAll()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The tenant's entry, with one lease more. */
  async #take(tenant: string, signal: AbortSignal | undefined): Promise<Entry> {
    try {
      return await this.#taken(tenant, signal)
    } finally {
      // It may have been woken for room that it did not need.
      const hasRoom =
        this.size < this.#settings.max || [...this.#entries.values()].some(({ leases }) => leases === 0)
      if (hasRoom) this.#waiting.shift()?.resolve()
    }
  }

  async #taken(tenant: string, signal: AbortSignal | undefined): Promise<Entry> {
    // A caller that has waited comes before those that have not.
    for (let hasWaited = false; ;) {
      signal?.throwIfAborted()
      if (this.#closed) throw new StoreClosedError()
      const known = this.#entries.get(tenant)
      // Others may wait for the room of a store that nobody uses.
      if (known && (known.leases > 0 || hasWaited || this.#waiting.length === 0)) return hold(known)
      const closing = this.#closing.get(tenant)
      if (closing) {
        await closing
        continue
      }
      const isNext = hasWaited || this.#waiting.length === 0
      if (isNext && !known && this.size < this.#settings.max) return hold(this.#begin(tenant))
      const unused = isNext ? [...this.#entries.values()].find(({ leases }) => leases === 0) : undefined
      if (unused) await this.#closeEntry(unused, 'taken')
      else await this.#room(hasWaited, signal)
      hasWaited = true
    }
  }

  #begin(tenant: string): Entry {
    const entry: Entry = { tenant, opened: this.#begun(tenant), leases: 0, wake: () => undefined }
    this.#entries.set(tenant, entry)
    entry.opened.catch(() => {
      // Not remembered: the next lease opens it again.
      this.#remove(entry)
    })
    return entry
  }

  async #begun(tenant: string): Promise<EventStore> {
    const store = await this.#open(tenant)
    // Refuses what is no store of Mneme, and notices if anybody else closes it.
    coreOf(store).atClose(() => {
      const entry = this.#entries.get(tenant)
      if (entry) this.#remove(entry)
      return Promise.resolve()
    })
    return store
  }

  #release(entry: Entry): void {
    if (--entry.leases > 0 || this.#entries.get(entry.tenant) !== entry) return
    // Behind those that were released before.
    this.#entries.delete(entry.tenant)
    this.#entries.set(entry.tenant, entry)
    if (this.#closed) void this.#closeEntry(entry)
    else if (this.#waiting.length > 0) this.#waiting.shift()?.resolve()
    else if (this.#settings.idle === 0) void this.#closeEntry(entry)
    else {
      entry.wake = this.#settings.clock.after(this.#settings.idle, () => {
        if (entry.leases === 0 && this.#entries.get(entry.tenant) === entry) void this.#closeEntry(entry)
      })
    }
  }

  /** Closes a store that nobody uses. Resolves when its room is free, for the next that waits or taken by the caller. */
  async #closeEntry(entry: Entry, room: 'free' | 'taken' = 'free'): Promise<void> {
    entry.wake()
    this.#entries.delete(entry.tenant)
    const closing = entry.opened
      .then((store) => store.close())
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .then(() => {
        this.#closing.delete(entry.tenant)
        if (room === 'free') this.#freed()
        else this.#checkEmpty()
      })
    this.#closing.set(entry.tenant, closing)
    await closing
  }

  /** Forgets a store that is closed already, or was never opened. */
  #remove(entry: Entry): void {
    entry.wake()
    if (this.#entries.get(entry.tenant) !== entry) return
    this.#entries.delete(entry.tenant)
    this.#freed()
  }

  #freed(): void {
    this.#waiting.shift()?.resolve()
    this.#checkEmpty()
  }

  #checkEmpty(): void {
    if (this.size === 0) this.#onEmpty?.()
  }

  /** Waits until there may be room, behind those that came before. */
  #room(isFirst: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.length >= this.#settings.maxWaiting) throw new OverloadedError(this.#waiting.length)
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { resolve, reject }
      if (isFirst) this.#waiting.unshift(waiting)
      else this.#waiting.push(waiting)
      if (signal) withdrawOnAbort(signal, waiting, () => this.#waiting)
    })
  }

  async #closeAll(): Promise<void> {
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new StoreClosedError())
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    for (const entry of [...this.#entries.values()]) if (entry.leases === 0) void this.#closeEntry(entry)
    if (this.size > 0) await empty
    if (this.#failure) throw this.#failure.error
  }
}

function hold(entry: Entry): Entry {
  entry.leases++
  entry.wake()
  return entry
}
