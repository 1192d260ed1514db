import type { Change, Realm } from './realm.ts'
import type { AppendRequest, AppendVerdict, StoreAdapter, StoredEvent } from '../../adapter/store-adapter.ts'

/** An adapter like another one, except for the changed calls. */
export function changed(adapter: StoreAdapter, changes: Partial<StoreAdapter>): StoreAdapter {
  return {
    capabilities: adapter.capabilities,
    identity: () => adapter.identity(),
    append: (request, signal) => adapter.append(request, signal),
    ...(adapter.erase && { erase: (request, signal) => adapter.erase!(request, signal) }),
    ...(adapter.skip && { skip: (request) => adapter.skip!(request) }),
    read: (request) => adapter.read(request),
    readAll: (request) => adapter.readAll(request),
    ...(adapter.snapshots && { snapshots: adapter.snapshots }),
    ...(adapter.streams && { streams: (request) => adapter.streams!(request) }),
    heads: (streams) => adapter.heads(streams),
    ...(adapter.keys && { keys: (after) => adapter.keys!(after) }),
    logHead: () => adapter.logHead(),
    idAt: (position) => adapter.idAt(position),
    subscribe: (request) => adapter.subscribe(request),
    close: () => adapter.close(),
    ...changes,
  }
}

/** Runs `step` before each append reaches the store, between a decision and its append. */
export function beforeAppend(step: (request: AppendRequest) => void | Promise<void>): Change {
  return (adapter) =>
    changed(adapter, {
      append: async (request, signal) => {
        await step(request)
        return adapter.append(request, signal)
      },
    })
}

/** Runs `step` on each verdict, after the commit. If it throws, the answer is lost. */
export function afterAppend(step: (verdict: AppendVerdict) => void | Promise<void>): Change {
  return (adapter) =>
    changed(adapter, {
      append: async (request, signal) => {
        const verdict = await adapter.append(request, signal)
        await step(verdict)
        return verdict
      },
    })
}

/** A gate that calls wait at until it is opened. */
export interface Gate {
  /** Resolves when the gate is open. */
  pass(): Promise<void>
  open(): void
  /** How many calls wait or have passed. */
  readonly arrived: number
}

/** A shut gate. It opens by itself when the case ends, so that a failing case does not hang. */
export function gate(realm: Realm): Gate {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  let arrived = 0
  realm.atEnd(() => open())
  return {
    pass: () => {
      arrived++
      return opened
    },
    open: () => open(),
    get arrived() {
      return arrived
    },
  }
}

/** What a reader asked of an adapter. */
export interface Watched {
  /** How many events each page held. */
  readonly pages: number[]
  /** How often `return` was called. */
  returns: number
}

/** Watches the pages that are read, of a stream or of all streams. `turn` runs before each page. */
export function watchPages(watched: Watched, turn: () => void | Promise<void> = () => undefined): Change {
  const watch = (pages: AsyncIterable<readonly StoredEvent[]>): AsyncIterable<readonly StoredEvent[]> => ({
    [Symbol.asyncIterator]: () => {
      const iterator = pages[Symbol.asyncIterator]()
      return {
        next: async () => {
          await turn()
          const result = await iterator.next()
          if (!result.done) watched.pages.push(result.value.length)
          return result
        },
        return: async () => {
          watched.returns++
          await iterator.return?.()
          return { done: true, value: undefined }
        },
      }
    },
  })
  return (adapter) =>
    changed(adapter, {
      read: (request) => watch(adapter.read(request)),
      readAll: (request) => watch(adapter.readAll(request)),
    })
}
