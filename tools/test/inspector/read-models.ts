import { defineCommand, type EventStore } from 'mneme'
import { defineProjection, type ProjectionTarget, runProjections } from 'mneme/projections'
import { after, defineReaction, runReactions } from 'mneme/reactions'
import { type SqliteDatabase, type SqliteTarget, sqliteTarget } from 'mneme/sqlite'

import { Order } from './shop.ts'

const remind = defineCommand({
  name: 'order.remind',
  reads: ({ order }: { order: string }) => Order(order),
  handle: ({ status }, { order }) =>
    status === 'placed' ? Order.events.Cancelled({ reason: `${order} was not paid` }) : [],
})

const unpaid = defineReaction({
  name: 'unpaid',
  from: [Order],
  commands: [remind],
  startAt: 'start',
  on: {
    'Order.Placed': ({ stream }) => {
      const order = Order.idOf(stream)!
      return after({ days: 10_000 }, remind({ order }), { timer: `unpaid:${order}` })
    },
  },
})

function projections(into: ProjectionTarget<SqliteDatabase>) {
  const totals = defineProjection({
    name: 'totals',
    into,
    from: [Order],
    tables: ['totals'],
    setup: (db, { tables }) => {
      db.exec(`CREATE TABLE ${tables.totals} (total INTEGER NOT NULL)`)
    },
    on: { 'Order.Paid': () => undefined },
  })
  const parcels = defineProjection({
    name: 'parcels',
    into,
    from: [Order],
    onError: 'park',
    retry: { maxRetries: 0 },
    on: {
      'Order.Shipped': ({ data }) => {
        if (data.parcel.endsWith('7')) throw new Error(`the parcel ${data.parcel} has no <b>address</b>`)
      },
    },
  })
  const letters = defineProjection({
    name: 'letters',
    into,
    from: [Order],
    retry: { maxRetries: 0 },
    on: {
      'Order.Cancelled': () => {
        throw new Error('there is no paper')
      },
    },
  })
  return [totals, parcels, letters]
}

/** Runs projections and a reaction of the shop until each is done with it, or blocked. */
export async function runShop(store: EventStore): Promise<SqliteTarget> {
  const target = sqliteTarget(':memory:')
  const running = await runProjections(store, projections(target))
  const reacting = await runReactions(store, [unpaid], { state: target })
  const head = await store.logHead()
  const all = [...projections(target), unpaid.in(target)]
  await Promise.allSettled(all.map((each) => each.caughtUpTo(head, { timeout: 60_000 })))
  await running.stop()
  await reacting.stop()
  return target
}
