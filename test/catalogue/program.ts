import { toJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import * as v from 'valibot'
import * as z from 'zod'
import { defineAggregate, defineClaim, defineCommand, event, reject } from 'mneme'
import { describeCommand, type ProgramModel, type ToJsonSchema } from 'mneme/catalogue'
import { defineProjection } from 'mneme/projections'
import { after, defineReaction, defineRelay } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'

/** A schema that contains itself, and one that is used twice. */
const Category = z.object({
  name: z.string(),
  get parent() {
    return Category.optional()
  },
})
const Money = z.object({ amount: z.int(), currency: z.enum(['EUR', 'CZK']) }).meta({ id: 'Money' })

export const Order = defineAggregate({
  name: 'Order',
  events: {
    Placed: event<{ item: string }>()
      .next(
        z.object({ items: z.array(z.object({ sku: z.string(), price: Money })), discount: Money.optional() }),
        ({ item }) => ({ items: [{ sku: item, price: { amount: 0, currency: 'EUR' as const } }] }),
      )
      .formerly('Order.Created'),
    Noted: v.object({ note: v.pipe(v.string(), v.minLength(1)), tags: v.optional(v.array(v.string()), []) }),
    Shipped: type({ to: 'string', 'parcels?': 'number.integer' }),
    Cancelled: event<{ why: string }>(),
    Sorted: Category,
    Weighed: z.object({ grams: z.string().transform(Number) }),
  },
  initial: () => ({ isPlaced: false }),
  apply: {
    Placed: () => ({ isPlaced: true }),
    Noted: (state) => state,
    Shipped: (state) => state,
    Cancelled: (state) => state,
    Sorted: (state) => state,
    Weighed: (state) => state,
  },
})
const Email = defineClaim({ name: 'Email', of: (text: string) => text, secret: 'sixteen bytes of it' })
/** Another aggregate with an event of the first. */
const Ledger = defineAggregate({
  name: 'Ledger',
  events: { Cancelled: Order.events.Cancelled },
  initial: () => ({}),
  apply: { Cancelled: (state) => state },
})

export const place = defineCommand({
  name: 'order.place',
  input: z.object({ order: z.uuid(), email: z.email() }),
  reads: ({ order, email }) => ({ order: Order(order), email: Email(email) }),
  handle: ({ order }, input, { on }) =>
    order.isPlaced
      ? reject('placed-already')
      : [on.order(Order.events.Placed({ items: [] })), on.email.claim(input.order)],
})
export const cancel = defineCommand({
  name: 'order.cancel',
  reads: (input: { order: string }) => Order(input.order),
  handle: (order) => (order.isPlaced ? Order.events.Cancelled({ why: 'late' }) : reject('not-placed')),
})
export const ship = defineCommand({
  reads: (input: { order: string }) => Order(input.order),
  handle: () => [Order.events.Shipped({ to: 'x' }), Order.events.Noted({ note: 'x' })],
})

export const orders = defineProjection({
  name: 'orders',
  version: 3,
  into: sqliteTarget(':memory:'),
  from: [Order],
  on: { 'Order.Placed': () => undefined, 'Order.Cancelled': () => undefined },
})
const expiry = defineReaction({
  name: 'expiry',
  from: [Order],
  commands: [cancel],
  startAt: 'start',
  on: {
    'Order.Placed': ({ stream }) => after({ minutes: 30 }, cancel({ order: stream }), { timer: stream }),
  },
  rejected: { 'order.cancel': () => 'ignore' },
})
const broker = defineRelay({
  name: 'broker',
  from: [Order],
  startAt: 'start',
  send: () => Promise.resolve(),
})

/** As a program with Valibot hands its function in. */
const jsonSchema: ToJsonSchema = (schema, side) =>
  schema['~standard'].vendor === 'valibot'
    ? toJsonSchema(schema as unknown as v.GenericSchema, { typeMode: side, target: 'draft-2020-12' })
    : undefined

export const model: ProgramModel = {
  aggregates: [Order, Email, Ledger],
  commands: [
    describeCommand(place, {
      summary: 'Places an order.',
      reads: [Order, Email],
      writes: [Order.events.Placed, Email.events.Claimed],
      rejects: ['placed-already', 'taken'],
    }),
    cancel,
    describeCommand(ship, {
      name: 'order.ship',
      writes: [Order.events.Shipped, Order.events.Noted],
      rejects: [],
    }),
  ],
  projections: [orders],
  reactions: [expiry],
  relays: [broker],
  jsonSchema,
}
