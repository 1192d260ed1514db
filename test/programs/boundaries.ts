import * as z from 'zod'
import { defineAggregate, defineCommand, event, reject, ofType } from 'mneme'

export type AccountId = string & { readonly __brand: 'AccountId' }
export const OrderId = z.uuid().brand<'OrderId'>()
export type OrderId = z.infer<typeof OrderId>

/** Its id is branded: a type only. */
export const Customer = defineAggregate({
  name: 'Customer',
  id: ofType<AccountId>(),
  events: { Blocked: event(), Credited: event<{ points: number }>() },
  initial: () => ({ blocked: false, points: 0 }),
  apply: {
    Blocked: (state) => ({ ...state, blocked: true }),
    Credited: (state, { points }) => ({ ...state, points: state.points + points }),
  },
})

type OrderState = { status: 'none' } | { status: 'placed' | 'paid'; customers: AccountId[] }

/** Its id is a UUID, by schema; its state is a union. */
export const Order = defineAggregate({
  name: 'Order',
  id: OrderId,
  events: { Placed: event<{ customers: AccountId[] }>(), Paid: event() },
  initial: (): OrderState => ({ status: 'none' }),
  apply: {
    Placed: (_, { customers }) => ({ status: 'placed', customers }),
    Paid: (state) => (state.status === 'none' ? state : { ...state, status: 'paid' }),
  },
})

/** Its id is composed. */
export const Seat = defineAggregate({
  name: 'Seat',
  id: (id: { show: string; row: number }) => `${id.show}/${id.row}`,
  events: { Taken: event() },
  initial: () => ({ taken: false }),
  apply: { Taken: () => ({ taken: true }) },
})

export const place = defineCommand({
  reads: (input: { id: OrderId; customers: AccountId[] }) => Order(input.id),
  handle: (order, { customers }) =>
    order.status === 'none' ? Order.events.Placed({ customers }) : reject('exists', { status: order.status }),
})

/** No input. */
export const takeFirst = defineCommand({
  reads: () => Seat({ show: 'hamlet', row: 1 }),
  handle: (seat) => (seat.taken ? reject('taken') : Seat.events.Taken()),
})

/** The input by schema: no annotation at all. */
export const credit = defineCommand({
  input: z.object({ customer: z.string().transform((id) => id as AccountId), points: z.int().default(1) }),
  reads: ({ customer }) => Customer(customer),
  handle: (customer, { points }) =>
    customer.blocked ? reject('blocked') : Customer.events.Credited({ points }),
})

/** The order first, then the customers that it names. */
export const pay = defineCommand({
  reads: (input: { order: OrderId }) => ({ order: Order(input.order) }),
  follow: ({ order }) => ({
    customers: order.status === 'none' ? [] : order.customers.map((id) => Customer(id)),
  }),
  handle: ({ order, customers }, _, { on }) => {
    if (order.status !== 'placed') return reject('not-payable', { status: order.status })
    if (customers.some(({ blocked }) => blocked)) return reject('customer-blocked')
    const credits = customers.map((_, i) => on.customers(i, Customer.events.Credited({ points: 1 })))
    return [on.order(Order.events.Paid()), ...credits]
  },
})
