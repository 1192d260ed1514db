import { anchorOf } from '../adapter/append-rules.ts'
import type {
  Appended,
  AppendRequest,
  AppendVerdict,
  Capabilities,
  StoreAdapter,
  StoredEvent,
} from '../adapter/store-adapter.ts'
import { tailLog } from '../adapter/subscription-hub.ts'
import { OutcomeUnknownError, StoreFullError } from '../base/errors.ts'
import { memoryAdapter, MemoryData, sourceOf } from '../stores/memory/adapter.ts'
import { type Network, unavailable } from './network.ts'
import type { SimulatedProcess } from './scheduler.ts'

/** What a simulated store does. */
export interface StoreSettings {
  readonly capabilities: Capabilities
  /** Called after each append that was committed. */
  readonly appended: () => void
}

/** One store, behind the network. */
export class SimulatedStore {
  readonly data = new MemoryData()
  readonly #store: StoreAdapter
  readonly #network: Network
  readonly #settings: StoreSettings

  constructor(network: Network, settings: StoreSettings) {
    this.#network = network
    this.#settings = settings
    this.#store = memoryAdapter(this.data)
  }

  /** The store as a process sees it. */
  connect(process: SimulatedProcess): StoreAdapter {
    const store = this.#store
    const call = async <T>(work: () => Promise<T>): Promise<T> => {
      await this.#network.travel(process)
      this.#network.reach(process)
      const result = await work()
      await this.#network.travel(process)
      return result
    }
    const pages = <Page>(open: () => AsyncIterable<Page>) => this.#pages(process, open)
    const source = sourceOf(this.data)
    return {
      capabilities: this.#settings.capabilities,
      identity: () => call(() => store.identity()),
      append: (request) => this.#append(process, request),
      erase: (request) => call(() => store.erase!(request)),
      skip: (request) => call(() => store.skip!(request)),
      read: (request) => pages(() => store.read(request)),
      readAll: (request) => pages(() => store.readAll(request)),
      streams: (request) => pages(() => store.streams!(request)),
      heads: (streams) => call(() => store.heads(streams)),
      keys: (after) => pages(() => store.keys!(after)),
      logHead: () => call(() => store.logHead()),
      idAt: (position) => call(() => store.idAt(position)),
      subscribe: tailLog({
        scan: (request) => pages(() => source.scan(request)),
        watch: (changed) => this.#watch(process, changed),
      }),
      snapshots: {
        get: (stream, name) => call(() => store.snapshots!.get(stream, name)),
        put: (snapshot) => call(() => store.snapshots!.put(snapshot)),
        delete: (stream) => call(() => store.snapshots!.delete(stream)),
      },
      close: () => Promise.resolve(),
    }
  }

  /** The events that each idempotency key covers. */
  usedKeys(): ReadonlyMap<string, { readonly events: readonly StoredEvent[] }> {
    const { keys, log } = this.data
    return new Map(
      [...keys].map(([key, { first, count }]) => [key, { events: log.slice(first, first + count) }]),
    )
  }

  async #append(process: SimulatedProcess, request: AppendRequest): Promise<AppendVerdict> {
    const network = this.#network
    const isWriting = request.events.length > 0
    await network.travelToWrite(process)
    network.reach(process)
    if (isWriting && network.strikes('fullDisk', process))
      throw new StoreFullError('the simulated disk is full')
    if (isWriting && network.strikes('ghost', process)) {
      const arrived = this.#arrivesLate(request)
      return this.#settle(process, request, arrived)
    }
    const verdict = await this.#commit(request)
    if (isWriting && network.strikes('lostAnswer', process)) return this.#settle(process, request, undefined)
    await this.#network.travel(process)
    return verdict
  }

  /** What an adapter does about an append of which it does not know whether it was committed. */
  async #settle(
    process: SimulatedProcess,
    request: AppendRequest,
    arrived: Promise<void> | undefined,
  ): Promise<AppendVerdict> {
    const { draw } = this.#network.scheduler
    await this.#network.travel(process)
    const isSettled = anchorOf(request) !== undefined || this.#settings.capabilities.settlesAny
    if (!isSettled || draw.happens(0.5)) throw new OutcomeUnknownError('the simulated connection was lost')
    if (anchorOf(request) === undefined) await arrived
    await this.#network.travel(process)
    // Its own events come first: a key that was used may be its own. Sent again, they are stored once.
    const verdict = this.#findOwn(request) ?? (await this.#commit(request))
    await this.#network.travel(process)
    return verdict.kind === 'repeated' ? appendedBefore(verdict) : verdict
  }

  #findOwn({ conditions, events }: AppendRequest): AppendVerdict | undefined {
    const { log, streams } = this.data
    const first = log.findIndex(({ id }) => id === events[0]!.id)
    if (first < 0) return undefined
    const stored = log.slice(first, first + events.length)
    const heads = conditions.map(({ stream, expected }) => {
      const own = stored.findLast((event) => event.stream === stream)?.revision
      return (
        own ?? (typeof expected === 'number' ? expected : (streams.get(stream)?.at(-1)?.revision ?? 'none'))
      )
    })
    return { kind: 'repeated', events: stored, heads }
  }

  /** An append that its sender has given up. */
  #arrivesLate(request: AppendRequest): Promise<void> {
    return new Promise((resolve) => {
      this.#network.arriveLate(() => {
        void this.#commit(request).then(() => {
          resolve()
        })
      })
    })
  }

  async #commit(request: AppendRequest): Promise<AppendVerdict> {
    const verdict = await this.#store.append(request)
    if (verdict.kind === 'appended' && request.events.length > 0) this.#settings.appended()
    return verdict
  }

  /** Pages, each of which takes a call; the connection may be lost before any of them. */
  #pages<Page>(process: SimulatedProcess, open: () => AsyncIterable<Page>): AsyncIterable<Page> {
    const network = this.#network
    let pages: AsyncIterator<Page> | undefined
    // Not a generator: it would cost twice as much as the pages.
    const iterator: AsyncIterator<Page> = {
      async next() {
        if (!pages) {
          await network.travel(process)
          network.reach(process)
          pages = open()[Symbol.asyncIterator]()
        }
        const result = await pages.next()
        if (result.done === true) return result
        await network.travel(process)
        if (network.strikes('cutRead', process)) throw unavailable()
        return result
      },
      async return() {
        await pages?.return?.()
        return { done: true, value: undefined }
      },
    }
    return { [Symbol.asyncIterator]: () => iterator }
  }

  #watch(process: SimulatedProcess, changed: () => void): () => void {
    const { watchers } = this.data
    const { scheduler } = this.#network
    const notify = () => {
      if (this.#network.strikes('lostNotification', process)) return
      scheduler.after(process, this.#network.latency(), changed)
    }
    let cancel: () => void
    const poll = () => {
      cancel = scheduler.after(process, POLL_MS, () => {
        poll()
        changed()
      })
    }
    const stop = () => {
      watchers.delete(notify)
      cancel()
    }
    poll()
    watchers.add(notify)
    process.whenGone.push(stop)
    return stop
  }
}

/** The answer of an append that was committed by an earlier attempt of the same call. */
function appendedBefore({ events, heads }: Extract<AppendVerdict, { kind: 'repeated' }>): Appended {
  return {
    kind: 'appended',
    revisions: events.map(({ revision }) => revision),
    positions: events.map(({ position }) => position),
    time: events[0]!.time,
    heads,
  }
}

/** Milliseconds between two polls of a subscriber. */
const POLL_MS = 500
