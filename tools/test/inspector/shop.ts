import { defineAggregate, defineCommand, event, type EventStore, type EventToAppend, reject } from 'mneme'
import { type ExportedEvent, importEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import * as z from 'zod'

interface OrderState {
  readonly status: string
  readonly total: number
  readonly lines: Readonly<Record<string, number>>
  readonly address: Readonly<Record<string, string>>
  readonly parcels: readonly string[]
}

interface StockState {
  readonly available: number
  readonly reserved: Readonly<Record<string, number>>
}

/** A shop for the pages of the inspector: orders and a stock. */
export const Order = defineAggregate({
  name: 'Order',
  events: {
    Placed: event<{
      customer: string
      lines: readonly { sku: string; quantity: number; price: number }[]
      address: { street: string; city: string; country: string }
    }>(),
    Paid: event<{ amount: number; method: string }>(),
    Shipped: event<{ parcel: string; carrier: string }>(),
    Delivered: event(),
    Cancelled: event<{ reason: string }>(),
  },
  initial: (): OrderState => ({ status: 'new', total: 0, lines: {}, address: {}, parcels: [] }),
  apply: {
    Placed: (order, { lines, address }) => ({
      ...order,
      status: 'placed',
      total: lines.reduce((sum, { quantity, price }) => sum + quantity * price, 0),
      lines: Object.fromEntries(lines.map(({ sku, quantity }) => [sku, quantity])),
      address,
    }),
    Paid: (order) => ({ ...order, status: 'paid' }),
    Shipped: (order, { parcel }) => ({ ...order, status: 'shipped', parcels: [...order.parcels, parcel] }),
    Delivered: (order) => ({ ...order, status: 'delivered' }),
    Cancelled: (order) => ({ ...order, status: 'cancelled' }),
  },
})

export const Stock = defineAggregate({
  name: 'Stock',
  events: {
    Received: event<{ quantity: number }>(),
    Reserved: event<{ order: string; quantity: number }>(),
    Released: event<{ order: string; quantity: number }>(),
  },
  initial: (): StockState => ({ available: 0, reserved: {} }),
  apply: {
    Received: (stock, { quantity }) => ({ ...stock, available: stock.available + quantity }),
    Reserved: (stock, { order, quantity }) => ({
      available: stock.available - quantity,
      reserved: { ...stock.reserved, [order]: quantity },
    }),
    Released: (stock, { order, quantity }) => {
      const { [order]: _, ...reserved } = stock.reserved
      return { available: stock.available + quantity, reserved }
    },
  },
})

export const place = defineCommand({
  name: 'order.place',
  input: z.object({
    order: z.string().min(1).describe('The number of the order'),
    customer: z.string(),
    sku: z.enum(['pen', 'paper', 'ink']),
    quantity: z.int().min(1).max(99).default(1),
    gift: z.boolean().optional(),
    address: z.object({ street: z.string(), city: z.string(), country: z.string() }),
  }),
  reads: ({ order, sku }) => ({ order: Order(order), stock: Stock(sku) }),
  handle: ({ order, stock }, { customer, sku, quantity, address, order: id }, { on }) => {
    if (order.status !== 'new') return reject('placed-already')
    if (stock.available < quantity) return reject('out-of-stock', { available: stock.available })
    return [
      on.order(Order.events.Placed({ customer, lines: [{ sku, quantity, price: 250 }], address })),
      on.stock(Stock.events.Reserved({ order: id, quantity })),
    ]
  },
})

export const cancel = defineCommand({
  name: 'order.cancel',
  input: z.object({ order: z.string(), reason: z.string() }),
  reads: ({ order }) => Order(order),
  handle: ({ status }, { reason }) =>
    status === 'shipped' || status === 'delivered'
      ? reject('on-its-way', { status })
      : Order.events.Cancelled({ reason }),
})

const address = { street: '12 Marylebone Road', city: 'London', country: 'GB' }

/** Fills a store with orders on their way through the shop. */
export async function fillShop(store: EventStore, orders = 24): Promise<void> {
  const skus = ['pen', 'paper', 'ink']
  for (const sku of skus) {
    await store.append({ stream: Stock(sku), events: [Stock.events.Received({ quantity: 400 })] })
  }
  for (let n = 1; n <= orders; n++) {
    const order = String(1000 + n)
    const sku = skus[n % 3]!
    const quantity = 1 + (n % 4)
    const lines = [{ sku, quantity, price: 250 }]
    const metadata = { correlation: `request-${order}`, actor: n % 2 === 0 ? 'ann' : 'ben' }
    const customer = `customer-${String(n % 7)}`
    const placed = await store.append(
      [
        { stream: Order(order), events: [Order.events.Placed({ customer, lines, address })] },
        { stream: Stock(sku), events: [Stock.events.Reserved({ order, quantity })] },
      ],
      { metadata },
    )
    let causation = placed.events[0]!.id
    const then = async (next: EventToAppend) => {
      const appended = await store.append(
        { stream: Order(order), events: [next] },
        { metadata: { ...metadata, causation } },
      )
      causation = appended.events[0]!.id
    }
    if (n % 5 === 0) {
      await then(Order.events.Cancelled({ reason: 'changed my mind' }))
      await store.append(
        { stream: Stock(sku), events: [Stock.events.Released({ order, quantity })] },
        { metadata: { ...metadata, causation } },
      )
      continue
    }
    await then(Order.events.Paid({ amount: quantity * 250, method: 'card' }))
    if (n % 4 !== 0) await then(Order.events.Shipped({ parcel: `GB-${order}`, carrier: 'Royal Mail' }))
    if (n % 3 === 0) await then(Order.events.Delivered())
  }
}

/** A shop whose ids and times are always the same, so that its pictures are. Two days lie between its first event and its last. */
export async function pictureShop(): Promise<EventStore> {
  const [drawn, store] = [memoryStore(), memoryStore()]
  await fillShop(drawn)
  const ids = new Map<string, string>()
  let time = Date.parse('2026-11-02T08:00:00Z')
  const events: ExportedEvent[] = []
  for await (const { position: _, ...event } of drawn.readAll()) {
    const n = events.length
    // Busy by day, quiet by night; what is reserved is reserved in the same append.
    const isNight = new Date(time).getUTCHours() > 19
    if (event.type !== 'Stock.Reserved')
      time += isNight ? 12 * 3_600_000 : 1_000 + ((n * 7_919) % 97) * 17_003
    const id = `0193c0de-0000-7000-8000-${String(n).padStart(12, '0')}`
    ids.set(event.id, id)
    const { causation, ...metadata } = event.metadata
    events.push({
      ...{ ...event, id, time: new Date(time).toISOString() },
      metadata: causation === undefined ? metadata : { ...metadata, causation: ids.get(causation)! },
    })
  }
  await importEvents(store, events)
  await drawn.close()
  return store
}
