import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import {
  createStore,
  isMnemeError,
  type AppendOptions,
  type AppendResult,
  type EventStore,
  type ExpectedRevision,
  type ReadAllOptions,
  type ReadOptions,
  type Recorded,
  type StreamWrite,
} from 'mneme'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'
import { isFull, seed } from '../support/soak.ts'

/** A store over data of its own, which can be opened again. */
interface Subject {
  open(): Promise<EventStore>
  destroy(): Promise<void>
}

/** Each with how many histories are tried: PostgreSQL makes a schema for each. */
const subjects: readonly (readonly [name: string, create: () => Promise<Subject>, runs: number])[] = [
  ['memory', async () => memory(), 150],
  [
    'sqlite',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'mneme-properties-'))
      return {
        open: () => sqliteStore(join(folder, 'events.db'), { synchronous: 'normal' }),
        destroy: () => rm(folder, { recursive: true }),
      }
    },
    150,
  ],
  ...(serverProblem ? [] : [['postgres', postgres, 30] as const]),
]

function memory(): Subject {
  const data = new MemoryData()
  return { open: async () => createStore(memoryAdapter(data)), destroy: async () => {} }
}

let database: Promise<string> | undefined
let schemas = 0

async function postgres(): Promise<Subject> {
  const server = await testServer()
  const url = await (database ??= server.createDatabase())
  const schema = `properties ${schemas++}`
  return {
    open: () => postgresStore({ connectionString: url, max: 3 }, { schema }),
    destroy: async () => {
      await server.query(`DROP SCHEMA "${schema}" CASCADE`, new URL(url).pathname.slice(1))
    },
  }
}

type Step =
  | { readonly do: 'append'; readonly append: Append }
  /** An earlier append again, as it was or with another expectation of its first stream. */
  | { readonly do: 'repeat'; readonly which: number; readonly expected: ExpectedRevision | undefined }
  /** Appends made at once, without keys: both stores judge those in the order in which they were made. */
  | { readonly do: 'together'; readonly appends: readonly Append[] }
  | { readonly do: 'read'; readonly stream: string; readonly options: ReadOptions }
  | {
      readonly do: 'readAll'
      readonly after: number | undefined
      readonly to: number | undefined
      readonly options: ReadAllOptions
    }
  | { readonly do: 'head'; readonly stream: string }
  | { readonly do: 'restart' }

interface Append {
  readonly writes: readonly StreamWrite[]
  readonly key: string | undefined
  readonly actor: string | undefined
}

const streams = ['a', 'A', 'b', 'c-1', 'c-2', "it's 100%_\\"]
const types = ['T.A', 'T.B', 't.a']
const ids = Array.from({ length: 6 }, (_, i) => `00000000-0000-4000-8000-00000000000${i + 1}`)

const stream = fc.constantFrom(...streams)
const expected = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom<ExpectedRevision>('any', 'none', 'exists') },
  { weight: 2, arbitrary: fc.nat(6) },
)
const event = fc.record({
  type: fc.constantFrom(...types),
  data: fc.record({ n: fc.nat(2), text: fc.string({ unit: 'binary', maxLength: 3 }) }),
  // Mostly ids that nothing else has; some that appends share.
  id: fc.oneof(
    { weight: 3, arbitrary: fc.uuid({ version: 4 }) },
    { weight: 2, arbitrary: fc.constantFrom(...ids) },
  ),
})
const write = fc.record(
  { stream, events: fc.array(event, { maxLength: 3 }), expected },
  { requiredKeys: ['stream', 'events'] },
)
const append: fc.Arbitrary<Append> = fc.record({
  writes: fc.oneof(fc.tuple(write), fc.tuple(write), fc.array(write, { minLength: 2, maxLength: 4 })),
  key: fc.option(fc.constantFrom('k', 'K', 'k-2'), { nil: undefined, freq: 3 }),
  actor: fc.option(fc.string({ maxLength: 3 }), { nil: undefined, freq: 3 }),
})
const keyless = append.map((made): Append => ({ ...made, key: undefined }))
const direction = fc.constantFrom('forwards' as const, 'backwards' as const)
const limit = fc.integer({ min: 1, max: 6 })
const some = <T>(...items: T[]) => fc.uniqueArray(fc.constantFrom(...items), { maxLength: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('append'), append }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('repeat'),
      which: fc.nat(30),
      expected: fc.option(expected, { nil: undefined, freq: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('together'),
      appends: fc.array(keyless, { minLength: 2, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read'),
      stream,
      options: fc.record({ direction, limit, from: fc.nat(8), to: fc.nat(8) }, { requiredKeys: [] }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('readAll'),
      after: fc.option(fc.nat(20), { nil: undefined }),
      to: fc.option(fc.nat(20), { nil: undefined, freq: 2 }),
      options: fc.record(
        {
          direction,
          limit,
          streams: some(...streams),
          categories: some('a', 'c', 'b', 'c-1'),
          types: some(...types),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('head'), stream }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart') }) },
)

/** `npm run test:soak` tries ten times as many histories. */
const LENGTH = isFull ? 10 : 1

if (serverProblem) test.skip(`postgres (${serverProblem})`)

describe.each(subjects)('%s does as the model does', (_, create, runs) => {
  test(
    'W1-W7, R1: whatever is appended and read, in whatever order',
    { timeout: 120_000 * LENGTH },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40, size: 'max' }), async (steps) => {
          const [subject, model] = [await create(), memory()]
          try {
            const actual = await run(subject, steps)
            expect(actual).toEqual(await run(model, steps))
          } finally {
            await subject.destroy()
          }
        }),
        {
          ...(seed !== undefined && { seed }),
          numRuns: runs * LENGTH,
          interruptAfterTimeLimit: 60_000 * LENGTH,
        },
      )
    },
  )
})

/** What each step gave, in terms that are the same for every store; at last, all that is stored. */
async function run(subject: Subject, steps: readonly Step[]): Promise<unknown[]> {
  let store = await subject.open()
  const trace: unknown[] = []
  const made: Append[] = []
  try {
    for (const step of steps) {
      if (step.do === 'restart') {
        await store.close()
        store = await subject.open()
      } else trace.push(await outcomeOf(store, step, made))
    }
    trace.push(await seen(store, await all(store.readAll())), await all(store.readAll()).then(gapless))
    return trace
  } finally {
    await store.close()
  }
}

async function outcomeOf(
  store: EventStore,
  step: Exclude<Step, { do: 'restart' }>,
  made: Append[],
): Promise<unknown> {
  switch (step.do) {
    case 'append':
      made.push(step.append)
      return verdictOf(store, step.append)
    case 'repeat': {
      const earlier = made[step.which % made.length]
      const [first, ...rest] = earlier?.writes ?? []
      if (!earlier || !first) return undefined
      if (step.expected === undefined) return verdictOf(store, earlier)
      return verdictOf(store, { ...earlier, writes: [{ ...first, expected: step.expected }, ...rest] })
    }
    case 'together':
      made.push(...step.appends)
      return Promise.all(step.appends.map((append) => attempt(store, append))).then((results) =>
        Promise.all(results.map((result) => shown(store, result))),
      )
    case 'read':
      return seen(store, await all(store.read(step.stream, step.options)))
    case 'readAll': {
      const log = await all(store.readAll())
      const [after, to] = [step.after, step.to].map((at) =>
        at === undefined ? undefined : log[at]?.position,
      )
      const range = { ...(after !== undefined && { after }), ...(to !== undefined && { to }) }
      return seen(store, await all(store.readAll({ ...step.options, ...range })))
    }
    case 'head':
      return [await store.head(step.stream), (await placesOf(store))(await store.logHead())]
  }
}

async function verdictOf(store: EventStore, append: Append): Promise<unknown> {
  return shown(store, await attempt(store, append))
}

async function attempt(store: EventStore, { writes, key, actor }: Append): Promise<AppendResult | object> {
  const options: AppendOptions = {
    ...(key !== undefined && { key }),
    ...(actor !== undefined && { metadata: { actor } }),
  }
  try {
    return await store.append(writes, options)
  } catch (error) {
    if (!isMnemeError(error)) throw error
    const fields = Object.entries(error).filter(([field]) => field !== 'name' && field !== 'cause')
    return { ...Object.fromEntries(fields), message: error.message }
  }
}

async function shown(store: EventStore, result: AppendResult | object): Promise<unknown> {
  if (!('repeated' in result)) return result
  const { events, revisions, position, repeated } = result
  return {
    // What was sent again may differ from what is stored.
    events: repeated ? events.map(({ id, revision }) => [id, revision]) : await seen(store, events),
    revisions: [...revisions].sort(),
    place: (await placesOf(store))(position),
    repeated,
  }
}

/** Events with their place in the order of the store instead of position and time. */
async function seen(store: EventStore, events: readonly Recorded[]): Promise<unknown> {
  const placeOf = await placesOf(store)
  return events.map(({ position, time: _, ...event }) => ({ ...event, place: placeOf(position) }))
}

async function placesOf(store: EventStore): Promise<(position: string | undefined) => number | undefined> {
  const places = new Map((await all(store.readAll())).map(({ position }, i) => [position, i]))
  return (position) => (position === undefined ? undefined : places.get(position))
}

/** Whether every stream's revisions rise by one, from 0. */
function gapless(log: readonly Recorded[]): boolean {
  const next = new Map<string, number>()
  return log.every(({ stream, revision }) => {
    const wanted = next.get(stream) ?? 0
    next.set(stream, wanted + 1)
    return revision === wanted
  })
}

async function all(events: AsyncIterable<Recorded>): Promise<Recorded[]> {
  const list: Recorded[] = []
  for await (const event of events) list.push(event)
  return list
}
