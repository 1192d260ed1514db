import { defineAggregate, event, type EventStore, type Sealed, subject } from 'mneme'
import { keyRing, memoryKeys, reveal, wrappingKey } from 'mneme/erasure'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'
import { NOTE } from './account.ts'
import { compare, type Figure, seconds } from './measure.ts'
import { isPostgres, places } from './place.ts'

const EVENTS = 20_000
const PER_APPEND = 1_000

interface CustomerData {
  readonly id: string
  readonly plan: string
  readonly note: string
  readonly email: string
}

const of = ({ id }: CustomerData) => subject('customer', id)
const Sealing = defineAggregate({
  name: 'Sealing',
  events: { Changed: event<CustomerData>().personal({ email: of }) },
  initial: (): { plan: string; email?: Sealed<string> } => ({ plan: '' }),
  apply: { Changed: (_state, { plan, email }) => ({ plan, email }) },
})
const Plain = defineAggregate({
  name: 'Plain',
  events: { Changed: event<CustomerData>() },
  initial: (): { plan: string; email?: string } => ({ plan: '' }),
  apply: { Changed: (_state, { plan, email }) => ({ plan, email }) },
})

/** Events with a personal value beside the same events without: reading without `reveal`, and what sealing and revealing cost. */
export async function* personalFigures(): AsyncGenerator<Figure> {
  for await (const { name, location } of places()) {
    const personal = keyRing({
      keys: memoryKeys(),
      wrap: wrappingKey('bench', new Uint8Array(32)),
      secret: 'a secret of the benchmarks',
    })
    const store = isPostgres(location)
      ? await postgresStore(location, { prepare: true, personal })
      : await sqliteStore(location, { personal })
    const data = (i: number): CustomerData => {
      return {
        id: `c-${String(i % 100)}`,
        plan: 'basic',
        note: NOTE,
        email: `customer-${String(i)}@example.org`,
      }
    }
    for (let at = 0; at < EVENTS; at += PER_APPEND) {
      const all = Array.from({ length: PER_APPEND }, (_, i) => data(at + i))
      await store.append({ stream: Sealing('a'), events: all.map((one) => Sealing.events.Changed(one)) })
      await store.append({ stream: Plain('a'), events: all.map((one) => Plain.events.Changed(one)) })
    }
    const common = {
      to: 'the same events without a personal field',
      operations: [EVENTS, EVENTS] as const,
      runs: 15,
    }
    yield await compare({
      ...common,
      name: `${name}: read a stream with sealed values, typed`,
      goal: 0.95,
      ours: () => seconds(() => drain(store.read(Sealing('a')))),
      theirs: () => seconds(() => drain(store.read(Plain('a')))),
    })
    yield await compare({
      ...common,
      name: `${name}: read all events of a category with sealed values`,
      goal: 0.95,
      ours: () => seconds(() => drain(store.readAll({ categories: ['Sealing'] }))),
      theirs: () => seconds(() => drain(store.readAll({ categories: ['Plain'] }))),
    })
    yield await compare({
      ...common,
      name: `${name}: read a stream and reveal, 1,000 events at a time`,
      ours: () => seconds(() => revealAll(store)),
      theirs: () => seconds(() => drain(store.read(Plain('a')))),
      runs: 5,
    })
    await store.close()
  }
}

async function drain(events: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const event of events) count += event === undefined ? 0 : 1
  return count
}

async function revealAll(store: EventStore): Promise<void> {
  let batch: object[] = []
  for await (const { data } of store.read(Sealing('a'))) {
    batch.push(data)
    if (batch.length < 1_000) continue
    await reveal(store, batch)
    batch = []
  }
}
