import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { after, cancelTimer, defineReaction } from 'mneme/reactions'

export const Order = defineAggregate({
  name: 'Order',
  events: {
    Placed: event<{ item: string }>(),
    Paid: event<{ amount: number }>(),
    Shipped: event(),
    Refunded: event<{ amount: number }>(),
    Expired: event(),
    Cancelled: event(),
    Noted: event(),
  },
  initial: () => ({ status: 'new', paid: 0 }),
  apply: {
    Placed: (state) => ({ ...state, status: 'placed' }),
    Paid: (state, { amount }) => ({ ...state, status: 'paid', paid: amount }),
    Shipped: (state) => ({ ...state, status: 'shipped' }),
    Refunded: (state) => ({ ...state, status: 'closed', paid: 0 }),
    Expired: (state) => ({ ...state, status: 'closed' }),
    Cancelled: (state) => ({ ...state, status: 'closed' }),
    Noted: (state) => state,
  },
})
export const { Placed, Paid, Cancelled } = Order.events
const { Shipped, Refunded, Expired, Noted } = Order.events

export const ship = defineCommand({
  name: 'order.ship',
  reads: (input: { order: string }) => Order(input.order),
  handle: ({ status }) => (status === 'closed' ? reject('closed') : Shipped()),
})
export const refund = defineCommand({
  name: 'order.refund',
  reads: (input: { order: string }) => Order(input.order),
  handle: ({ paid }) => Refunded({ amount: paid }),
})
export const expire = defineCommand({
  name: 'order.expire',
  reads: (input: { order: string }) => Order(input.order),
  handle: ({ status }) => (status === 'placed' ? Expired() : []),
})

const note = defineCommand({
  name: 'order.note',
  reads: (input: { order: string }) => Order(input.order),
  handle: () => Noted(),
})

/** Paid orders are shipped, unpaid ones expire after half an hour. */
export const fulfilment = defineReaction({
  name: 'fulfilment',
  from: [Order],
  commands: [ship, refund, expire],
  startAt: 'start',
  on: {
    'Order.Placed': ({ stream }) =>
      after({ minutes: 30 }, expire({ order: Order.idOf(stream)! }), { timer: `unpaid:${stream}` }),
    'Order.Paid': ({ stream }) => [cancelTimer(`unpaid:${stream}`), ship({ order: Order.idOf(stream)! })],
  },
  rejected: {
    'order.ship': (_, { stream }) => refund({ order: Order.idOf(stream)! }),
  },
})

/** A later version, which notes each payment before it ships. */
export const reordered = defineReaction({
  name: 'fulfilment',
  version: 2,
  from: [Order],
  commands: [note, ship, refund, expire],
  startAt: 'start',
  on: {
    'Order.Placed': ({ stream }) =>
      after({ minutes: 31 }, expire({ order: Order.idOf(stream)! }), { timer: `unpaid:${stream}` }),
    'Order.Paid': ({ stream }) => [
      cancelTimer(`unpaid:${stream}`),
      note({ order: Order.idOf(stream)! }),
      ship({ order: Order.idOf(stream)! }),
    ],
  },
  rejected: { 'order.ship': () => 'ignore' },
})
