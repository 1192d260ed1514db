import {
  aggregateFromClass,
  defineAggregate,
  defineClaim,
  defineCommand,
  event,
  type EventStore,
  ofType,
  reject,
  type StreamEvent,
  subject,
} from 'mneme'
import { keyRing, memoryKeys, wrappingKey } from 'mneme/erasure'
import { memoryStore } from 'mneme/memory'
import { describe, expect, onTestFinished, test } from 'vitest'

import { changesBetween } from '../../src/inspector/changes.ts'
import type { InspectorOptions } from '../../src/inspector/inspector.ts'
import { ask, inspect } from './calls.ts'
import { cancel, fillShop, Order, place, Stock } from './shop.ts'

const Counter = defineAggregate({
  name: 'Counter',
  events: { Added: event<{ n: number }>() },
  initial: () => ({ sum: 0, last: 0 }),
  apply: { Added: ({ sum }, { n }) => ({ sum: sum + n, last: n }) },
})

class Tally {
  count = 0
  names = new Set<string>()
  apply({ data }: StreamEvent<string, { n: number }>): void {
    this.count++
    this.names.add(`n${data.n}`)
  }
  clone(): Tally {
    return Object.assign(new Tally(), { count: this.count, names: new Set(this.names) })
  }
}
const TallyOf = aggregateFromClass({
  name: 'Counter',
  events: { Added: Counter.events.Added },
  state: Tally,
})

function inspectorOf(store: EventStore, options: Omit<InspectorOptions, 'store'> = {}) {
  const inspector = inspect({ store, aggregates: [Counter], ...options })
  onTestFinished(async () => {
    await inspector.close()
    await store.close()
  })
  return inspector
}

async function counted(events: number) {
  const store = memoryStore()
  const added = Array.from({ length: events }, (_, n) => Counter.events.Added({ n }))
  await store.append({ stream: Counter('a'), events: added })
  return store
}

describe('the state of a stream', () => {
  test('is folded as of any revision, whichever was asked for before', async () => {
    const inspector = inspectorOf(await counted(2_000))
    const sums = async (revision: number) => {
      const { state, revision: at, event } = await ask(inspector, 'state', { stream: 'Counter-a', revision })
      return [at, (state.value as { sum: number }).sum, event?.revision]
    }
    for (const revision of [1_999, 1_998, 3, 0, 700, 1_200, 699, 1_999, 1, 1_000]) {
      expect(await sums(revision)).toEqual([revision, (revision * (revision + 1)) / 2, revision])
    }
    expect(await sums(-1)).toEqual(['none', 0, undefined])
    const now = await ask(inspector, 'state', { stream: 'Counter-a' })
    expect([now.revision, now.head]).toEqual([1_999, 1_999])
    await expect(sums(2_000)).rejects.toThrow('404 NO_EVENT')
  })

  test('comes with the difference to the one before', async () => {
    const inspector = inspectorOf(await counted(5))
    const { changes } = await ask(inspector, 'state', { stream: 'Counter-a', revision: 4 })
    expect(changes.map(({ path, before, after }) => [path, before?.value, after?.value])).toEqual([
      [['sum'], 6, 10],
      [['last'], 3, 4],
    ])
  })

  test('is folded by a class, too, and by several aggregates of one category', async () => {
    const inspector = inspectorOf(await counted(300), { aggregates: { Counter, Tally: TallyOf } })
    const countAt = async (revision: number) => {
      const asked = { stream: 'Counter-a', revision, aggregate: 'Tally' }
      const { state, changes, aggregates } = await ask(inspector, 'state', asked)
      expect(aggregates).toEqual(['Counter', 'Tally'])
      expect(changes.map(({ path }) => path[0])).toEqual(['count', 'names'])
      return (state.value as { count: number }).count
    }
    for (const revision of [299, 298, 250, 299, 10]) expect(await countAt(revision)).toBe(revision + 1)
  })

  test('is not kept if a restored store has another history', async () => {
    const before = await counted(400)
    const after = memoryStore()
    const negative = Array.from({ length: 400 }, (_, n) => Counter.events.Added({ n: 0 - n }))
    await after.append({ stream: Counter('a'), events: negative })
    let present = before
    const store = new Proxy(before, {
      get: (_, name) => {
        const value: unknown = Reflect.get(present, name)
        return typeof value === 'function' ? (value.bind(present) as unknown) : value
      },
    })
    const inspector = inspectorOf(store)
    const sum = async () => {
      const { state } = await ask(inspector, 'state', { stream: 'Counter-a', revision: 399 })
      return (state.value as { sum: number }).sum
    }
    expect(await sum()).toBe(79_800)
    present = after
    expect(await sum()).toBe(-79_800)
  })

  test('is refused with a reason if it cannot be folded', async () => {
    const store = await counted(10)
    await store.append({ stream: 'Counter-b', events: [{ type: 'Counter.Unknown', data: {} }] })
    await store.append({ stream: 'Other-a', events: [{ type: 'Other', data: {} }] })
    await store.truncate(Counter('a'), { before: 5 })
    const inspector = inspectorOf(store)
    const asked = (stream: string) => ask(inspector, 'state', { stream })
    await expect(asked('Counter-a')).rejects.toThrow('410 STREAM_TRUNCATED')
    await expect(asked('Counter-b')).rejects.toThrow(/UNKNOWN_EVENT/)
    await expect(asked('Other-a')).rejects.toThrow('404 NO_AGGREGATE')
  })

  test('is shown in parts, which are loaded on demand', async () => {
    const Wide = defineAggregate({
      name: 'Wide',
      events: { Filled: event() },
      initial: () => ({ items: Array.from({ length: 200 }, (_, n) => n) }),
      apply: { Filled: (state) => state },
    })
    const store = memoryStore()
    await store.append({ stream: Wide('a'), events: [Wide.events.Filled()] })
    const inspector = inspectorOf(store, { aggregates: [Wide] })
    const { state } = await ask(inspector, 'state', { stream: 'Wide-a' })
    expect(state.cuts).toEqual([{ path: ['items'], kind: 'array', size: 200, shown: 50 }])
    const of = { stream: 'Wide-a', revision: 0, part: 'state' } as const
    const more = await ask(inspector, 'value', { of, path: ['items'], skip: 190 })
    expect(more.value).toEqual([190, 191, 192, 193, 194, 195, 196, 197, 198, 199])
  })
})

test('differences are listed up to a number, and what both share is not looked at', () => {
  const shared = new Proxy({}, { ownKeys: () => expect.fail('looked at') })
  const before = { shared, list: [1, 2], gone: true, set: new Set(['a']), map: new Map([['k', 1]]) }
  const after = { shared, list: [1, 3, 4], set: new Set(['a', 'b']), map: new Map([['k', 2]]) }
  const { changes } = changesBetween(before, after)
  expect(changes.map(({ path, before, after }) => [path.join('.'), before?.value, after?.value])).toEqual([
    ['list.1', 2, 3],
    ['list.2', undefined, 4],
    ['gone', true, undefined],
    ['set.1', undefined, 'b'],
    ['map.k', 1, 2],
  ])
  const many = changesBetween({}, Object.fromEntries(Array.from({ length: 999 }, (_, n) => [n, n])))
  expect([many.changes.length, many.isMore]).toEqual([200, true])
})

describe('a trial', () => {
  async function shop() {
    const store = memoryStore()
    await fillShop(store, 6)
    const inspector = inspectorOf(store, { aggregates: [Order, Stock], commands: [place, cancel] })
    return { store, inspector }
  }
  const address = { street: 's', city: 'c', country: 'GB' }
  const wanted = { order: '9', customer: 'c', sku: 'pen', quantity: 2, address }

  test('says what a command would append now, and appends nothing', async () => {
    const { store, inspector } = await shop()
    const head = await store.logHead()
    const result = await ask(inspector, 'try', { command: 'order.place', with: wanted })
    expect(result).toMatchObject({
      outcome: 'accepted',
      position: head,
      events: [
        { stream: 'Order-9', revision: 0, type: 'Order.Placed' },
        { stream: 'Stock-pen', type: 'Stock.Reserved', preview: '{order: "9", quantity: 2}' },
      ],
    })
    if (result.outcome !== 'accepted') return
    expect(result.changes.map(({ path }) => path.join('.'))).toContain('stock.available')
    expect(await store.logHead()).toBe(head)
    expect(await store.head('Order-9')).toBe('none')
  })

  test('is decided on any point of the past', async () => {
    const { inspector } = await shop()
    const placed = { stream: 'Order-1001', revision: 0 }
    const cancelled = async (at: object) => {
      const asked = { command: 'order.cancel', with: { order: '1001', reason: 'late' }, ...at }
      const result = await ask(inspector, 'try', asked)
      return result.outcome === 'rejected' ? result.rejection.value : result.outcome
    }
    expect(await cancelled({})).toEqual({ reason: 'on-its-way', status: 'shipped' })
    expect(await cancelled({ at: placed })).toBe('accepted')
    // Stock as it was before most of it was reserved.
    const before = await ask(inspector, 'try', {
      command: 'order.place',
      with: { ...wanted, sku: 'paper' },
      at: { stream: 'Stock-paper', revision: 0 },
    })
    expect(before).toMatchObject({
      outcome: 'accepted',
      at: { stream: 'Stock-paper', revision: 0 },
      state: { value: { stock: { available: 398 } } },
    })
  })

  test('says why an input or a decision fails', async () => {
    const { inspector } = await shop()
    const wrong = { command: 'order.place', with: { ...wanted, quantity: 0 } }
    expect(await ask(inspector, 'try', wrong)).toMatchObject({
      outcome: 'failed',
      error: { code: 'INVALID_DATA' },
    })
    await expect(ask(inspector, 'try', { command: 'nothing', with: {} })).rejects.toThrow('NO_COMMAND')
    const nowhere = { command: 'order.cancel', with: {}, at: { stream: 'Order-1', revision: 0 } }
    await expect(ask(inspector, 'try', nowhere)).rejects.toThrow('NO_EVENT')
  })

  test('is given what the command needs, follows streams, and reads claims', async () => {
    const Email = defineClaim({ name: 'Email', of: (text: string) => text, secret: 'a secret of 16 bytes' })
    const Person = defineAggregate({
      name: 'Person',
      events: { Joined: event<{ at: string; boss: string }>() },
      initial: () => ({ boss: '' }),
      apply: { Joined: (_, { boss }) => ({ boss }) },
    })
    const join = defineCommand({
      needs: ofType<{ now: () => string }>(),
      reads: (input: { id: string; email: string; boss: string }) => ({
        person: Person(input.id),
        boss: Person(input.boss),
        email: Email(input.email),
      }),
      follow: ({ boss }) => ({ bossOfBoss: boss.boss === '' ? undefined : Person(boss.boss) }),
      handle: ({ bossOfBoss }, { id, boss }, { on, now }) =>
        bossOfBoss?.boss === 'cat'
          ? reject('cat')
          : [on.person(Person.events.Joined({ at: now(), boss })), on.email.claim(id)],
    })
    const store = memoryStore()
    const needs = { now: () => 'today' }
    const inspector = inspectorOf(store, { commands: { join }, needs })
    const joined = (id: string, boss: string) =>
      ask(inspector, 'try', { command: 'join', with: { id, email: `${id}@example.org`, boss } })
    expect(await joined('ann', 'ben')).toMatchObject({
      outcome: 'accepted',
      events: [{ preview: '{at: "today", boss: "ben"}' }, { type: 'Email.Claimed' }],
    })
    await store.append({ stream: Person('cat'), events: [Person.events.Joined({ at: '', boss: 'cat' })] })
    await store.append({ stream: Person('ben'), events: [Person.events.Joined({ at: '', boss: 'cat' })] })
    expect(await joined('ann', 'ben')).toMatchObject({ outcome: 'rejected' })
  })

  test('reads a long stream only up to where it stood', async () => {
    const show = defineCommand({
      reads: (input: { id: string }) => Counter(input.id),
      handle: ({ sum }, _, { revision }) => reject('so-far', { sum, revision }),
    })
    const inspector = inspectorOf(await counted(1_000), { commands: { show } })
    for (const revision of [0, 1, 499, 998, 999]) {
      const at = { stream: 'Counter-a', revision }
      const result = await ask(inspector, 'try', { command: 'show', with: { id: 'a' }, at })
      expect(result).toMatchObject({
        rejection: { value: { sum: (revision * (revision + 1)) / 2, revision } },
      })
    }
  })

  test('shows no personal value, neither a recorded nor a tried one', async () => {
    const Patient = defineAggregate({
      name: 'Patient',
      events: {
        Admitted: event<{ id: string; name: string }>().personal({
          name: (data) => subject('patient', data.id),
        }),
      },
      initial: () => ({ names: [] as readonly unknown[] }),
      apply: { Admitted: ({ names }, { name }) => ({ names: [...names, name] }) },
    })
    const admit = defineCommand({
      reads: (input: { id: string; name: string }) => Patient(input.id),
      handle: (_, input) => Patient.events.Admitted(input),
    })
    const ring = keyRing({
      keys: memoryKeys(),
      wrap: wrappingKey('w', new Uint8Array(32)),
      secret: new Uint8Array(32),
    })
    const store = memoryStore({ personal: ring })
    await store.append({ stream: Patient('1'), events: [Patient.events.Admitted({ id: '1', name: 'Ada' })] })
    const inspector = inspectorOf(store, { aggregates: [Patient], commands: { admit } })
    const tried = await ask(inspector, 'try', { command: 'admit', with: { id: '1', name: 'Grace' } })
    const state = await ask(inspector, 'state', { stream: 'Patient-1' })
    expect(tried.outcome).toBe('accepted')
    expect(JSON.stringify([tried, state])).not.toMatch(/Ada|Grace/)
  })
})

test('commands have a form if their schema is known, and a name', async () => {
  const free = defineCommand({
    reads: (input: { id: string }) => Counter(input.id),
    handle: () => [],
  })
  const inspector = inspectorOf(memoryStore(), { commands: { place, free } })
  const { commands } = await ask(inspector, 'about', {})
  expect(commands.map(({ name, schema }) => [name, schema?.required])).toEqual([
    ['place', ['order', 'customer', 'sku', 'address']],
    ['free', undefined],
  ])
  expect(() => inspect({ store: memoryStore(), commands: [free] })).toThrow(/commands\[0\] has no name/)
  expect(() => inspect({ store: memoryStore(), commands: [{} as never] })).toThrow(/made by defineCommand/)
})
