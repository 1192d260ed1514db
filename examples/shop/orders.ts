import { defineAggregate, defineCommand, event, reject } from 'mneme'
import * as z from 'zod'
import { Article } from './articles.ts'

/** How many of each article. */
export type Lines = Readonly<Record<string, number>>

interface OrderState {
  readonly status: 'none' | 'open' | 'paid' | 'shipped' | 'cancelled'
  readonly customer: string
  readonly lines: Lines
  /** In cents. */
  readonly total: number
}

export const Order = defineAggregate({
  name: 'Order',
  id: z.uuid(),
  events: {
    Placed: event<{ customer: string; lines: Record<string, number>; total: number }>(),
    Paid: event<{ payment: string; amount: number }>(),
    Shipped: event<{ customer: string }>(),
    Cancelled: event(),
  },
  initial: (): OrderState => ({ status: 'none', customer: '', lines: {}, total: 0 }),
  apply: {
    Placed: (_state, data) => ({ status: 'open', ...data }),
    Paid: (state) => ({ ...state, status: 'paid' }),
    Shipped: (state) => ({ ...state, status: 'shipped' }),
    Cancelled: (state) => ({ ...state, status: 'cancelled' }),
  },
})
const { Placed, Paid, Shipped, Cancelled } = Order.events

const articlesOf = (lines: Lines) =>
  Object.fromEntries(Object.keys(lines).map((article) => [article, Article(article)]))

/** Places an order and reserves its articles: all of them or none. */
export const place = defineCommand({
  name: 'order.place',
  reads: (input: { order: string; customer: string; lines: Lines }) => ({
    order: Order(input.order),
    articles: articlesOf(input.lines),
  }),
  handle: ({ order, articles }, { order: id, customer, lines }, { on }) => {
    if (order.status !== 'none') return reject('exists-already')
    const missing = Object.entries(lines).filter(([article, quantity]) => articles[article]!.stock < quantity)
    if (missing.length > 0) return reject('out-of-stock', { articles: missing.map(([article]) => article) })
    const entries = Object.entries(lines)
    const total = entries.reduce((sum, [article, quantity]) => sum + quantity * articles[article]!.price, 0)
    return [
      on.order(Placed({ customer, lines: { ...lines }, total })),
      ...entries.map(([article, quantity]) =>
        on.articles(article, Article.events.Reserved({ order: id, quantity })),
      ),
    ]
  },
})

/** Notes the payment of an order. */
export const pay = defineCommand({
  name: 'order.pay',
  reads: (input: { order: string; payment: string; amount: number }) => Order(input.order),
  handle: ({ status }, { payment, amount }) => {
    if (status === 'open') return Paid({ payment, amount })
    return status === 'none' ? reject('unknown-order') : reject('not-open', { status })
  },
})

/** Ships an order that is paid. */
export const ship = defineCommand({
  name: 'order.ship',
  reads: (input: { order: string }) => Order(input.order),
  handle: ({ status, customer }) => (status === 'paid' ? Shipped({ customer }) : []),
})

/** Cancels an order that is not paid, and gives its articles back. */
export const cancel = defineCommand({
  name: 'order.cancel',
  reads: (input: { order: string }) => ({ order: Order(input.order) }),
  follow: ({ order }) => ({ articles: articlesOf(order.lines) }),
  handle: ({ order }, { order: id }, { on }) => {
    if (order.status === 'none') return reject('unknown-order')
    if (order.status !== 'open') return reject('not-open', { status: order.status })
    return [
      on.order(Cancelled()),
      ...Object.entries(order.lines).map(([article, quantity]) =>
        on.articles(article, Article.events.Released({ order: id, quantity })),
      ),
    ]
  },
})
