import { StreamDeletedError } from 'mneme'
import type { Position } from 'mneme'
import type { StoreAdapter } from 'mneme/adapter'
import type {
  AppendRequest,
  AppendVerdict,
  LogPlace,
  ReadAllRequest,
  StoredEvent,
  SubscribedPage,
  SubscribeRequest,
} from '../../../src/adapter/store-adapter.ts'

/** A part of a server that others use, too: streams with names of its own, after what is there already. */
export interface Apart {
  /** What the names of its streams begin with. Without a dash, so that categories stay what they are. */
  readonly prefix: string
  /** The server's head when it began. */
  readonly floor: LogPlace | undefined
}

/** An adapter that has only a part of its server, as if it were all. */
export function setApart(adapter: StoreAdapter, { prefix, floor: floorPlace }: Apart): StoreAdapter {
  const floor = floorPlace?.position
  const isAbove = (position: Position) => position > (floor ?? '')
  const outside = (name: string) => prefix + name
  const inside = (name: string) => name.slice(prefix.length)
  const own = (event: StoredEvent): StoredEvent => ({ ...event, stream: inside(event.stream) })

  const request = ({ conditions, events, keys, ids }: AppendRequest): AppendRequest => ({
    conditions: conditions.map(({ stream, expected }) => ({ stream: outside(stream), expected })),
    events: events.map((event) => ({ ...event, stream: outside(event.stream) })),
    keys: keys.map((claim) => ({
      ...claim,
      key: outside(claim.key),
      streams: claim.streams?.map(outside),
    })),
    ids,
  })
  const verdict = (given: AppendVerdict): AppendVerdict => {
    switch (given.kind) {
      case 'appended':
        return given
      case 'repeated':
        return { ...given, events: given.events.map(own) }
      case 'conflict':
      case 'erased':
        return { ...given, stream: inside(given.stream) }
      case 'used':
        return {
          kind: 'used',
          uses: given.uses.map(({ key, fingerprint, events, heads }) => ({
            key: inside(key),
            fingerprint,
            events: events.map(own),
            heads: heads.map(([stream, revision]) => [inside(stream), revision] as const),
          })),
        }
    }
  }
  async function* all(given: ReadAllRequest): AsyncGenerator<StoredEvent[], undefined> {
    const { direction, after, streams, categories } = given
    const from = direction === 'forwards' ? (after ?? floor) : after
    const pages = adapter.readAll({
      ...given,
      after: from,
      streams: streams?.map(outside),
      categories: categories?.map(outside),
    })
    for await (const page of pages) {
      const events = page.filter(({ stream, position }) => stream.startsWith(prefix) && isAbove(position))
      if (events.length > 0) yield events.map(own)
      if (direction === 'backwards' && page.some(({ position }) => !isAbove(position))) return undefined
    }
    return undefined
  }

  async function* subscribed(given: SubscribeRequest): AsyncGenerator<SubscribedPage, undefined> {
    const pages = adapter.subscribe({
      ...given,
      after: given.after ?? floorPlace,
      streams: given.streams?.map(outside),
      categories: given.categories?.map(outside),
    })
    for await (const { events, through, isCaughtUp } of pages) {
      const seen = events.filter(({ stream }) => stream.startsWith(prefix)).map(own)
      yield { events: seen, through: through && isAbove(through.position) ? through : undefined, isCaughtUp }
    }
    return undefined
  }

  /** Runs a call, whose errors name streams inside. */
  const naming = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call()
    } catch (error) {
      throw error instanceof StreamDeletedError ? new StreamDeletedError(inside(error.stream)) : error
    }
  }
  return {
    capabilities: adapter.capabilities,
    identity: () => adapter.identity(),
    append: (given, signal) => naming(async () => verdict(await adapter.append(request(given), signal))),
    erase: (given, signal) =>
      naming(async () => {
        const notice = { ...given.notice, stream: outside(given.notice.stream) }
        const erased = await adapter.erase!({ ...given, stream: outside(given.stream), notice }, signal)
        return 'stream' in erased ? { ...erased, stream: inside(erased.stream) } : erased
      }),
    skip: (given) =>
      naming(async () => {
        const skipped = await adapter.skip!({ ...given, stream: outside(given.stream) })
        return 'stream' in skipped ? { ...skipped, stream: inside(skipped.stream) } : skipped
      }),
    async *read(given) {
      const pages = adapter.read({ ...given, stream: outside(given.stream) })
      const iterator = pages[Symbol.asyncIterator]()
      try {
        for (;;) {
          const next = await naming(() => iterator.next())
          if (next.done === true) return
          yield next.value.map(own)
        }
      } finally {
        await iterator.return?.()
      }
    },
    readAll: all,
    heads: (streams) => naming(() => adapter.heads(streams.map(outside))),
    async *keys(after) {
      for await (const page of adapter.keys!(after ?? floor)) {
        const kept = page.filter(({ key }) => key.startsWith(prefix))
        if (kept.length > 0)
          yield kept.map((one) => ({ ...one, key: inside(one.key), streams: one.streams.map(inside) }))
      }
    },
    logHead: async () => {
      const head = await adapter.logHead()
      return head !== undefined && isAbove(head) ? head : undefined
    },
    idAt: (position) => adapter.idAt(position),
    subscribe: subscribed,
    snapshots: {
      get: (stream, name) => adapter.snapshots!.get(outside(stream), name),
      put: (snapshot) => adapter.snapshots!.put({ ...snapshot, stream: outside(snapshot.stream) }),
      delete: (stream) => adapter.snapshots!.delete(outside(stream)),
    },
    close: () => adapter.close(),
  }
}
