import { defineCommand } from 'mneme'
import { defineRelay } from 'mneme/reactions'
import type { SimulateOptions } from 'mneme/simulation'
import { Cancelled, fulfilment, Order, Paid, Placed } from '../reactions/shop.ts'

type Input = { order: string }
const one = (name: string, event: () => ReturnType<typeof Placed | typeof Paid | typeof Cancelled>) =>
  defineCommand({ name, reads: ({ order }: Input) => Order(order), handle: () => event() })
const place = one('place', () => Placed({ item: 'pen' }))
const pay = one('pay', () => Paid({ amount: 5 }))
const cancel = one('cancel', () => Cancelled())

const mail = defineRelay({ name: 'mail', from: [Order], startAt: 'start', send: () => Promise.resolve() })

/** Orders that are placed, paid and cancelled, and what follows from that. */
export const shop = {
  workload: ({ pick }) => pick([place, place, pay, pay, cancel])({ order: pick(['1', '2', '3', '4']) }),
  reactions: [fulfilment, mail],
} satisfies SimulateOptions
