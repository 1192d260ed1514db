import { executor, load, type EventStore, type Recorded } from 'mneme'
import { httpAnswers, HttpError } from 'mneme/http'
import * as z from 'zod'
import { Article, ArticleId, deliver } from './articles.ts'
import { cancel, Order, pay, place } from './orders.ts'
import type { Payments } from './payments.ts'

/** A route of the shop, for any framework: a path with `:id`, and an answer from Request to Response. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly answer: (request: Request, id: string) => Promise<Response>
}

const Delivery = z.object({ quantity: z.int().positive(), price: z.int().positive() })
const NewOrder = z.object({ lines: z.record(ArticleId, z.int().min(1).max(1_000)) })
const Card = z.object({ card: z.string().regex(/^\d{12,19}$/) })

/** The shop: articles, orders and payments, on any store. */
export function shop(store: EventStore, payments: Payments, log: (error: unknown) => void): readonly Route[] {
  const http = httpAnswers({ onError: log })
  const as = (user: string) => executor(store, { metadata: { actor: user } })
  const view = (order: ReturnType<typeof Order.initial>) => ({ body: order })

  /** Answers in the name of the user; a real shop checks a signed token here. */
  const signedIn =
    (answer: (request: Request, id: string, user: string) => Promise<Response>): Route['answer'] =>
    async (request, id) => {
      const user = /^Bearer (\w+)$/.exec(request.headers.get('Authorization') ?? '')?.[1]
      if (user !== undefined) return answer(request, id, user)
      return http.problem(new HttpError(401, {}, { 'WWW-Authenticate': 'Bearer' }), request)
    }

  /** The order, if it is this user's: another one's is not there. */
  const own = async (order: string, user: string) => {
    const loaded = await load(store, Order(order))
    if (loaded.state.customer !== user) throw new HttpError(404, { code: 'NOT_FOUND' })
    return loaded
  }

  return [
    {
      method: 'POST',
      path: '/articles/:id/deliveries',
      answer: signedIn((request, article, user) =>
        http.command(request, {
          principal: user,
          body: Delivery,
          resource: () => Article(article),
          execute: (options, { body }) => as(user).tryExecute(deliver({ article, ...body }), options),
          rejections: {},
          answer: ({ state }) => ({ body: state }),
        }),
      ),
    },
    {
      method: 'GET',
      path: '/articles/:id',
      answer: (request, article) =>
        http.state(request, {
          load: () => load(store, Article(article)),
          answer: ({ stock, price }) => ({ body: { stock, price } }),
        }),
    },
    {
      method: 'POST',
      path: '/orders',
      answer: signedIn((request, _, user) =>
        http.command(request, {
          principal: user,
          body: NewOrder,
          resource: ({ id }) => Order(id),
          execute: (options, { id, body }) =>
            as(user).tryExecute(place({ order: id, customer: user, ...body }), options),
          rejections: { 'out-of-stock': 409, 'exists-already': 409 },
          answer: ({ state }, { id }) => ({
            ...view(state.order),
            status: 201,
            headers: { Location: `/orders/${id}` },
          }),
        }),
      ),
    },
    {
      method: 'GET',
      path: '/orders/:id',
      answer: signedIn((request, order, user) =>
        http.state(request, { load: () => own(order, user), answer: view }),
      ),
    },
    {
      method: 'POST',
      path: '/orders/:id/payment',
      answer: signedIn((request, order, user) =>
        http.command(request, {
          principal: user,
          body: Card,
          resource: () => Order(order),
          requireKey: true, // so that a payment that is sent again is the same payment
          execute: async (options, { id, body: { card } }) => {
            const { state } = await own(order, user)
            const { status, total: amount } = state
            if (status === 'open' && (await payments.charge(id, { card, amount })) === 'declined') {
              throw new HttpError(402, { code: 'DECLINED', detail: 'the card was declined' })
            }
            const result = await as(user).tryExecute(pay({ order, payment: id, amount }), options)
            // Cancelled, or paid by another payment, since the order was loaded.
            if (!result.ok) await payments.refund(id)
            return result
          },
          rejections: { 'unknown-order': 404, 'not-open': ({ status }) => ({ status: 409, order: status }) },
          answer: ({ state }) => view(state),
        }),
      ),
    },
    {
      method: 'DELETE',
      path: '/orders/:id',
      answer: signedIn((request, order, user) =>
        http.command(request, {
          principal: user,
          resource: () => Order(order),
          requirePrecondition: true, // only the order that the customer saw
          execute: async (options) => {
            await own(order, user)
            return as(user).tryExecute(cancel({ order }), options)
          },
          rejections: { 'unknown-order': 404, 'not-open': 409 },
        }),
      ),
    },
    {
      method: 'GET',
      path: '/events',
      answer: signedIn((request, _, user) => http.events(request, ordersOf(user))),
    },
  ]

  /** The events of a user's orders, from the first one on. */
  function ordersOf(user: string) {
    const mine = new Set<string>()
    return {
      subscribe: (resume: object) => store.subscribe({ ...resume, categories: [Order.category] }),
      message: async (stored: Recorded) => {
        const event = Order.decode(stored)
        const id = Order.idOf(stored.stream)
        if (!event || id === undefined) return undefined
        if (!mine.has(id) && (await load(store, Order(id))).state.customer !== user) return undefined
        mine.add(id)
        return { event: event.type, data: { order: id, ...event.data } }
      },
    }
  }
}
