import { defineAggregate, defineCommand, type Event, event, type EventStore, ofType, reject } from 'mneme'
import { after, at, cancelTimer, defineReaction, runReactions, timersIn } from 'mneme/reactions'
import { expect, test } from 'vitest'

import { ManualClock } from '../support/manual-clock.ts'
import { faultyTarget } from '../projections/faulty-target.ts'
import { until } from '../projections/rig.ts'
import { onTime, openPlace, Wall } from './rig.ts'

const Alarm = defineAggregate({
  name: 'Alarm',
  events: {
    Set: event<{ seconds: number; timer: string }>(),
    SetFor: event<{ at: string; timer: string }>(),
    Off: event<{ timer: string }>(),
    Rang: event<{ timer: string }>(),
    Snoozed: event<{ timer: string }>(),
  },
  initial: () => ({ rang: 0, snoozed: 0 }),
  apply: {
    Set: (state) => state,
    SetFor: (state) => state,
    Off: (state) => state,
    Rang: (state) => ({ ...state, rang: state.rang + 1 }),
    Snoozed: (state) => ({ ...state, snoozed: state.snoozed + 1 }),
  },
})
const ring = defineCommand({
  name: 'alarm.ring',
  needs: ofType<{ isMuted?: () => boolean }>(),
  reads: (_: { timer: string }) => Alarm('a'),
  handle: ({ snoozed }, { timer }, { isMuted }) => {
    if (isMuted?.()) throw new Error('muted')
    return timer === 'lazy' && snoozed < 1 ? reject('asleep') : Alarm.events.Rang({ timer })
  },
})
const snooze = defineCommand({
  name: 'alarm.snooze',
  reads: (_: { timer: string }) => Alarm('a'),
  handle: (_, { timer }) => Alarm.events.Snoozed({ timer }),
})

const common = {
  name: 'alarms',
  from: [Alarm],
  startAt: 'start',
  retry: { maxRetries: 1, baseDelay: 1, minDelay: 0, maxDelay: 1 },
} as const
const alarms = defineReaction({
  ...common,
  commands: [ring, snooze],
  on: {
    'Alarm.Set': ({ data: { seconds, timer } }) => after({ seconds }, ring({ timer }), { timer }),
    'Alarm.SetFor': ({ data }) => at(data.at, ring({ timer: data.timer }), { timer: data.timer }),
    'Alarm.Off': ({ data: { timer } }) => cancelTimer(timer),
  },
  rejected: {
    'alarm.ring': (_, { type }) => [
      snooze({ timer: type }),
      after({ hours: 1 }, ring({ timer: 'lazy' }), { timer: 'lazy' }),
    ],
  },
})
const { Set: SetAlarm, SetFor, Off } = Alarm.events

async function record(store: EventStore, ...events: Event[]): Promise<void> {
  await store.append({ stream: 'Alarm-a', events })
}

async function rung(store: EventStore): Promise<string[]> {
  const timers: string[] = []
  for await (const { type, data } of store.read(Alarm('a')))
    if (type === 'Alarm.Rang') timers.push(data.timer)
  return timers
}

/** The timers that have fired. */
async function untilRung(store: EventStore, ...timers: string[]): Promise<void> {
  await until(async () => (await rung(store)).length >= timers.length, `${timers.join()} ring`)
  expect(await rung(store)).toEqual(timers)
}

test('setting a timer of the same name again replaces it, and cancelling it removes it', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  await record(store, SetAlarm({ seconds: 10, timer: 'a' }), SetAlarm({ seconds: 60, timer: 'a' }))
  await record(
    store,
    SetAlarm({ seconds: 10, timer: 'b' }),
    Off({ timer: 'b' }),
    SetAlarm({ seconds: 20, timer: 'c' }),
  )
  await using running = await runReactions(store, [onTime(alarms, { wall })], { state })
  await running.caughtUp()
  const timers = await alarms.in(state).timers()
  expect(timers.map(({ timer }) => timer)).toEqual(['c', 'a'])
  // Another program sees them by the name of the reaction.
  expect(await timersIn(state, 'alarms')).toEqual(timers)
  expect(await timersIn(state, 'alarms', { after: timers[0] })).toEqual(timers.slice(1))
  expect(await timersIn(state, 'unknown')).toEqual([])
  const { events } = await store.readPage('Alarm-a')
  expect(Date.parse(timers[1]!.due)).toBe(Date.parse(events[1]!.time) + 60_000)
  wall.forward(30_000)
  await untilRung(store, 'c')
  wall.forward(60_000)
  await untilRung(store, 'c', 'a')
})

test('timers that are due at once fire in the order of their due time, and a cancellation that was recorded before wins', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  const first = await runReactions(store, [onTime(alarms, { wall })], { state })
  const names = Array.from({ length: 250 }, (_, i) => `t${String(i).padStart(3, '0')}`)
  await record(store, ...names.map((timer, i) => SetAlarm({ seconds: 1 + ((i * 7) % 250), timer })))
  await first.caughtUp()
  await first.stop()
  // While nobody runs it, one is cancelled; then a day passes.
  await record(store, Off({ timer: 't007' }))
  wall.forward(86_400_000)
  await using running = await runReactions(store, [onTime(alarms, { wall })], { state, concurrency: 1 })
  await until(async () => (await rung(store)).length >= 249, 'all ring')
  await running.caughtUp()
  const due = names
    .map((timer, i) => ({ timer, seconds: 1 + ((i * 7) % 250) }))
    .filter(({ timer }) => timer !== 't007')
  expect(await rung(store)).toEqual(due.sort((a, b) => a.seconds - b.seconds).map(({ timer }) => timer))
  await until(async () => (await alarms.in(state).timers()).length === 0, 'none is left')
})

test('a timer whose call is rejected is followed by what the reaction answers, with the event that set it', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  await record(store, SetAlarm({ seconds: 1, timer: 'lazy' }))
  await using running = await runReactions(store, [onTime(alarms, { wall })], { state })
  wall.forward(5_000)
  await until(async () => (await store.readPage('Alarm-a')).events.length === 2, 'it snoozes')
  const snoozed = (await store.readPage('Alarm-a')).events[1]!
  expect(snoozed).toMatchObject({ type: 'Alarm.Snoozed', data: { timer: 'Alarm.Set' } })
  wall.forward(3_600_000)
  await untilRung(store, 'lazy')
  await running.caughtUp()
})

test('a person lists, fires and cancels timers, also from another process', async () => {
  const { store, state, another } = openPlace()
  await record(store, ...['a', 'b', 'c'].map((timer, i) => SetAlarm({ seconds: 3600 + i, timer })))
  await record(store, SetFor({ at: '2100-01-01T00:00:00.000Z', timer: 'd' }))
  await using running = await runReactions(store, [onTime(alarms)], { state })
  await running.caughtUp()
  const control = alarms.in(another().state)
  const [first, second] = await control.timers({ limit: 2 })
  expect(first).toMatchObject({ timer: 'a', state: 'waiting', command: 'alarm.ring', input: { timer: 'a' } })
  expect((await control.timers({ after: second })).map(({ timer, due }) => [timer, due]).at(-1)).toEqual([
    'd',
    '2100-01-01T00:00:00.000Z',
  ])
  expect(await control.cancelTimer('a')).toBe(true)
  expect(await control.cancelTimer('a')).toBe(false)
  expect(await control.fireTimer('a')).toBe(false)
  expect(await control.fireTimer('b')).toBe(true)
  await untilRung(store, 'b')
})

test('of firing and cancelling a timer at once, one wins, and no timer fires twice', async () => {
  const { store, state, another } = openPlace()
  const names = Array.from({ length: 40 }, (_, i) => `t${String(i)}`)
  await record(store, ...names.map((timer) => SetAlarm({ seconds: 1, timer })))
  const wall = new Wall()
  await using running = await runReactions(store, [onTime(alarms, { wall })], { state })
  await running.caughtUp()
  const control = alarms.in(another().state)
  wall.forward(10_000)
  const cancelled: string[] = []
  for (const timer of names.toReversed()) if (await control.cancelTimer(timer)) cancelled.push(timer)
  await until(async () => (await control.timers()).length === 0, 'no timer is left')
  const fired = await rung(store)
  expect([...fired, ...cancelled].sort()).toEqual(names.sort())
})

test('a timer whose command no program knows blocks the reaction by name, and fires once the command is back', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  await record(store, SetAlarm({ seconds: 1, timer: 'a' }))
  const first = await runReactions(store, [onTime(alarms, { wall })], { state })
  await first.caughtUp()
  await first.stop()
  wall.forward(5_000)
  const forgetful = defineReaction({ ...common, commands: [snooze], on: { 'Alarm.Off': () => [] } })
  const second = await runReactions(store, [onTime(forgetful, { wall })], { state })
  await until(async () => (await second.status())[0]?.state === 'blocked', 'it is blocked')
  const [status] = await second.status()
  expect(status?.failure).toMatchObject({
    timer: 'a',
    message:
      "command 'alarm.ring' is not among the 'commands' of reaction 'alarms': add it again, and unblock the reaction",
  })
  await second.stop()
  await using third = await runReactions(store, [onTime(alarms, { wall })], { state })
  expect(await alarms.in(state).unblock()).toBe(true)
  await untilRung(store, 'a')
  await third.caughtUp()
})

test('a timer whose call fails is parked if the reaction says so, and a person fires it', async () => {
  const { store, state } = openPlace()
  let isMuted = true
  const wall = new Wall()
  const parking = defineReaction({
    ...common,
    onError: 'park',
    commands: [ring],
    on: { 'Alarm.Set': ({ data: { seconds, timer } }) => after({ seconds }, ring({ timer }), { timer }) },
    rejected: { 'alarm.ring': () => 'ignore' },
  })
  await record(store, SetAlarm({ seconds: 1, timer: 'a' }), SetAlarm({ seconds: 2, timer: 'b' }))
  const needs = { isMuted: () => isMuted }
  await using running = await runReactions(store, [onTime(parking, { wall })], { state, needs })
  wall.forward(5_000)
  const control = parking.in(state)
  const states = async () =>
    (await control.timers()).map(({ state: now, failure }) => [now, failure?.message])
  const areParked = async () => (await states()).filter(([now]) => now === 'parked').length === 2
  await until(areParked, 'both are parked')
  expect(await states()).toEqual([
    ['parked', 'muted'],
    ['parked', 'muted'],
  ])
  isMuted = false
  expect(await control.fireTimer('b')).toBe(true)
  await untilRung(store, 'b')
  expect(await control.cancelTimer('a')).toBe(true)
  await running.caughtUp()
})

test('clocks that are set an hour ahead or back fire no timer twice, and none is lost', async () => {
  const { store, state } = openPlace()
  const wall = new Wall()
  const first = await runReactions(store, [onTime(alarms, { wall })], { state })
  await record(store, SetAlarm({ seconds: 1_800, timer: 'a' }), SetAlarm({ seconds: 7_200, timer: 'b' }))
  await first.caughtUp()
  wall.forward(3_600_000)
  await untilRung(store, 'a')
  await first.stop()
  // The successor's clock is two hours behind that one.
  const behind = new Wall(wall.ahead - 7_200_000)
  await using second = await runReactions(store, [onTime(alarms, { wall: behind })], { state })
  await second.caughtUp()
  behind.forward(3_600_000)
  await record(store, SetAlarm({ seconds: 0, timer: 'c' }))
  await second.caughtUp()
  behind.forward(3 * 3_600_000)
  await until(async () => (await rung(store)).length === 3, 'the others ring')
  expect((await rung(store)).sort()).toEqual(['a', 'b', 'c'])
})

test('waiting timers cost no look at the database before they are due', async () => {
  const { store, state } = openPlace()
  const clock = new ManualClock()
  await record(store, SetAlarm({ seconds: 3_600, timer: 'a' }))
  let looks = 0
  const counting = faultyTarget(state, {
    rewrite: (query) => {
      if (query.sql.includes('TIMERS')) looks++
      return query
    },
  })
  await using running = await runReactions(store, [onTime(alarms, { clock })], { state: counting })
  await running.caughtUp()
  await until(() => clock.pending.includes(1_000), 'it sleeps')
  const before = looks
  for (let seconds = 0; seconds < 3; seconds++) {
    clock.advance(1_000)
    await until(() => clock.pending.some((delay) => delay <= 1_000), 'it sleeps again')
  }
  expect(looks).toBe(before)
  await running.stop()
})

test('a timer is found by its name among a million, without a look at the others', async () => {
  const { store, state } = openPlace()
  await (await runReactions(store, [onTime(alarms)], { state })).stop()
  const plan = await state.query<{ detail: string }>(
    "EXPLAIN QUERY PLAN SELECT 1 FROM mneme_timers WHERE name = 'a' AND timer = 'b' AND state <> 'firing'",
  )
  expect(plan.map(({ detail }) => detail).join()).toContain('(name=? AND timer=?)')
})
