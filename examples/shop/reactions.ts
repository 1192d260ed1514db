import { after, cancelTimer, defineReaction, defineRelay, type Delay } from 'mneme/reactions'
import type { Mails } from './mails.ts'
import { cancel, Order, ship } from './orders.ts'

const { Shipped } = Order.events

/** Ships orders that are paid, and cancels those that are not paid in time. */
export function fulfilment(timeToPay: Delay) {
  const orderOf = ({ stream }: { readonly stream: string }) => ({ order: Order.idOf(stream)! })
  return defineReaction({
    name: 'fulfilment',
    from: [Order],
    commands: [ship, cancel],
    startAt: 'start',
    on: {
      'Order.Placed': (event) =>
        after(timeToPay, cancel(orderOf(event)), { timer: `unpaid:${event.stream}` }),
      'Order.Paid': (event) => [cancelTimer(`unpaid:${event.stream}`), ship(orderOf(event))],
      'Order.Cancelled': (event) => cancelTimer(`unpaid:${event.stream}`),
    },
    rejected: {
      // It was paid, or the customer cancelled it, in the last moment.
      'order.cancel': ({ reason }) => (reason === 'not-open' ? 'ignore' : 'block'),
    },
  })
}

/** Tells customers by mail that their order is on its way. A mail that is sent again has the same key: the event's id. */
export function shippingMails(mails: Mails) {
  return defineRelay({
    name: 'shipping-mails',
    from: [{ Shipped }],
    startAt: 'end',
    send: async (batch, { signal }) => {
      for (const { id, stream, data } of batch) {
        await mails.send({ key: id, to: data.customer, text: `${stream} is on its way` }, signal)
      }
    },
  })
}
