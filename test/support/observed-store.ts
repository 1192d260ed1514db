import { createStore, type EventStore, type StoreOptions } from 'mneme'
import type { StoreAdapter } from 'mneme/adapter'
import type { Recorded } from 'mneme'
import type { AppendRequest, AppendVerdict, ReadRequest, StoredEvent } from 'mneme/adapter'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'

/** A memory store that tells what reached its adapter, and can come in between. */
export interface ObservedStore extends EventStore {
  readonly data: MemoryData
  /** Every append that reached the adapter, verifications included. */
  readonly appends: AppendRequest[]
  /** Every read of a stream that reached the adapter. */
  readonly reads: ReadRequest[]
  /** How many events those reads gave. */
  eventsRead: number
  /** Runs before each append reaches the data; what it throws, the append throws. */
  beforeAppend: (request: AppendRequest, signal?: AbortSignal) => unknown
  /** Runs between an append and its answer, which it may replace. */
  afterAppend: (verdict: AppendVerdict, request: AppendRequest) => unknown
  beforeRead: (request: ReadRequest) => unknown
  /** Replaces a page on its way out. */
  page: (events: readonly StoredEvent[]) => readonly StoredEvent[]
  /** Another process's store over the same data. */
  readonly stranger: EventStore
  forget(): void
}

export function observedStore(options: StoreOptions = {}, data = new MemoryData()): ObservedStore {
  const inner = memoryAdapter(data)
  const adapter: StoreAdapter = {
    ...inner,
    append: async (request, signal) => {
      observed.appends.push(request)
      await observed.beforeAppend(request, signal)
      const verdict = await inner.append(request, signal)
      return ((await observed.afterAppend(verdict, request)) as AppendVerdict | undefined) ?? verdict
    },
    read: async function* (request) {
      observed.reads.push(request)
      await observed.beforeRead(request)
      for await (const page of inner.read(request)) {
        observed.eventsRead += page.length
        yield observed.page(page)
      }
    },
  }
  const observed: ObservedStore = Object.assign(createStore(adapter, options), {
    data,
    appends: [],
    reads: [],
    eventsRead: 0,
    beforeAppend: () => undefined,
    afterAppend: () => undefined,
    beforeRead: () => undefined,
    page: (events: readonly StoredEvent[]) => events,
    stranger: createStore(memoryAdapter(data)),
    forget: () => {
      observed.appends.length = 0
      observed.reads.length = 0
      observed.eventsRead = 0
    },
  })
  return observed
}

export async function eventsOf(store: EventStore, stream: string): Promise<Recorded[]> {
  const events: Recorded[] = []
  for await (const event of store.read(stream)) events.push(event)
  return events
}

export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i))
}

/** A promise to be settled from outside. */
export function gate<T = void>(): { readonly passed: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void
  const passed = new Promise<T>((resolve) => (open = resolve))
  return { passed, open }
}

/** Lets everything that is ready run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}
