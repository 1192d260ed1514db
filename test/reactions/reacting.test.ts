import { defineCommand, reject } from 'mneme'
import { defineReaction, runReactions } from 'mneme/reactions'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, test } from 'vitest'
import { until } from '../projections/rig.ts'
import { onTime, openPlace, typesOf, Wall } from './rig.ts'
import { Cancelled, fulfilment, Order, Paid, Placed } from './shop.ts'

const minutes = 60_000

test('an event is followed by the call of a command', async () => {
  const { store, state } = openPlace()
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' }), Paid({ amount: 9 })] })
  await using running = await runReactions(store, [fulfilment], { state })
  await running.caughtUp()
  expect(await typesOf(store, 'Order-1')).toEqual(['Placed', 'Paid', 'Shipped'])
  const { events } = await store.readPage('Order-1')
  expect(events[2]!.metadata).toEqual({ causation: events[1]!.id })
})

test('a rejected call is followed by what the reaction answers', async () => {
  const { store, state } = openPlace()
  await store.append({ stream: Order('1'), events: [Paid({ amount: 9 }), Cancelled()] })
  await using running = await runReactions(store, [fulfilment], { state })
  await running.caughtUp()
  expect(await typesOf(store, 'Order-1')).toEqual(['Paid', 'Cancelled', 'Refunded'])
})

test('each of the answers to a rejection and to the rejection of an answer takes effect', async () => {
  const { store, state } = openPlace()
  const orderOf = ({ stream }: { readonly stream: string }) => ({ order: Order.idOf(stream)! })
  const reads = (input: { order: string }) => Order(input.order)
  const refusing = <Name extends string>(name: Name) =>
    defineCommand({ name, reads, handle: () => reject('no') })
  const placing = <Name extends string>(item: Name) =>
    defineCommand({ name: item, reads, handle: () => Placed({ item }) })
  const [first, second] = [refusing('first'), refusing('second')]
  const [a, b, c] = [placing('a'), placing('b'), placing('c')]
  const answering = defineReaction({
    name: 'answering',
    from: [Order],
    commands: [first, second, a, b, c],
    startAt: 'start',
    on: { 'Order.Paid': (event) => first(orderOf(event)) },
    rejected: {
      first: (_, event) => [second(orderOf(event)), a(orderOf(event))],
      second: (_, event) => [b(orderOf(event)), c(orderOf(event))],
    },
  })
  await store.append({ stream: Order('1'), events: [Paid({ amount: 9 })] })
  await using running = await runReactions(store, [answering], { state })
  await running.caughtUp()
  const { events } = await store.readPage(Order('1'))
  expect(events.flatMap(({ data }) => ('item' in data ? [data.item] : []))).toEqual(['b', 'c', 'a'])
})

test('a timer fires when it is due, counted from the recorded time of its event', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  await using running = await runReactions(store, [onTime(fulfilment, { wall })], { state })
  await running.caughtUp()
  const control = fulfilment.in(state)
  expect(await control.timers()).toMatchObject([
    { timer: 'unpaid:Order-1', state: 'waiting', command: 'order.expire', input: { order: '1' } },
  ])
  wall.forward(29 * minutes)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(await typesOf(store, 'Order-1')).toEqual(['Placed'])
  wall.forward(2 * minutes)
  await until(async () => (await typesOf(store, 'Order-1')).length === 2, 'the timer fires')
  expect(await typesOf(store, 'Order-1')).toEqual(['Placed', 'Expired'])
  await until(async () => (await control.timers()).length === 0, 'the timer is removed')
})

test('a timer that was cancelled does not fire', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' }), Paid({ amount: 1 })] })
  await store.append({ stream: Order('2'), events: [Placed({ item: 'book' })] })
  await using running = await runReactions(store, [onTime(fulfilment, { wall })], { state })
  await running.caughtUp()
  wall.forward(31 * minutes)
  await until(async () => (await typesOf(store, 'Order-2')).length === 2, 'the other timer fires')
  expect(await typesOf(store, 'Order-1')).toEqual(['Placed', 'Paid', 'Shipped'])
  await until(async () => (await fulfilment.in(state).timers()).length === 0, 'the timer is removed')
})

test('batches and timers are published on channels', async () => {
  const { store, state } = openPlace()
  const messages: object[] = []
  const told = (message: unknown) => {
    const { handled } = message as { readonly handled?: number }
    if (handled !== 0) messages.push({ ...(message as object) })
  }
  const channels = ['tracing:mneme.projection.batch:asyncEnd', 'tracing:mneme.reaction.timers:asyncEnd']
  for (const channel of channels) subscribe(channel, told)
  const wall = new Wall()
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  await using running = await runReactions(store, [onTime(fulfilment, { wall })], { state })
  await running.caughtUp()
  wall.forward(31 * minutes)
  await until(() => messages.length > 1, 'the timer fires')
  for (const channel of channels) unsubscribe(channel, told)
  expect(messages).toMatchObject([
    { projection: 'fulfilment', kind: 'reaction', outcome: 'ok', handled: 1 },
    { reaction: 'fulfilment', outcome: 'ok', timers: [{ timer: 'unpaid:Order-1' }] },
  ])
})
