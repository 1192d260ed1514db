import { expect, test } from 'vitest'
import * as z from 'zod'
import { defineAggregate, defineCommand, event, subject } from 'mneme'
import { catalogue, describeCommand } from 'mneme/catalogue'
import { Order, cancel, model, orders, place, ship } from './program.ts'

const whole = catalogue(model)

test('a catalogue lists what a program consists of, and what handles what', () => {
  const { aggregates, events, commands, projections, reactions, relays } = whole
  expect(aggregates).toEqual({
    Email: { events: ['Email.Claimed', 'Email.Released'] },
    Ledger: { events: ['Order.Cancelled'] },
    Order: {
      events: [
        ...[
          'Order.Cancelled',
          'Order.Noted',
          'Order.Placed',
          'Order.Shipped',
          'Order.Sorted',
          'Order.Weighed',
        ],
      ],
    },
  })
  expect(events['Order.Placed']).toMatchObject({
    version: 2,
    formerly: ['Order.Created'],
    aggregates: ['Order'],
    writtenBy: ['order.place'],
    projections: ['orders'],
    reactions: ['expiry'],
    relays: ['broker'],
  })
  expect(events['Order.Cancelled']).toEqual({
    version: 1,
    formerly: [],
    aggregates: ['Ledger', 'Order'],
    personal: [],
    writtenBy: [],
    projections: ['orders'],
    reactions: [],
    relays: ['broker'],
  })
  expect(commands).toMatchObject({
    'order.cancel': { reactions: ['expiry'] },
    'order.place': {
      summary: 'Places an order.',
      reads: ['Email', 'Order'],
      writes: ['Email.Claimed', 'Order.Placed'],
      rejects: ['placed-already', 'taken'],
      reactions: [],
    },
    'order.ship': { writes: ['Order.Noted', 'Order.Shipped'], rejects: [] },
  })
  expect(commands['order.cancel']).not.toHaveProperty('writes')
  expect(projections).toEqual({ orders: { version: 3, events: ['Order.Cancelled', 'Order.Placed'] } })
  expect(reactions).toEqual({
    expiry: { version: 1, events: ['Order.Placed'], commands: ['order.cancel'] },
  })
  expect(relays).toEqual({ broker: { version: 1, events: whole.aggregates.Order?.events } })
})

test('it is plain JSON, sorted', () => {
  expect(JSON.parse(JSON.stringify(whole))).toEqual(whole)
  expect(Object.keys(whole.events)).toEqual(Object.keys(whole.events).sort())
  const { aggregates, commands = [], ...rest } = model
  const turned = catalogue({
    ...rest,
    aggregates: [...aggregates].reverse(),
    commands: [...commands].reverse(),
  })
  expect(JSON.stringify(turned)).toBe(JSON.stringify(whole))
})

test.each([
  ['Zod', 'Order.Placed', 'zod', { required: ['items'] }],
  ['Valibot, by its own function', 'Order.Noted', 'valibot', { required: ['note'] }],
  ['ArkType', 'Order.Shipped', 'arktype', { required: ['to'], properties: { parcels: { type: 'integer' } } }],
])('the schema of stored data comes from %s', (_, type, checkedBy, schema) => {
  expect(whole.events[type]).toMatchObject({ checkedBy, schema: { type: 'object', ...schema } })
})

test('the schema of a command is that of its input', () => {
  const { schema, checkedBy } = whole.commands['order.place']!
  expect(checkedBy).toBe('zod')
  expect(schema).toMatchObject({ properties: { email: { format: 'email' } }, required: ['order', 'email'] })
})

test('what cannot be shown is left out: data given as a type, a transform, a library without JSON Schema', () => {
  expect(whole.events['Order.Cancelled']).not.toHaveProperty('schema')
  expect(whole.events['Order.Cancelled']).not.toHaveProperty('checkedBy')
  expect(whole.events['Order.Weighed']).toMatchObject({ checkedBy: 'zod' })
  expect(whole.events['Order.Weighed']).not.toHaveProperty('schema')
  const without = catalogue({ aggregates: [Order] })
  expect(without.events['Order.Noted']).toMatchObject({ checkedBy: 'valibot' })
  expect(without.events['Order.Noted']).not.toHaveProperty('schema')
})

test('personal fields are named by their paths', () => {
  const Customer = defineAggregate({
    name: 'Customer',
    events: {
      Registered: event<{ id: string; email: string; by: { name: string; at: string } }>().personal({
        email: ({ id }) => subject('customer', id),
        by: { name: ({ id }) => subject('clerk', id) },
      }),
    },
    initial: () => ({}),
    apply: { Registered: (state) => state },
  })
  expect(catalogue({ aggregates: [Customer] }).events['Customer.Registered']?.personal).toEqual([
    ...['by.name', 'email'],
  ])
})

test('an event type and a command have their schemas', () => {
  const schema = z.object({ at: z.string() })
  const { Opened, Closed } = defineAggregate({
    name: 'Door',
    events: { Opened: event<{ by: string }>().next(schema, () => ({ at: '' })), Closed: event() },
    initial: () => ({}),
    apply: { Opened: (state) => state, Closed: (state) => state },
  }).events
  expect(Opened.schema).toBe(schema)
  expect(Closed.schema).toBeUndefined()
  expect(place.inputSchema).toBeDefined()
  expect(cancel.inputSchema).toBeUndefined()
})

test('wrong arguments are refused', () => {
  const refused = (given: object) => expect(() => catalogue({ aggregates: [Order], ...given }))
  refused({ aggregates: [{}] }).toThrow('aggregates[0] must be an aggregate or a claim')
  refused({ aggregates: [Order, Order] }).toThrow("aggregates has the name 'Order' twice")
  refused({ commands: [ship] }).toThrow('commands[0] has no name')
  refused({ commands: [cancel, cancel] }).toThrow("commands has the name 'order.cancel' twice")
  refused({ commands: [{ name: 'x' }] }).toThrow('commands[0] must be a command')
  refused({ projections: [{}] }).toThrow('projections[0] must be a projection')
  refused({ reactions: [orders] }).toThrow('reactions[0] must be a reaction, made by defineReaction')
  refused({ reactions: model.relays }).toThrow('reactions[0] is a relay: give it among the relays')
  refused({ relays: model.reactions }).toThrow('relays[0] must be a relay, made by defineRelay')
  refused({ relays: [model.relays![0], model.relays![0]] }).toThrow("relays has the name 'broker' twice")
  refused({ jsonSchema: () => 1, aggregates: [Order] }).toThrow('jsonSchema must be a function that returns')
  refused({ event: [] }).toThrow("unknown option 'model.event'")
  const Twin = defineAggregate({
    name: 'Order',
    events: { Cancelled: event<{ why: string }>() },
    initial: () => ({}),
    apply: { Cancelled: (state) => state },
  })
  const Other = defineAggregate({
    name: 'Other',
    events: { Cancelled: Twin.events.Cancelled },
    initial: () => ({}),
    apply: { Cancelled: (state) => state },
  })
  refused({ aggregates: [Order, Other] }).toThrow("two events have the type 'Order.Cancelled'")
  const { Shipped, Noted } = Order.events
  expect(() => describeCommand(ship, { writes: [Shipped, Noted], rejects: [] })).toThrow(
    'a command without a name',
  )
})

test('a description is compared by the compiler with what handle returns', () => {
  const { Shipped, Noted, Cancelled } = Order.events
  // @ts-expect-error -- Noted is missing
  describeCommand(ship, { name: 'a', writes: [Shipped], rejects: [] })
  // @ts-expect-error -- Cancelled is never returned
  describeCommand(ship, { name: 'a', writes: [Shipped, Noted, Cancelled], rejects: [] })
  // @ts-expect-error -- a reason is missing
  describeCommand(cancel, { writes: [Cancelled], rejects: [] })
  // @ts-expect-error -- a reason that is never returned
  describeCommand(cancel, { writes: [Cancelled], rejects: ['not-placed', 'late'] })
  const untyped = defineCommand({
    name: 'any',
    reads: () => Order('1'),
    handle: () => [] as { type: 'Order.Noted'; data: {} }[],
  })
  expect(describeCommand(untyped, { writes: [Noted], rejects: [] }).writes).toEqual(['Order.Noted'])
})
