import { inspect } from 'node:util'
import { memoryKeys, reveal } from 'mneme/erasure'
import { checkHistory, exportEvents, importEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import {
  defineAggregate,
  defineCommand,
  defineEvents,
  event,
  type EventStore,
  execute,
  load,
  type Recorded,
  type Sealed,
  SealBrokenError,
  subject,
} from 'mneme'
import { expect, test } from 'vitest'
import * as z from 'zod'
import {
  changeEmail,
  Customer,
  EmailChanged,
  MARKER,
  register,
  Registered,
  ringOf,
  Upgraded,
} from './customers.ts'

const ada = { id: 'c-1', plan: 'basic', email: MARKER }

function open(ring = ringOf()): EventStore {
  return memoryStore({ personal: ring })
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

test('a personal value is sealed in the store, in results and in states, and reveal gives it', async () => {
  const store = open()
  const { events, state } = await execute(store, register(ada))
  const stored = await all(store.readAll())
  const loaded = await load(store, Customer('c-1'))
  for (const where of [events, state, stored, loaded]) {
    expect(JSON.stringify(where)).not.toContain(MARKER)
    expect(inspect(where, { depth: 20, showHidden: true })).not.toContain(MARKER)
  }
  expect(events).toEqual(stored)
  expect(loaded.state).toEqual(state)
  expect(await reveal(store, loaded.state.email)).toBe(MARKER)
  expect(await reveal(store, state)).toEqual({ plan: 'basic', email: MARKER })
  expect(await reveal(store, events[0]!.data)).toEqual(ada)
})

test('apply sees the same sealed value before its event is stored as after', async () => {
  const seen: unknown[] = []
  const Watched = defineAggregate({
    name: 'Watched',
    events: { Noted: event<{ text: string }>().personal({ text: () => subject('note', '1') }) },
    initial: () => ({ texts: [] as readonly Sealed<string>[] }),
    apply: {
      Noted: (state, { text }) => {
        seen.push(text)
        return { texts: [...state.texts, text] }
      },
    },
  })
  const note = defineCommand({
    reads: (_text: string) => Watched('1'),
    handle: (_state, text) => [Watched.events.Noted({ text }), Watched.events.Noted({ text })],
  })
  const store = open()
  await Promise.all([execute(store, note('a')), execute(store, note('b'))])
  const stored = await all(store.read(Watched('1')))
  expect(seen).toEqual(stored.map(({ data }) => data.text))
  expect(new Set(seen.map((text) => JSON.stringify(text))).size).toBe(4)
  const { state } = await load(store, Watched('1'))
  expect(await reveal(store, state.texts)).toEqual(['a', 'a', 'b', 'b'])
})

test('an event that was only made shows no plain value, and equals another one with the same value', () => {
  const made = Registered(ada)
  expect(JSON.stringify(made)).not.toContain(MARKER)
  expect(inspect(made, { depth: 9, showHidden: true, getters: true })).not.toContain(MARKER)
  expect(structuredClone(made)).toEqual(made)
  expect(Registered(ada)).toEqual(made)
  expect(Registered({ ...ada, email: 'another' })).not.toEqual(made)
  expect(Object.isFrozen(made.data.email)).toBe(true)
})

test('a made event reveals at once, and a copy of its value by JSON is refused when it is appended', async () => {
  const store = open()
  const made = Registered(ada)
  expect(await reveal(store, made.data.email)).toBe(MARKER)
  const copied = JSON.parse(JSON.stringify(made)) as typeof made
  await expect(store.append({ stream: Customer('c-1'), events: [copied] })).rejects.toThrow(
    'is of an event that was not stored',
  )
  await expect(store.append({ stream: 'Customer-c-1', events: [copied] })).rejects.toThrow(
    'data.email: holds a sealed value of another event',
  )
  expect(await store.head('Customer-c-1')).toBe('none')
})

test('a sealed value that goes on into another event is sealed anew for it', async () => {
  const store = open()
  const { state } = await execute(store, register(ada))
  const copy = defineCommand({
    reads: (id: string) => Customer(id),
    handle: ({ email }, id) => (email ? EmailChanged({ id, email }) : []),
  })
  const { events } = await execute(store, copy('c-1'))
  const { email } = events[0]!.data
  expect(email).not.toEqual(state.email)
  expect(await reveal(store, email)).toBe(MARKER)
})

test('a sealed value does not go on into an event of another subject, also if it came by an input', async () => {
  const store = open()
  const { state } = await execute(store, register(ada))
  const stolen = JSON.parse(JSON.stringify(state.email)) as string
  for (const append of [
    () => execute(store, register({ id: 'c-2', plan: 'a', email: stolen })),
    () =>
      store.append({
        stream: Customer('c-2'),
        events: [Registered({ ...ada, id: 'c-2', email: state.email! })],
      }),
  ]) {
    await expect(append()).rejects.toThrow('data.email: holds a sealed value of another subject')
  }
  expect(await store.head(Customer('c-2'))).toBe('none')
})

test('sealed values survive JSON, structuredClone and spreading, and can be kept anywhere', async () => {
  const store = open()
  const { state } = await execute(store, register(ada))
  for (const copy of [
    JSON.parse(JSON.stringify(state)) as typeof state,
    structuredClone(state),
    { ...state, email: { ...state.email } as typeof state.email },
  ]) {
    expect(copy).toEqual(state)
    expect(await reveal(store, copy.email)).toBe(MARKER)
  }
})

test('nested values and several subjects: each value is sealed for its own', async () => {
  const Trips = defineEvents('Trip', {
    Booked: event<{
      trip: string
      passengers: readonly { id: string; name: string; meal: string }[]
      contact: { phone: string; note?: string | null }
      tags?: readonly string[]
    }>().personal({
      passengers: { name: (_data, passenger) => subject('passenger', passenger.id) },
      contact: { phone: (data) => subject('trip', data.trip), note: (data) => subject('trip', data.trip) },
      tags: (data) => subject('trip', data.trip),
    }),
  })
  const data = {
    trip: 't-1',
    passengers: [
      { id: 'p-1', name: 'Ada', meal: 'any' },
      { id: 'p-2', name: 'Bob', meal: 'none' },
    ],
    contact: { phone: '123', note: null },
    tags: ['vip'],
  }
  const ring = ringOf()
  const store = open(ring)
  const { events } = await store.append({ stream: 'trips', events: [Trips.Booked(data)] })
  const sealed = events[0]!.data as ReturnType<typeof Trips.Booked>['data']
  for (const value of ['Ada', 'Bob', '123', 'vip']) expect(JSON.stringify(sealed)).not.toContain(value)
  expect(sealed.passengers[1]!.meal).toBe('none')
  expect(await reveal(store, sealed)).toEqual(data)
  await ring.destroy(ring.hashOf(subject('passenger', 'p-1')), '2026-01-01T00:00:00.000Z')
  const revealed = await reveal(store, sealed)
  expect(String(revealed.passengers[0]!.name)).toBe('[erased]')
  expect(revealed.passengers[1]!.name).toBe('Bob')
})

test('a sealed value that is moved to another event, field or subject does not open', async () => {
  const store = open()
  const [first] = (await execute(store, register(ada))).events
  const other = (await execute(store, register({ ...ada, id: 'c-2' }))).events[0]!
  const text = (value: unknown) => (value as { $sealed: string }).$sealed
  const moved = { ...other, data: { ...other.data, email: first!.data.email } } as Recorded
  expect(() => Customer.decode(moved)).toThrow(SealBrokenError)
  const elsewhere = text(first!.data.email).replace(first!.id, other.id)
  await expect(reveal(store, { $sealed: elsewhere } as never)).rejects.toThrow(SealBrokenError)
  const renamed = text(first!.data.email).replace(':email:', ':name:')
  await expect(reveal(store, { $sealed: renamed } as never)).rejects.toThrow(SealBrokenError)
  for (const place of [0, 5, 20, 30, 60]) {
    const [id, path, sealed] = text(first!.data.email).split(':') as [string, string, string]
    const changed = sealed.slice(0, place) + (sealed[place] === 'A' ? 'B' : 'A') + sealed.slice(place + 1)
    await expect(reveal(store, { $sealed: `${id}:${path}:${changed}` } as never)).rejects.toThrow(
      SealBrokenError,
    )
  }
})

test('a sealed value in a field that is not personal is refused', async () => {
  const store = open()
  const { state } = await execute(store, register(ada))
  expect(() => Upgraded({ plan: state.email } as never)).toThrow(
    'data.plan: holds a sealed value, but Customer.Upgraded does not name the field in personal(...)',
  )
})

test('an event that was read is appended again as it is: its values are sealed for it already', async () => {
  const store = open()
  const [event] = (await execute(store, register(ada))).events
  const copy = memoryStore()
  const { type, data, id } = event!
  for (const stream of ['Customer-c-1', Customer('c-2')]) {
    const { events } = await copy.append({ stream, events: [{ type, data, id }] })
    expect(events[0]!.data).toEqual(data)
  }
})

test('events are imported as they are sealed, and open with the same keys', async () => {
  const ring = ringOf()
  const store = open(ring)
  const { state, events } = await execute(store, register(ada))
  const copy = open(ring)
  await importEvents(copy, exportEvents(store))
  expect((await all(copy.readAll())).map(({ id, data }) => ({ id, data }))).toEqual(
    events.map(({ id, data }) => ({ id, data })),
  )
  const loaded = await load(copy, Customer('c-1'))
  expect(loaded.state).toEqual(state)
  expect(await reveal(copy, loaded.state.email)).toBe(MARKER)
})

test('a store without a key ring refuses personal data, and says what to do', async () => {
  const store = memoryStore()
  await expect(execute(store, register(ada))).rejects.toThrow(
    'Customer.Registered has personal data, but this store has no keys to seal it with: open the store with { personal',
  )
  await expect(store.append({ stream: Customer('c-1'), events: [Registered(ada)] })).rejects.toThrow(
    'has no keys',
  )
  await expect(reveal(store, 'a')).rejects.toThrow('no keys to reveal with')
  expect(() => memoryStore({ personal: {} as never })).toThrow('personal must be a key ring')
})

test('the plain value is checked by the schema when the event is made; a sealed one must be revealed before', async () => {
  const { Joined } = defineEvents('Club', {
    Joined: event(z.object({ id: z.string(), email: z.email() })).personal({
      email: (data) => subject('member', data.id),
    }),
  })
  expect(() => Joined({ id: '1', email: 'nobody' })).toThrow(
    'Club.Joined was refused: data.email: Invalid email',
  )
  const store = open()
  const made = Joined({ id: '1', email: MARKER })
  const { events } = await store.append({ stream: 'club', events: [made] })
  expect(await reveal(store, events[0]!.data)).toEqual({ id: '1', email: MARKER })
  // @ts-expect-error -- it is sealed
  expect(() => Joined(made.data)).toThrow('data.email: is sealed, so the schema of the event cannot check it')
})

test('values recorded before the field became personal are boxed, also by upcasts, and sealed when they go on', async () => {
  const Person = defineAggregate({
    name: 'Person',
    events: {
      Named: event<{ name: string }>()
        .next((old) => ({ id: 'p-1', name: old.name }))
        .personal({ name: (data) => subject('person', data.id) })
        .next((old) => ({ ...old, kind: 'natural' }))
        .personal({ name: (data) => subject('person', data.id) }),
    },
    initial: () => ({ names: [] as readonly Sealed<string>[] }),
    apply: { Named: (state, { name }) => ({ names: [...state.names, name] }) },
  })
  const store = open()
  await store.append({ stream: 'Person-1', events: [{ type: 'Person.Named', data: { name: 'Old' } }] })
  await store.append({
    stream: 'Person-1',
    events: [{ type: 'Person.Named', version: 2, data: { id: 'p-1', name: 'Older' } }],
  })
  await store.append({
    stream: Person('1'),
    events: [Person.events.Named({ id: 'p-1', name: 'New', kind: 'natural' })],
  })
  const { state } = await load(store, Person('1'))
  expect(await reveal(store, state.names)).toEqual(['Old', 'Older', 'New'])
  const again = Person.events.Named({ id: 'p-1', name: state.names[0]!, kind: 'natural' })
  const { events } = await store.append({ stream: Person('1'), events: [again] })
  expect(JSON.stringify(events)).not.toContain('Old')
  expect(await reveal(store, events[0]!.data as object)).toMatchObject({ name: 'Old' })
  expect(JSON.parse(JSON.stringify(state.names[0]))).toEqual(state.names[0])
})

test('checkHistory takes sealed values for what they are, and still checks the plain ones beside them', async () => {
  const spec = event(z.object({ id: z.string(), email: z.email(), age: z.number().max(150) })).personal({
    email: (data) => subject('member', data.id),
    age: (data) => subject('member', data.id),
  })
  const Member = defineAggregate({
    name: 'Member',
    events: { Joined: spec },
    initial: () => ({}),
    apply: { Joined: () => ({}) },
  })
  const store = open()
  const made = Member.events.Joined({ id: '1', email: MARKER, age: 7 })
  await store.append({ stream: Member('1'), events: [made] })
  const before = { id: '1', email: MARKER, age: 7 }
  await store.append({ stream: 'Member-1', events: [{ type: 'Member.Joined', data: before }] })
  expect((await checkHistory(store, [Member])).findings).toEqual([])
  await store.append({
    stream: 'Member-1',
    events: [{ type: 'Member.Joined', data: { ...before, id: 1, age: 200 } }],
  })
  const { findings } = await checkHistory(store, [Member])
  expect(findings).toMatchObject([{ kind: 'schema-refused', events: 1, paths: ['age', 'id'] }])
  expect(JSON.stringify(findings)).not.toContain(MARKER)
})

test('W4: a repeat by its key is a repeat although its values are sealed by other nonces', async () => {
  const store = open()
  const first = await execute(store, register(ada), { key: 'k' })
  const again = await execute(store, register(ada), { key: 'k' })
  expect(again).toMatchObject({ repeated: true, events: first.events, state: first.state })
  await expect(execute(store, register({ ...ada, email: 'x' }), { key: 'k' })).rejects.toThrow(
    'was used before',
  )
  const write = { stream: Customer('c-9'), events: [Registered(ada)] }
  const appended = await store.append(write, { key: 'l' })
  expect(await store.append({ ...write, events: [Registered(ada)] }, { key: 'l' })).toEqual({
    ...appended,
    repeated: true,
  })
  await expect(
    store.append({ ...write, events: [Registered({ ...ada, email: 'x' })] }, { key: 'l' }),
  ).rejects.toThrow('was used before')
})

test('W4: a repeat by the same ids stores one copy', async () => {
  const store = open()
  const id = crypto.randomUUID()
  const write = () =>
    store.append({ stream: Customer('c-1'), events: [{ ...Registered(ada), id }], expected: 'none' })
  const first = await write()
  const again = await write()
  expect(again).toEqual({ ...first, repeated: true })
})

test('hot commands of one stream with new and known subjects keep their order', async () => {
  const store = open(ringOf(memoryKeys()))
  await execute(store, register(ada))
  const emails = Array.from({ length: 50 }, (_, i) => `${String(i)}@example.org`)
  await Promise.all(emails.map((email) => execute(store, changeEmail({ id: 'c-1', email }))))
  const changed = (await all(store.read(Customer('c-1')))).slice(1)
  const revealed = (await reveal(
    store,
    changed.map(({ data }) => data),
  )) as readonly { email: string }[]
  expect(revealed.map(({ email }) => email)).toEqual(emails)
})

test.each([
  [() => event<{ a: string }>().personal({}), 'personal must be an object that names a field'],
  [() => event<{ a: string }>().personal(null as never), 'personal must be a function'],
  [() => event<{ a: string }>().personal({ a: 3 as never }), 'personal.a must be a function'],
  [
    () =>
      event<{ a: string }>()
        .personal({ a: () => subject('a', '1') })
        .personal({}),
    'personal is called twice',
  ],
  [() => subject('', '1'), 'kind must be the kind of a subject that is not blank'],
  [() => subject('a', 1 as never), 'id must be the id of a subject'],
  [
    () => defineEvents('X', { Y: event<{ a: string }>().personal({ a: () => 'a' as never }) }).Y({ a: 'b' }),
    "what personal says of a must be subject(kind, id), like subject('customer', 'c-17')",
  ],
] as const)('a wrong definition has one clear error (%#)', (define, message) => {
  expect(define).toThrow(message)
})

test('what an input pretends to be a sealed value is refused, or stored as the plain value that it is', async () => {
  const store = open()
  for (const [value, message] of [
    [{ $sealed: 'x' }, 'this is no sealed value of Mneme'],
    [{ $sealed: 3 }, undefined],
    [{ $unsealed: undefined }, 'data.email.$unsealed: undefined is not JSON'],
    [{ $unsealed: new Date(0) }, 'data.email.$unsealed: a Date is not JSON'],
    [{ $unsealed: 'plain' }, undefined],
  ] as const) {
    const appending = execute(store, register({ ...ada, email: value as never }))
    if (message !== undefined) await expect(appending).rejects.toThrow(message)
    else {
      const { events } = await appending
      const expected = '$unsealed' in value ? 'plain' : value
      expect(await reveal(store, events[0]!.data.email)).toEqual(expected)
    }
  }
})
