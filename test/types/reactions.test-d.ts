import { defineAggregate, defineCommand, event, type EventStore, ofType, reject } from 'mneme'
import {
  after,
  at,
  cancelTimer,
  defineReaction,
  defineRelay,
  type Reaction,
  runReactions,
} from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { expectTypeOf, test } from 'vitest'

const Order = defineAggregate({
  name: 'Order',
  events: { Placed: event<{ total: number }>(), Paid: event() },
  initial: () => ({ paid: false }),
  apply: { Placed: (state) => state, Paid: () => ({ paid: true }) },
})
const ship = defineCommand({
  name: 'order.ship',
  reads: (input: { order: string }) => Order(input.order),
  handle: ({ paid }) => {
    if (!paid) return reject('unpaid')
    return paid ? [] : reject('lost', { since: 1 })
  },
})
const note = defineCommand({
  name: 'order.note',
  needs: ofType<{ now: () => number }>(),
  reads: (input: { order: string }) => Order(input.order),
  handle: () => [],
})
const unnamed = defineCommand({ reads: (input: { order: string }) => Order(input.order), handle: () => [] })
const dated = defineCommand({
  name: 'order.dated',
  reads: (input: { order: string; on: Date }) => Order(input.order),
  handle: () => [],
})
const target = sqliteTarget('state.db')
declare const store: EventStore

test('a command knows its name', () => {
  expectTypeOf(ship.commandName).toEqualTypeOf<'order.ship' | undefined>()
  expectTypeOf(unnamed.commandName).toEqualTypeOf<string | undefined>()
})

test('events, rejections and needs are inferred', () => {
  const reaction = defineReaction({
    name: 'fulfilment',
    from: [Order],
    commands: [ship, note],
    startAt: 'end',
    sequence: ({ stream }) => stream,
    on: {
      'Order.Placed': (placed) => {
        expectTypeOf(placed.data).toEqualTypeOf<{ total: number }>()
        return [
          after({ minutes: 30 }, note({ order: '1' }), { timer: 'x' }),
          at(new Date(), ship({ order: '1' }), { timer: 'y' }),
        ]
      },
      'Order.Paid': () => cancelTimer('x'),
    },
    rejected: {
      'order.ship': (why, { type }) => {
        expectTypeOf(why).toEqualTypeOf<
          { readonly reason: 'unpaid' } | { readonly reason: 'lost'; since: number }
        >()
        expectTypeOf(type).toEqualTypeOf<'Order.Placed' | 'Order.Paid'>()
        return why.reason === 'unpaid' ? 'ignore' : note({ order: '1' })
      },
    },
  })
  expectTypeOf(reaction).toExtend<Reaction<{ now: () => number }>>()
  void runReactions(store, [reaction], { state: target, needs: { now: () => 1 } })
  // @ts-expect-error a command needs a clock
  void runReactions(store, [reaction], { state: target })
  // @ts-expect-error of another type
  void runReactions(store, [reaction], { state: target, needs: { now: () => '1' } })
  const relay = defineRelay({
    name: 'broker',
    from: [Order],
    startAt: 'start',
    send: (batch) => {
      expectTypeOf(batch[0]!.type).toEqualTypeOf<'Order.Placed' | 'Order.Paid'>()
      return Promise.resolve()
    },
  })
  void runReactions(store, [relay], { state: target })
})

test('what a reaction may not do does not compile', () => {
  const common = { name: 'x', from: [Order], startAt: 'end' } as const
  // @ts-expect-error a rejection is not handled
  defineReaction({ ...common, commands: [ship], on: { 'Order.Paid': () => ship({ order: '1' }) } })
  // A command that is never rejected needs no answer.
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => note({ order: '1' }) } })
  // @ts-expect-error a command without a name
  defineReaction({ ...common, commands: [unnamed], on: { 'Order.Paid': () => [] } })
  // @ts-expect-error an input that is no JSON
  defineReaction({ ...common, commands: [dated], on: { 'Order.Paid': () => [] } })
  const on = new Date()
  // @ts-expect-error a command that is not in the list
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => dated({ order: '1', on }) } })
  // @ts-expect-error a call without a name
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => unnamed({ order: '1' }) } })
  // @ts-expect-error an event of no source
  defineReaction({ ...common, commands: [note], on: { 'Order.Lost': () => [] } })
  // @ts-expect-error it must be pure
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => Promise.resolve([]) } })
  // @ts-expect-error startAt must be chosen
  defineReaction({ name: 'x', from: [Order], commands: [note], on: { 'Order.Paid': () => [] } })
  // @ts-expect-error nothing is returned
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => undefined } })
  const later = after(5, dated({ order: '1', on }), { timer: 'x' })
  // @ts-expect-error a timer of a command that is not in the list
  defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => later } })
  const empty = defineReaction({ ...common, commands: [note], on: { 'Order.Paid': () => [] } })
  // @ts-expect-error there is no rebuild
  expectTypeOf(empty.rebuild).toBeAny()
})
