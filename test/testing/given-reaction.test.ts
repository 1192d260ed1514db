import assert from 'node:assert'
import { given } from 'mneme/testing'
import { expect, test } from 'vitest'

import { fulfilment, Order, Paid, Placed } from '../reactions/shop.ts'
import { expire, refund, ship } from '../reactions/shop.ts'

const placed = given(Order('1'), Placed({ item: 'book' }))

test('the calls that follow from events are compared, with their inputs and in their order', async () => {
  await placed.react(fulfilment).thenCalls([])
  const paid = placed.and(Order('1'), Paid({ amount: 1 })).and(Order('2'), Paid({ amount: 1 }))
  await paid.react(fulfilment).thenCalls([ship({ order: '1' }), ship({ order: '2' })])
  await expect(
    paid.react(fulfilment).thenCalls([ship({ order: '2' }), ship({ order: '1' })]),
  ).rejects.toThrow(assert.AssertionError)
  await expect(paid.react(fulfilment).thenCalls([])).rejects.toThrow('expected other calls')
})

test('time is moved by hand', async () => {
  const reaction = placed.react(fulfilment)
  await reaction.thenTimers({ 'unpaid:Order-1': expire({ order: '1' }) })
  await reaction.later({ minutes: 29 }).thenCalls([])
  await reaction
    .later({ minutes: 29 })
    .later({ minutes: 1 })
    .thenCalls([expire({ order: '1' })])
  await reaction.later({ days: 1 }).later({ days: 1 }).thenCalls([])
  const paid = placed.and(Order('1'), Paid({ amount: 1 })).react(fulfilment)
  await paid.thenTimers({})
  await expect(paid.thenTimers({ other: expire({ order: '1' }) })).rejects.toThrow('expected other timers')
})

test('a call that is rejected is followed by its answers', async () => {
  const paid = given(Order('1'), Paid({ amount: 1 }))
  const rejected = { 'order.ship': 'closed' }
  await paid.react(fulfilment, { rejected }).thenCalls([ship({ order: '1' }), refund({ order: '1' })])
  await placed
    .react(fulfilment, { rejected: { 'order.expire': 'strange' } })
    .later({ hours: 1 })
    .thenThrows(/command 'order.expire' was rejected: strange; 'rejected' does not say what to do/)
})

test('a rejection of an unknown command, and calls that are no list, are refused', async () => {
  expect(() => placed.react(fulfilment, { rejected: { 'order.shp': 'closed' } })).toThrow(
    "rejected['order.shp'] must be the name of a command of the reaction: order.ship, order.refund, order.expire",
  )
  await expect(placed.react(fulfilment).thenCalls(ship({ order: '1' }) as never)).rejects.toThrow(
    'calls must be a list of calls, or [] for none',
  )
})
