import { defineAggregate, defineCommand, event, reject, type Sealed, subject } from 'mneme'
import { eraseSubject } from 'mneme/erasure'
import { memoryStore } from 'mneme/memory'
import { defineProjection } from 'mneme/projections'
import { after, at, defineReaction, defineRelay, runReactions } from 'mneme/reactions'
import { expect, test } from 'vitest'

import { ringOf } from '../erasure/customers.ts'
import { until } from '../projections/rig.ts'
import { onTime, openPlace, typesOf, Wall } from './rig.ts'
import { fulfilment, Order, Paid, Placed, refund, ship } from './shop.ts'

test('a projection of the name of a reaction cannot rewind it, nor a reaction a projection', async () => {
  const { store, state } = openPlace()
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' }), Paid({ amount: 9 })] })
  const running = await runReactions(store, [fulfilment], { state })
  await running.caughtUp()
  await running.stop()
  const definition = {
    into: state,
    from: [Order],
    reset: () => undefined,
    on: { 'Order.Noted': () => undefined },
  }
  const same = defineProjection({ name: 'fulfilment', ...definition } as never)
  const refused = {
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('the name of a reaction') as string,
  }
  for (const call of [
    () => same.reset(),
    () => same.unblock(),
    () => same.parkAndGoOn(store),
    () => same.retryParked(),
    () => same.discard('id'),
    () => same.status(store),
  ]) {
    await expect(call()).rejects.toMatchObject(refused)
  }
  await defineProjection({ name: 'other', ...definition } as never).rebuild(store)
  const reaction = defineReaction({ ...aboutNothing, name: 'other' })
  await expect(reaction.in(state).status(store)).rejects.toThrow("'other' is the name of a projection")
})

const aboutNothing = {
  from: [Order],
  commands: [ship, refund],
  startAt: 'start',
  on: { 'Order.Noted': () => [] },
  rejected: { 'order.ship': () => 'ignore' as const },
} as const

test('where a reaction or a relay begins is refused by its name if it is no place', async () => {
  const { store, state } = openPlace()
  const relay = defineRelay({ name: 'mails', from: [Order], startAt: 'begin', send: () => Promise.resolve() })
  const reaction = defineReaction({ ...aboutNothing, name: 'nothing', startAt: 'begin' })
  const rest = `must be 'start', 'end' or a position that this store gave, not "begin"`
  await expect(runReactions(store, [relay], { state })).rejects.toThrow(`startAt of relay 'mails' ${rest}`)
  await expect(runReactions(store, [reaction], { state })).rejects.toThrow(
    `startAt of reaction 'nothing' ${rest}`,
  )
})

test('a call that took effect is known again, in whatever order a later version names the fields of its input', async () => {
  const { store, state } = openPlace()
  let isDown = true
  const pay = defineCommand({
    name: 'pay',
    reads: ({ order }: { order: string; amount: number }) => Order(order),
    handle: (_, { amount }) => Paid({ amount }),
  })
  const mail = defineCommand({
    name: 'mail',
    reads: () => Order('mails'),
    handle: () => {
      if (isDown) throw new Error('the mail server is down')
      return Placed({ item: 'mail' })
    },
  })
  const version = (number: number, input: { order: string; amount: number }) =>
    defineReaction({
      name: 'payments',
      version: number,
      from: [Order],
      commands: [pay, mail],
      startAt: 'start',
      retry: { maxRetries: 0 },
      on: { 'Order.Placed': ({ stream }) => (stream === 'Order-1' ? [pay(input), mail()] : []) },
    })
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  const first = await runReactions(store, [version(1, { order: '2', amount: 3 })], { state })
  await expect(first.caughtUp()).rejects.toMatchObject({ code: 'PROJECTION_BLOCKED' })
  await first.stop()
  isDown = false
  const second = version(2, { amount: 3, order: '2' })
  await using running = await runReactions(store, [second], { state })
  await second.in(state).unblock()
  await running.caughtUp()
  expect(await typesOf(store, 'Order-2')).toEqual(['Paid'])
  expect(await typesOf(store, 'Order-mails')).toEqual(['Placed'])
})

test('a reaction whose checkpoint is of another store has not caught up', async () => {
  const [one, other] = [openPlace(), openPlace()]
  const { state } = one
  for (let i = 0; i < 3; i++)
    await one.store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  await other.store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  const first = await runReactions(one.store, [fulfilment], { state })
  await first.caughtUp()
  await first.stop()
  await using running = await runReactions(other.store, [fulfilment], { state })
  const blocked = { code: 'PROJECTION_BLOCKED' }
  await expect(running.caughtUp()).rejects.toMatchObject(blocked)
  const head = await other.store.logHead()
  await expect(fulfilment.in(state).caughtUpTo(head)).rejects.toMatchObject(blocked)
})

test('a rejection may be answered by a timer again and again, which counts from the time of the one before', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  let asked = 0
  const ask = defineCommand({
    name: 'ask',
    reads: (input: { order: string }) => Order(input.order),
    handle: () => (++asked < 15 ? reject('not-yet') : Placed({ item: 'answer' })),
  })
  const asking = onTime(
    defineReaction({
      name: 'asking',
      from: [Order],
      commands: [ask],
      startAt: 'start',
      on: { 'Order.Paid': () => ask({ order: '2' }) },
      rejected: { ask: () => after({ minutes: 1 }, ask({ order: '2' }), { timer: 'again' }) },
    }),
    { wall },
  )
  await store.append({ stream: Order('1'), events: [Paid({ amount: 1 })] })
  await using running = await runReactions(store, [asking], { state })
  await running.caughtUp()
  const control = asking.in(state)
  const [{ due: begin } = { due: '' }] = await control.timers()
  for (let i = 1; i < 15; i++) {
    const [timer] = await control.timers()
    expect(Date.parse(timer!.due) - Date.parse(begin)).toBe((i - 1) * 60_000)
    wall.forward(60_000)
    await until(
      async () => asked > i && (await control.timers()).every(({ state }) => state === 'waiting'),
      'it asks',
    )
  }
  await until(async () => (await typesOf(store, 'Order-2')).length === 1, 'it is answered')
})

test('a timer that is due after the end of time blocks the event, and the list of timers stays readable', async () => {
  const { store, state } = openPlace()
  const far = defineReaction({
    ...aboutNothing,
    name: 'far',
    retry: { maxRetries: 0 },
    on: { 'Order.Placed': () => after({ days: 1e8 }, ship({ order: '1' }), { timer: 'far' }) },
  })
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  await using running = await runReactions(store, [far], { state })
  await expect(running.caughtUp()).rejects.toThrow('a Date can hold')
  expect(await far.in(state).timers()).toEqual([])
})

test('a sequence that a database could not keep blocks the event, and says so', async () => {
  const { store, state } = openPlace()
  const odd = defineReaction({
    ...aboutNothing,
    name: 'odd',
    retry: { maxRetries: 0 },
    sequence: () => 'a\0b',
    on: { 'Order.Placed': () => [] },
  })
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  await using running = await runReactions(store, [odd], { state })
  await expect(running.caughtUp()).rejects.toThrow('without NUL and half surrogates')
})

test('a listener that rejects does not end the program', async () => {
  const { store, state } = openPlace()
  const odd = defineReaction({
    ...aboutNothing,
    name: 'odd',
    sequence: () => 1 as never,
    on: { 'Order.Placed': () => [] },
    retry: { maxRetries: 0 },
  })
  await store.append({ stream: Order('1'), events: [Placed({ item: 'book' })] })
  let told = 0
  const onFailure = async () => {
    told++
    await Promise.reject(new Error('the pager is down'))
  }
  // eslint-disable-next-line @typescript-eslint/no-misused-promises -- as a user may write it
  await using running = await runReactions(store, [odd], { state, onFailure })
  await expect(running.caughtUp()).rejects.toMatchObject({ code: 'PROJECTION_BLOCKED' })
  expect(told).toBeGreaterThan(0)
  await expect(runReactions(store, [odd], { state, onFailure: 5 as never })).rejects.toThrow('onFailure')
})

test('a time is a day of the calendar with a zone, or a Date', () => {
  const call = ship({ order: '1' })
  const due = (time: string) => at(time, call, { timer: 't' }).due
  expect(due('2026-05-17T08:00:00+02:00')).toBe('2026-05-17T06:00:00.000Z')
  expect(due('2028-02-29T08:00Z')).toBe('2028-02-29T08:00:00.000Z')
  for (const time of [
    '2026-02-30T08:00:00Z',
    '2026-05-17T08:00:00',
    '2026-05-17',
    'May 17, 2026 UTC',
    5,
    new Date(NaN),
  ]) {
    expect(() => due(time as string), String(time)).toThrow('time must be a Date, or a time with its zone')
  }
})

test('a timer whose command passes on a value of an erased subject is set aside, and the others fire', async () => {
  const Guest = defineAggregate({
    name: 'Guest',
    events: {
      Booked: event<{ guest: string; email: string }>().personal({ email: (d) => subject('guest', d.guest) }),
      Reminded: event<{ guest: string; email: string }>().personal({
        email: (d) => subject('guest', d.guest),
      }),
    },
    initial: (): { email?: Sealed<string> } => ({}),
    apply: { Booked: (_, { email }) => ({ email }), Reminded: (state) => state },
  })
  const remind = defineCommand({
    name: 'guest.remind',
    reads: (guest: string) => Guest(guest),
    handle: ({ email }, guest) => (email ? Guest.events.Reminded({ guest, email }) : []),
  })
  const wall = new Wall()
  const reminders = onTime(
    defineReaction({
      ...{ name: 'reminders', from: [Guest], commands: [remind], startAt: 'start' },
      on: { 'Guest.Booked': ({ data }) => after({ hours: 1 }, remind(data.guest), { timer: data.guest }) },
    }),
    { wall },
  )
  const store = memoryStore({ personal: ringOf() })
  const { state } = openPlace()
  for (const guest of ['ann', 'bob']) {
    await store.append({
      stream: Guest(guest),
      events: [Guest.events.Booked({ guest, email: `${guest}@example.org` })],
    })
  }
  await using running = await runReactions(store, [reminders], { state })
  await running.caughtUp()
  await eraseSubject(store, subject('guest', 'ann'))
  wall.forward(3_600_000)
  await until(async () => (await typesOf(store, 'Guest-bob')).length === 2, 'bob is reminded')
  await until(async () => {
    const [timer] = await reminders.in(state).timers()
    return timer?.timer === 'ann' && timer.state === 'parked'
  }, 'the timer of ann is set aside')
  expect((await running.status())[0]?.state).toBe('running')
  await running.stop()
  await store.close()
})
