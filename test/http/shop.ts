import { defineAggregate, defineCommand, event, reject } from 'mneme'
import * as z from 'zod'

/** Orders of one article each, as the tests of HTTP use them. */
export const Order = defineAggregate({
  name: 'Order',
  events: {
    Placed: event<{ article: string; quantity: number }>(),
    Changed: event<{ quantity: number }>(),
    Cancelled: event(),
  },
  initial: () => ({ status: 'none', article: '', quantity: 0 }),
  apply: {
    Placed: (_state, data) => ({ status: 'open', ...data }),
    Changed: (state, { quantity }) => ({ ...state, quantity }),
    Cancelled: (state) => ({ ...state, status: 'cancelled' as const }),
  },
})
const { Placed, Changed, Cancelled } = Order.events

export const PlaceBody = z.object({ article: z.string().min(1), quantity: z.int().positive() })

export const place = defineCommand({
  name: 'order.place',
  reads: (input: { order: string; article: string; quantity: number }) => Order(input.order),
  handle: ({ status }, { article, quantity }) =>
    status === 'none' ? Placed({ article, quantity }) : reject('exists-already'),
})

export const change = defineCommand({
  name: 'order.change',
  reads: (input: { order: string; quantity: number }) => Order(input.order),
  handle: ({ status, quantity: current }, { quantity }) => {
    if (status === 'none') return reject('unknown-order')
    if (status === 'cancelled') return reject('cancelled', { status: 'cancelled', quantity: current })
    return Changed({ quantity })
  },
})

export const cancel = defineCommand({
  name: 'order.cancel',
  reads: (order: string) => Order(order),
  handle: ({ status }) => (status === 'open' ? Cancelled() : reject('not-open')),
})
