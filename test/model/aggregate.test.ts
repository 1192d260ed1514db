import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  aggregateFromClass,
  defineAggregate,
  defineCommand,
  defineEvents,
  event,
  execute,
  InvalidArgumentError,
  InvalidDataError,
  ofType,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { eventsOf } from '../support/observed-store.ts'

/** What the compiler refuses and a program in JavaScript may still do. */
const define = defineAggregate as unknown as (
  definition: unknown,
) => { events: Record<string, (data?: unknown) => never> } & ((id: unknown) => never)
const base = { name: 'Thing', events: { Made: event() }, initial: () => ({}), apply: { Made: () => ({}) } }

describe('defineAggregate', () => {
  test.each([
    ['no apply for an event', { apply: {} }, 'apply.Made'],
    ['an apply that is no function', { apply: { Made: {} } }, 'apply.Made'],
    ['an apply of no event', { apply: { Made: () => ({}), Mode: () => ({}) } }, 'apply.Mode'],
    ['an inherited apply', { events: { toString: event() }, apply: {} }, 'apply.toString'],
    ['an empty name', { name: '' }, 'name'],
    ['a name with a dash', { name: 'Bank-Account' }, 'name'],
    ['a name with a space', { name: 'Bank Account' }, 'name'],
    ['a name that is no string', { name: 5 }, 'name'],
    ['a name with a slash', { name: 'a/b' }, 'name'],
    ['a lone surrogate as its name', { name: '\uD800' }, 'name'],
    [
      'one type twice',
      {
        events: { Made: event(), Again: event().formerly('Thing.Made') },
        apply: { Made: () => ({}), Again: () => ({}) },
      },
      'events',
    ],
    [
      'one former type twice',
      {
        events: { Made: event().formerly('Old'), Again: event().formerly('Old') },
        apply: { Made: () => ({}), Again: () => ({}) },
      },
      'events',
    ],
    [
      'an event of a bad name',
      { events: { 'Was made': event() }, apply: { 'Was made': () => ({}) } },
      "the event type 'Thing.Was made'",
    ],
    ['an event without a name', { events: { '': event() }, apply: { '': () => ({}) } }, 'events.'],
    [
      'an event named __proto__',
      { events: JSON.parse('{"__proto__":{"~standard":{}}}') as object, apply: {} },
      /__proto__/,
    ],
    ['no events', { events: undefined }, 'events'],
    ['an event that is no schema', { events: { Made: { amount: 'number' } } }, 'events.Made'],
    ['an event that is null', { events: { Made: null } }, 'events.Made'],
    ['no initial', { initial: undefined }, 'initial'],
    ['an initial that is no function', { initial: {} }, 'initial'],
    ['no apply at all', { apply: undefined }, 'apply'],
    ['an id that is a string', { id: 'string' }, 'id'],
    ['an id that is no schema', { id: {} }, 'id'],
  ])('refuses %s', (_, wrong, argument) => {
    const defining = () => define({ ...base, ...wrong })
    expect(defining).toThrow(InvalidArgumentError)
    expect(defining).toThrow(
      expect.objectContaining({
        argument: typeof argument === 'string' ? argument : (expect.stringMatching(argument) as unknown),
      }) as Error,
    )
  })

  test.each(['constructor', 'toString', 'hasOwnProperty', 'valueOf', 'then'])(
    'takes an event named %s',
    async (name) => {
      const Thing = define({
        ...base,
        events: { [name]: event() },
        apply: { [name]: () => ({ folded: name }) },
      })
      const store = memoryStore()
      const { state } = await execute(store, { reads: Thing('t'), handle: () => Thing.events[name]!() })
      expect(state).toEqual({ folded: name })
      expect((await eventsOf(store, 'Thing-t'))[0]!.type).toBe(`Thing.${name}`)
      expect(await eventsOf(store, 'Thing-t')).toHaveLength(1)
    },
  )

  test('does not take inherited names for events', async () => {
    const Thing = define(base)
    const made = { type: 'Thing.constructor', data: {} }
    const command = { reads: Thing('t'), handle: () => made as never }
    await expect(execute(memoryStore(), command)).rejects.toMatchObject({ code: 'UNKNOWN_EVENT' })
  })

  test('takes letters and digits of any script', async () => {
    const Konto = define({ ...base, name: 'Girokonto.Größe_2' })
    const { events } = await execute(memoryStore(), { reads: Konto('ä'), handle: () => Konto.events.Made!() })
    expect(events).toMatchObject([{ type: 'Girokonto.Größe_2.Made', stream: 'Girokonto.Größe_2-ä' }])
  })
})

describe('an id', () => {
  const streamOf = (definition: object, id: unknown) =>
    (define({ ...base, ...definition })(id) as { stream: string }).stream

  test('is a string that is not empty, where nothing else is said', () => {
    expect(streamOf({}, 'a-b c')).toBe('Thing-a-b c')
    for (const wrong of ['', undefined, null, 5, {}, ['a']]) {
      expect(() => streamOf({}, wrong)).toThrow('the id of Thing must be a string that is not empty')
    }
  })

  test('may be checked and normalised by a schema', () => {
    const id = z.string().toLowerCase().min(2)
    expect(streamOf({ id }, 'ABC')).toBe('Thing-abc')
    expect(() => streamOf({ id }, 'a')).toThrow(InvalidDataError)
    expect(() => streamOf({ id: z.number() }, 5)).toThrow('a string that is not empty')
  })

  test('may be of any type, with a function to a string', () => {
    const id = ({ country, iban }: { country: string; iban: number }) => `${country}${iban}`
    expect(streamOf({ id }, { country: 'DE', iban: 12 })).toBe('Thing-DE12')
    expect(() => streamOf({ id: () => '' }, 'x')).toThrow(InvalidArgumentError)
    expect(() => streamOf({ id: () => undefined }, 'x')).toThrow(InvalidArgumentError)
  })
})

describe('aggregateFromClass', () => {
  test.each([
    ['no state', undefined],
    ['a state that is no class', {}],
  ])('refuses %s', (_, state) => {
    const defining = () =>
      aggregateFromClass({ name: 'Thing', events: { Made: event() }, state: state as never })
    expect(defining).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', argument: 'state' }) as Error,
    )
  })

  test('takes an apply that is a field', async () => {
    class Made {
      count = 0
      apply = () => ++this.count
      clone = () => Object.assign(new Made(), { count: this.count })
    }
    const Thing = aggregateFromClass({ name: 'Thing', events: { Made: event() }, state: Made })
    const { state } = await execute(memoryStore(), {
      reads: Thing('t'),
      handle: () => [Thing.events.Made(), Thing.events.Made()],
    })
    expect(state.count).toBe(2)
  })
})

describe('defineEvents', () => {
  test('refuses names that no store keeps', () => {
    expect(() => defineEvents('a b', {})).toThrow(InvalidArgumentError)
    expect(() => defineEvents('A', { 'x y': event() })).toThrow(InvalidArgumentError)
    expect(() => defineEvents('A', { ['x'.repeat(300)]: event() })).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }) as Error,
    )
    expect(() => defineEvents('A', { '': event() })).toThrow(InvalidArgumentError)
    const proto = JSON.parse('{"__proto__":{"~standard":{}}}') as Record<string, never>
    expect(() => defineEvents('A', proto)).toThrow(InvalidArgumentError)
    expect(() => defineEvents('A', { Made: event().formerly('a b') })).toThrow(InvalidArgumentError)
    expect(() => defineEvents('A', { Made: event().formerly(5 as never) })).toThrow(InvalidArgumentError)
  })
})

describe('defineCommand', () => {
  const Thing = defineAggregate(base)
  const fine = { reads: () => Thing('t'), handle: () => [] }

  test.each([
    ['no reads', { reads: undefined }, 'reads'],
    ['streams in place of a function', { reads: Thing('t') }, 'reads'],
    ['no handle', { handle: undefined }, 'handle'],
    ['a follow that is no function', { follow: {} }, 'follow'],
    ['an input that is no schema', { input: {} }, 'input'],
  ])('refuses %s', (_, wrong, argument) => {
    const defining = () => (defineCommand as (definition: unknown) => unknown)({ ...fine, ...wrong })
    expect(defining).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }) as Error)
  })

  test('checks its input with the schema, and decides on what that returns', async () => {
    const make = defineCommand({
      input: z.object({ id: z.string().trim().min(1), count: z.int().default(1) }),
      reads: ({ id }) => Thing(id),
      handle: (_, { count }) => Array.from({ length: count }, () => Thing.events.Made()),
    })
    const { events } = await execute(memoryStore(), make({ id: ' t ' }))
    expect(events).toMatchObject([{ stream: 'Thing-t' }])
    expect(() => make({ id: ' ' })).toThrow(
      expect.objectContaining({ code: 'INVALID_DATA', subject: 'input' }) as Error,
    )
    expect(() => make({ id: 't', count: 'two' as never })).toThrow('input.count')
  })

  test('takes a type alone as its input', async () => {
    const make = defineCommand({
      input: ofType<{ id: string }>(),
      reads: ({ id }) => Thing(id),
      handle: () => Thing.events.Made(),
    })
    expect((await execute(memoryStore(), make({ id: 't' }))).events).toHaveLength(1)
  })
})

describe('idOf', () => {
  const Order = defineAggregate({ name: 'Order', events: {}, initial: () => 0, apply: {} })
  const Seat = defineAggregate({
    name: 'Seat',
    id: (id: { show: string; row: number }) => `${id.show}/${id.row}`,
    events: {},
    initial: () => 0,
    apply: {},
  })
  const Ticket = defineAggregate({
    name: 'Ticket',
    id: z.string().transform((id) => `t-${id}`),
    events: {},
    initial: () => 0,
    apply: {},
  })

  test('gives the id of a stream, by its name or as an aggregate names it', () => {
    expect(Order.idOf('Order-17')).toBe('17')
    expect(Order.idOf('Order-a-b-')).toBe('a-b-')
    expect(Order.idOf(Order('17'))).toBe('17')
  })

  test("gives undefined for another aggregate's stream, and for a name without an id", () => {
    for (const name of ['Orders-17', 'order-17', 'Order', 'Order-', 'XOrder-1', 'Order.Line-1', '', '-']) {
      expect(Order.idOf(name), name).toBeUndefined()
    }
    expect(Order.idOf(Seat({ show: 'hamlet', row: 1 }))).toBeUndefined()
  })

  test('gives the text that a function made, and the output of a schema, which does not run again', () => {
    expect(Seat.idOf(Seat({ show: 'hamlet', row: 1 }))).toBe('hamlet/1')
    expect(Ticket.idOf(Ticket('1'))).toBe('t-1')
  })

  test.each([undefined, null, 7, {}, Order])('refuses what is no stream: %s', (given) => {
    expect(() => Order.idOf(given as never)).toThrow(InvalidArgumentError)
  })
})
