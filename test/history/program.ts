import * as z from 'zod'
import { aggregateFromClass, createStore, defineAggregate, event, type EventStore } from 'mneme'
import type { StoreAdapter, StoredEvent } from 'mneme/adapter'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'

/** A program of today. `apply` and the upcast throw errors whose messages hold the data, as such errors do. */
export const Person = defineAggregate({
  name: 'Person',
  events: {
    Registered: event<{ name: string }>().next(
      z.object({ first: z.string(), last: z.string().min(2), visits: z.array(z.object({ at: z.string() })) }),
      ({ name }) => {
        if (name.startsWith('throw')) throw new RangeError(`no name: ${name}`)
        if (name.startsWith('nothing')) return undefined as never
        const [first = '', last = ''] = name.split(' ')
        return { first, last, visits: [] }
      },
    ),
    Moved: event<{ to: string }>().formerly('Person.Relocated'),
    Counted: event<{ by: number }>(),
  },
  initial: () => ({ last: '', city: '', count: 0 }),
  apply: {
    Registered: (state, { last }) => ({ ...state, last }),
    Moved: (state, { to }) => {
      if (to.startsWith('throw')) throw Object.assign(new Error(`cannot move to ${to}`), { name: to })
      return { ...state, city: to }
    },
    Counted: (state, { by }) => ({ ...state, count: state.count + by }),
  },
})

class TallyState {
  total = 0
  apply({ data: { by } }: { data: { by: number } }) {
    this.total += by
  }
  clone(): TallyState {
    return Object.assign(new TallyState(), this)
  }
}
export const Tally = aggregateFromClass({
  name: 'Tally',
  events: { Added: event<{ by: number }>() },
  state: TallyState,
})

export interface Stored {
  readonly id?: string
  readonly type: string
  readonly version?: number
  readonly data: Readonly<Record<string, unknown>>
}

/** Writes events as they are, as other programs wrote them over the years. */
export async function record(store: EventStore, stream: string, ...events: readonly Stored[]): Promise<void> {
  await store.append({ stream, events })
}

export const registered = (last: string): Stored => ({
  type: 'Person.Registered',
  version: 2,
  data: { first: 'Ada', last, visits: [] },
})
export const counted = (by = 1): Stored => ({ type: 'Person.Counted', data: { by } })

/** A store that has lost some of its events. @param isCut which of them reading their stream does not give either. */
export function storeWithout(isLost: (event: StoredEvent) => boolean, isCut = isLost): EventStore {
  const inner = memoryAdapter()
  const adapter: StoreAdapter = {
    ...inner,
    read: (request) => kept(inner.read(request), isCut),
    readAll: (request) => kept(inner.readAll(request), isLost),
  }
  return createStore(adapter)

  async function* kept(
    pages: AsyncIterable<readonly StoredEvent[]>,
    isGone: (event: StoredEvent) => boolean,
  ): AsyncGenerator<StoredEvent[], undefined> {
    for await (const page of pages) yield page.filter((event) => !isGone(event))
    return undefined
  }
}

/** A store over another one's data whose events were changed by hand. */
export function storeChanging(inner: StoreAdapter, change: (event: StoredEvent) => StoredEvent): EventStore {
  return createStore({
    ...inner,
    readAll: async function* (request) {
      for await (const page of inner.readAll(request)) yield page.map(change)
      return undefined
    },
  })
}
