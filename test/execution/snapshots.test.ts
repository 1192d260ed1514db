import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  aggregateFromClass,
  createStore,
  defineAggregate,
  defineCommand,
  event,
  execute,
  load,
  type Sealed,
  type SnapshotMessage,
  subject,
} from 'mneme'
import { eraseSubject, reveal } from 'mneme/erasure'
import { verifySnapshots } from 'mneme/history'
import { expect, onTestFinished, test } from 'vitest'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { ringOf } from '../erasure/customers.ts'

const { Rated } = defineAggregate({
  name: 'Film',
  events: { Rated: event<{ by: string; stars: number }>() },
  initial: () => ({}),
  apply: { Rated: (state) => state },
}).events

/** The last rating of each person, in a Map, and when the last one came, in a Date. */
const Film = defineAggregate({
  name: 'Film',
  events: { Rated },
  initial: () => ({ ratings: new Map<string, number>(), last: new Date(0) }),
  apply: {
    Rated: ({ ratings, last }, { by, stars }) => ({
      ratings: new Map([...ratings, [by, stars]]),
      last: new Date(last.getTime() + stars),
    }),
  },
  snapshot: {
    version: 1,
    every: 3,
    toJson: ({ ratings, last }) => ({ ratings: [...ratings], last: last.getTime() }),
    fromJson: (json) => ({ ratings: new Map(json.ratings), last: new Date(json.last) }),
  },
})

class Average {
  sum: number
  count: number
  constructor(sum = 0, count = 0) {
    this.sum = sum
    this.count = count
  }
  apply({ data }: { data: { stars: number } }) {
    this.sum += data.stars
    this.count++
  }
  clone() {
    return new Average(this.sum, this.count)
  }
}

const FilmAverage = aggregateFromClass({
  name: 'Film',
  events: { Rated },
  state: Average,
  snapshot: {
    name: 'FilmAverage',
    version: 1,
    every: 3,
    toJson: ({ sum, count }) => ({ sum, count }),
    fromJson: ({ sum, count }) => new Average(sum, count),
  },
})

/** Two stores over one data are like two processes: neither has the other's cache. */
function stores() {
  const data = new MemoryData()
  return { data, store: createStore(memoryAdapter(data)), other: () => createStore(memoryAdapter(data)) }
}

function watch(): SnapshotMessage[] {
  const messages: SnapshotMessage[] = []
  const note = (message: unknown) => messages.push(message as SnapshotMessage)
  subscribe('mneme.snapshot', note)
  onTestFinished(() => void unsubscribe('mneme.snapshot', note))
  return messages
}

const ratings = [1, 5, 3, 4].map((stars, i) => Rated({ by: `p${String(i % 3)}`, stars }))

test('a state with Maps and Dates, and an instance of a class, come back from their snapshots as they were', async () => {
  const { store, other, data } = stores()
  await store.append({ stream: Film('a'), events: ratings })
  const folded = await load(store, Film('a'))
  await load(store, FilmAverage('a'))
  await store.close()
  expect([...data.snapshots.get('Film-a')!.keys()]).toEqual(['Film', 'FilmAverage'])

  const messages = watch()
  const cold = other()
  await cold.append({ stream: Film('a'), events: [Rated({ by: 'p9', stars: 2 })] })
  const film = await load(cold, Film('a'))
  const average = await load(cold, FilmAverage('a'))
  expect(messages.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(['Film used', 'FilmAverage used'])
  expect(film.state).toEqual({
    ratings: new Map([...folded.state.ratings, ['p9', 2]]),
    last: new Date(15),
  })
  expect(() => film.state.ratings.clear()).toThrow(TypeError)
  expect(average.state).toEqual(new Average(15, 5))
  expect(average.state).toBeInstanceOf(Average)
  expect(await verifySnapshots(cold, FilmAverage)).toMatchObject({ outcome: 'same', verified: 1 })
})

test.each([
  [
    { version: 1, every: 3 },
    'snapshot',
    'the state of Film was refused: state.ratings: a Map is not JSON: store an array or an object; state.last: a Date is not JSON: store an ISO string. Keep JSON in the state, or give snapshot.toJson and snapshot.fromJson',
  ],
  [{ version: 0, every: 3 }, 'snapshot.version', 'snapshot.version must be a whole number from 1'],
  [{ version: 1, every: 0.5 }, 'snapshot.every', 'snapshot.every must be a whole number from 1'],
  [{ version: 1, every: 1, name: 'a b' }, 'snapshot.name', /name of letters/],
  [
    { version: 1, evry: 1 },
    'snapshot.evry',
    /unknown option 'snapshot.evry'; known options: version, every, name/,
  ],
  [{ version: 1, every: 1, toJson: () => 0 }, 'snapshot', /give both toJson and fromJson, or neither/],
])('the option snapshot %j is refused', (snapshot, argument, message) => {
  const define = () =>
    defineAggregate({
      name: 'Film',
      events: { Rated },
      initial: Film.initial,
      apply: { Rated: (state) => state },
      snapshot: snapshot as never,
    })
  expect(define).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }))
  expect(define).toThrow(message)
})

test('a class without toJson and fromJson is refused', () => {
  expect(() =>
    aggregateFromClass({
      name: 'Film',
      events: { Rated },
      state: Average,
      snapshot: { version: 1, every: 3 } as never,
    }),
  ).toThrow('snapshot of Film: the state is an instance of a class; give toJson and fromJson')
})

test('a state that stops being JSON fails no command, and its snapshot is told to have failed, with the path', async () => {
  const Odd = defineAggregate({
    name: 'Odd',
    events: { Grown: event<{ n: number }>() },
    initial: (): { n: number | bigint } => ({ n: 0 }),
    apply: { Grown: (_, { n }) => ({ n: BigInt(n) }) },
    snapshot: { version: 1, every: 1 },
  })
  const grow = defineCommand({
    reads: (id: string) => Odd(id),
    handle: () => Odd.events.Grown({ n: 1 }),
  })
  const messages = watch()
  const { store } = stores()
  await execute(store, grow('a'))
  await store.close()
  expect(messages.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
    'read missing',
    'write failed',
  ])
  expect(messages[1]!.error).toMatchObject({
    message: 'the state of Odd was refused: state.n: a bigint is not JSON: store a string',
  })
})

test('a cached stream writes a snapshot each time that so many events were appended, and no more', async () => {
  const { store } = stores()
  const rate = defineCommand({
    reads: (id: string) => Film(id),
    handle: () => Rated({ by: 'p', stars: 1 }),
  })
  const messages = watch()
  for (let n = 0; n < 10; n++) await execute(store, rate('a'))
  await store.close()
  expect(messages.map(({ outcome, revision }) => [outcome, revision])).toEqual([
    ['missing', undefined],
    ['written', 2],
    ['written', 5],
    ['written', 8],
  ])
})

test('many who load a stream at once write one snapshot of it', async () => {
  const { store } = stores()
  await store.append({ stream: Film('a'), events: ratings })
  const messages = watch()
  await Promise.all(Array.from({ length: 5 }, () => load(store, Film('a'))))
  await store.close()
  const written = messages.filter(({ action }) => action === 'write').map(({ outcome }) => outcome)
  expect(written.filter((outcome) => outcome === 'written')).toHaveLength(1)
  expect(new Set(written)).toEqual(new Set(['written', 'skipped']))
})

test('why a snapshot is not used is told', async () => {
  const { store, other, data } = stores()
  await store.append({ stream: Film('a'), events: ratings })
  await load(store, Film('a'))
  await store.close()
  const kept = data.snapshots.get('Film-a')!.get('Film')!
  const messages = watch()
  const plants = [
    { ...kept, content: '{' },
    { ...kept, content: kept.content.replace('"version":1', '"version":7') },
    { ...kept, revision: 77 },
    { ...kept, content: '{"format":1,"version":1,"state":{"ratings":5}}' },
  ]
  for (const plant of plants) {
    data.snapshots.get('Film-a')!.set('Film', plant)
    const cold = other()
    expect((await load(cold, Film('a'))).state.ratings.size).toBe(3)
    // It has been replaced.
    await cold.close()
    expect(data.snapshots.get('Film-a')!.get('Film')).toEqual(kept)
  }
  const reads = messages.filter(({ action }) => action === 'read')
  expect(reads.map(({ outcome, reason }) => [outcome, reason])).toEqual([
    ['unusable', 'unreadable'],
    ['unusable', 'version'],
    ['unusable', 'history'],
    ['unusable', 'unreadable'],
  ])
})

test('a sealed value stays sealed in a snapshot, is revealed from there, and is erased with its subject', async () => {
  const Patient = defineAggregate({
    name: 'Patient',
    events: {
      Noted: event<{ id: string; text: string }>().personal({ text: ({ id }) => subject('patient', id) }),
    },
    initial: () => ({ notes: [] as readonly Sealed<string>[] }),
    apply: { Noted: ({ notes }, { text }) => ({ notes: [...notes, text] }) },
    snapshot: { version: 1, every: 2 },
  })
  const data = new MemoryData()
  const personal = ringOf()
  const open = () => createStore(memoryAdapter(data), { personal })
  const store = open()
  const events = ['a secret', 'another secret'].map((text) => Patient.events.Noted({ id: '7', text }))
  await store.append({ stream: Patient('7'), events })
  const folded = await load(store, Patient('7'))
  await store.close()
  const { content } = data.snapshots.get('Patient-7')!.get('Patient')!
  expect(content).toContain('$sealed')
  expect(content).not.toContain('secret')
  const messages = watch()
  const cold = open()
  const loaded = await load(cold, Patient('7'))
  expect(messages[0]).toMatchObject({ outcome: 'used' })
  expect(loaded).toEqual(folded)
  expect(await reveal(cold, loaded.state)).toEqual({ notes: ['a secret', 'another secret'] })
  await eraseSubject(cold, subject('patient', '7'), { reason: 'asked for' })
  expect(JSON.stringify(await reveal(open(), (await load(open(), Patient('7'))).state))).not.toContain(
    'secret',
  )
})

test('verifySnapshots needs an aggregate with snapshots, and a store that keeps them', async () => {
  const { store, data } = stores()
  const Plain = defineAggregate({
    name: 'Film',
    events: { Rated },
    initial: () => 0,
    apply: { Rated: (count) => count + 1 },
  })
  await expect(verifySnapshots(store, Plain)).rejects.toThrow('Film has no snapshots')
  const adapter = memoryAdapter(data)
  const without = createStore({ ...adapter, capabilities: { ...adapter.capabilities, snapshots: false } })
  await expect(verifySnapshots(without, Film)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
})

test('verifySnapshots takes a sample, and reports what it could not compare', async () => {
  const { store, data } = stores()
  for (let n = 0; n < 9; n++) {
    await store.append({ stream: Film(String(n)), events: ratings })
    await load(store, Film(String(n)))
  }
  await store.close()
  const other = createStore(memoryAdapter(data))
  expect(await verifySnapshots(other, Film)).toEqual({ outcome: 'same', verified: 9, skipped: [] })
  expect(await verifySnapshots(other, Film, { sample: 4 })).toMatchObject({ verified: 4 })
  data.snapshots.set('Film-3', new Map([['Film', { revision: 3, id: 'x', content: '{' }]]))
  expect(await verifySnapshots(other, Film, { streams: [Film('3'), 'Film-4'] })).toEqual({
    outcome: 'same',
    verified: 1,
    skipped: ['Film-3'],
  })
  const nothing = { outcome: 'nothing-verified', skipped: ['Film-3'] }
  expect(await verifySnapshots(other, Film, { streams: [Film('3')] })).toEqual(nothing)
  expect(await verifySnapshots(createStore(memoryAdapter()), Film)).toEqual({ ...nothing, skipped: [] })
})
