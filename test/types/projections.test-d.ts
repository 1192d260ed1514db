import type { Database } from 'better-sqlite3'
import type { PoolClient } from 'pg'
import { expectTypeOf, test } from 'vitest'
import * as z from 'zod'
import { defineAggregate, defineEvents, event } from 'mneme'
import { postgresTarget } from 'mneme/postgres'
import { defineProjection, type Projection, type TargetRow } from 'mneme/projections'
import { sqliteTarget, type SqliteDatabase } from 'mneme/sqlite'

const Shared = defineEvents('Shared', { Flagged: event<{ reason: string }>() })
const Order = defineAggregate({
  name: 'Order',
  events: {
    Placed: z.object({ total: z.string().transform(Number) }),
    Cancelled: event(),
    Flagged: Shared.Flagged,
  },
  initial: () => ({}),
  apply: { Placed: (state) => state, Cancelled: (state) => state, Flagged: (state) => state },
})
const Customer = defineAggregate({
  name: 'Customer',
  events: { Named: event<{ name: string }>(), Flagged: Shared.Flagged },
  initial: () => ({}),
  apply: { Named: (state) => state, Flagged: (state) => state },
})
const Mail = defineEvents('Mail', { Sent: event<{ to: string }>() })

const sqlite = sqliteTarget<Database>('orders.db')
const postgres = postgresTarget<PoolClient>('postgres://localhost/orders')

test('handlers are given the events of aggregates and of event types, by their types', () => {
  const projection = defineProjection({
    name: 'orders',
    into: sqlite,
    from: [Order, Customer, Mail],
    tables: ['orders', 'sales.names'],
    setup: (db, { tables }) => {
      expectTypeOf(db).toEqualTypeOf<Database>()
      expectTypeOf(tables).toEqualTypeOf<{ readonly orders: string; readonly 'sales.names': string }>()
    },
    on: {
      'Order.Placed': (placed, db, { tables }) => {
        expectTypeOf(placed.data).toEqualTypeOf<{ total: number }>()
        expectTypeOf(placed.type).toEqualTypeOf<'Order.Placed'>()
        expectTypeOf(placed.stream).toBeString()
        expectTypeOf(placed.position).toBeString()
        expectTypeOf(db).toEqualTypeOf<Database>()
        expectTypeOf(tables.orders).toBeString()
        expectTypeOf(tables).not.toHaveProperty('customers')
      },
      'Order.Cancelled': ({ type }) => {
        expectTypeOf(type).toEqualTypeOf<'Order.Cancelled'>()
      },
      // Of two aggregates, once.
      'Shared.Flagged': ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<{ reason: string }>()
      },
      'Customer.Named': ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<{ name: string }>()
      },
      'Mail.Sent': ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<{ to: string }>()
      },
    },
  })
  expectTypeOf(projection).toEqualTypeOf<Projection>()
})

test('handlers are given what the target says', () => {
  defineProjection({
    name: 'orders',
    into: postgres,
    from: [Order],
    on: {
      'Order.Placed': async ({ data }, client) => {
        expectTypeOf(client).toEqualTypeOf<PoolClient>()
        await client.query('INSERT INTO orders VALUES ($1)', [data.total])
      },
    },
  })
  defineProjection({
    name: 'orders',
    into: sqliteTarget('orders.db'),
    from: [Order],
    on: {
      'Order.Placed': (_, db) => {
        expectTypeOf(db).toEqualTypeOf<SqliteDatabase>()
      },
    },
  })
})

test('a handler of pages is given the union of the events', () => {
  const projection = defineProjection({
    name: 'orders',
    into: postgres,
    from: [Order, Mail],
    tables: ['orders'],
    pageSize: 500,
    onPage: async (events, client, { tables }) => {
      expectTypeOf(client).toEqualTypeOf<PoolClient>()
      expectTypeOf(tables).toEqualTypeOf<{ readonly orders: string }>()
      expectTypeOf(events[0]!.type).toEqualTypeOf<
        'Order.Placed' | 'Order.Cancelled' | 'Shared.Flagged' | 'Mail.Sent'
      >()
      expectTypeOf(events).not.toHaveProperty('push')
      for (const event of events) {
        expectTypeOf(event.stream).toBeString()
        if (event.type === 'Order.Placed') expectTypeOf(event.data).toEqualTypeOf<{ total: number }>()
        if (event.type === 'Mail.Sent') expectTypeOf(event.data).toEqualTypeOf<{ to: string }>()
      }
    },
    setup: (client) => client.query('CREATE TABLE orders'),
  })
  expectTypeOf(projection).toEqualTypeOf<Projection>()
  defineProjection({
    name: 'sums',
    into: sqlite,
    from: [{ Placed: Order.events.Placed }],
    onPage: (events, db) => {
      expectTypeOf(db).toEqualTypeOf<Database>()
      expectTypeOf(events[0]!.data).toEqualTypeOf<{ total: number }>()
    },
  })
})

test('a projection handles its events one by one, or in pages', () => {
  // @ts-expect-error Either the one or the other.
  defineProjection({
    ...{ name: 'orders', into: postgres, from: [Order] },
    on: { 'Order.Placed': () => undefined },
    onPage: () => undefined,
  })
  // @ts-expect-error One of the two.
  defineProjection({ name: 'orders', into: postgres, from: [Order] })
  // @ts-expect-error It is the size of pages.
  defineProjection({
    ...{ name: 'orders', into: postgres, from: [Order], pageSize: 10 },
    on: { 'Order.Placed': () => undefined },
  })
})

test('no handler is for an event that is none of them', () => {
  defineProjection({
    name: 'orders',
    into: postgres,
    from: [Order],
    on: {
      'Order.Placed': () => undefined,
      // @ts-expect-error It is an event of another aggregate.
      'Customer.Named': () => undefined,
    },
  })
  defineProjection({
    name: 'orders',
    into: postgres,
    from: [Order],
    // @ts-expect-error By its full type.
    on: { Placed: () => undefined },
  })
  defineProjection({
    name: 'orders',
    into: postgres,
    // @ts-expect-error A list of them.
    from: Order,
    on: {},
  })
})

test('a query may name the type of its rows', () => {
  interface Loan {
    readonly book: string
  }
  expectTypeOf(sqlite.query('SELECT book FROM loans')).resolves.toEqualTypeOf<readonly TargetRow[]>()
  expectTypeOf(sqlite.query<Loan>('SELECT book FROM loans')).resolves.toEqualTypeOf<readonly Loan[]>()
  expectTypeOf(postgres.query<Loan>('SELECT book FROM loans')).resolves.toEqualTypeOf<readonly Loan[]>()
})
