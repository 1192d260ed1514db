import { defineAggregate, defineCommand, event, type EventStore } from 'mneme'
import { after, defineReaction, defineRelay, type Reaction, runReactions } from 'mneme/reactions'
import { defineProjection, projectionsIn, runProjections } from 'mneme/projections'
import { expect, test } from 'vitest'

import { DefinedReaction } from '../../src/reactions/reaction.ts'
import type { ReactionSpec } from '../../src/reactions/spec.ts'
import { until } from '../projections/rig.ts'
import { onTime, openPlace, Wall } from './rig.ts'

const Job = defineAggregate({
  name: 'Job',
  events: { Asked: event<{ n: number }>(), Done: event<{ n: number }>() },
  initial: () => ({ done: [] as readonly number[] }),
  apply: { Asked: (state) => state, Done: ({ done }, { n }) => ({ done: [...done, n] }) },
})

/** Numbers whose command throws at present. */
const broken = new Set<number>()
const work = defineCommand({
  name: 'job.work',
  reads: (input: { job: string; n: number }) => Job(input.job),
  handle: (_, { n }) => {
    if (broken.has(n)) throw new Error(`${String(n)} is broken`)
    return Job.events.Done({ n })
  },
})
const retry = { maxRetries: 1, baseDelay: 1, minDelay: 0, maxDelay: 1 }

function worker(onError: 'block' | 'park', version = 1) {
  return defineReaction({
    name: 'worker',
    version,
    from: [Job],
    commands: [work],
    startAt: 'start',
    onError,
    retry,
    on: {
      'Job.Asked': ({ stream, data: { n } }) => [
        work({ job: Job.idOf(stream)!, n }),
        after({ minutes: 1 }, work({ job: Job.idOf(stream)!, n: n + 100 }), {
          timer: `${stream} again ${String(n)}`,
        }),
      ],
    },
  })
}

async function ask(store: EventStore, job: string, ...numbers: number[]): Promise<void> {
  await store.append({ stream: Job(job), events: numbers.map((n) => Job.events.Asked({ n })) })
}

async function doneOn(store: EventStore, job: string): Promise<number[]> {
  const done: number[] = []
  for await (const { type, data } of store.read(Job(job))) if (type === 'Job.Done') done.push(data.n)
  return done
}

test('a call that fails blocks the reaction visibly, and unblocking tries it again', async () => {
  const { store, state } = openPlace()
  broken.add(2)
  await ask(store, 'a', 1, 2, 3)
  const failures: string[] = []
  const reaction = onTime(worker('block'))
  await using running = await runReactions(store, [reaction], {
    state,
    onFailure: ({ message }) => failures.push(message),
  })
  await expect(running.caughtUp()).rejects.toThrow('reaction "worker" is blocked: 2 is broken')
  expect(failures).toEqual(['2 is broken', '2 is broken'])
  expect(await doneOn(store, 'a')).toEqual([1])
  expect(await reaction.in(state).status(store)).toMatchObject({
    state: 'blocked',
    lag: { events: 2 },
    handled: 1,
  })
  broken.delete(2)
  expect(await reaction.in(state).unblock()).toBe(true)
  await running.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([1, 2, 3])
})

test('a parked event holds back the later events of its sequence, and no others; they come in order when it is retried', async () => {
  const { store, state } = openPlace()
  broken.add(2)
  const reaction = onTime(worker('park'))
  await using running = await runReactions(store, [reaction], { state })
  await ask(store, 'a', 1, 2, 3)
  await ask(store, 'b', 1)
  await running.caughtUp()
  await ask(store, 'a', 4)
  await ask(store, 'b', 2 + 5)
  await running.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([1])
  expect(await doneOn(store, 'b')).toEqual([1, 7])
  const control = reaction.in(state)
  expect((await control.parked()).map(({ event, failure }) => [event.revision, failure.name])).toEqual([
    [1, 'Error'],
    [2, 'WaitsBehind'],
    [4, 'WaitsBehind'],
  ])
  // Still broken: nothing goes past it.
  expect(await control.retryParked()).toBe(3)
  await until(async () => (await control.parked())[0]?.failure.attempts === 3, 'it fails again')
  expect(await doneOn(store, 'a')).toEqual([1])
  broken.delete(2)
  await control.retryParked()
  await until(async () => (await control.parked()).length === 0, 'all are handled')
  expect(await doneOn(store, 'a')).toEqual([1, 2, 3, 4])
  await ask(store, 'a', 5)
  await running.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([1, 2, 3, 4, 5])
})

test('the timers of a sequence wait while one of its events is parked', async () => {
  const { store, state } = openPlace()
  broken.add(2)
  const wall = new Wall()
  const reaction = onTime(worker('park'), { wall })
  await using running = await runReactions(store, [reaction], { state })
  await ask(store, 'a', 1, 2)
  await ask(store, 'b', 1)
  await running.caughtUp()
  wall.forward(120_000)
  await until(async () => (await doneOn(store, 'b')).length === 2, 'the timer of the other sequence fires')
  expect(await doneOn(store, 'a')).toEqual([1])
  broken.delete(2)
  await reaction.in(state).retryParked()
  await until(async () => (await doneOn(store, 'a')).length === 4, 'the timers fire')
  expect((await doneOn(store, 'a')).slice(0, 2)).toEqual([1, 2])
})

test('a parked event is given up, and those behind it are handled', async () => {
  const { store, state } = openPlace()
  broken.add(1)
  const reaction = onTime(worker('park'))
  await using running = await runReactions(store, [reaction], { state })
  await ask(store, 'a', 1, 2, 3)
  await running.caughtUp()
  const control = reaction.in(state)
  const [first] = await control.parked()
  expect(await control.discard(first!.event.id)).toBe(true)
  expect(await control.discard(first!.event.id)).toBe(false)
  await until(async () => (await doneOn(store, 'a')).length === 2, 'the others are handled')
  expect(await doneOn(store, 'a')).toEqual([2, 3])
  broken.delete(1)
})

test('the event that blocks is parked by a person, with its sequence', async () => {
  const { store, state } = openPlace()
  broken.add(1)
  const reaction = onTime(worker('block'))
  await using running = await runReactions(store, [reaction], { state })
  await ask(store, 'a', 1, 2)
  await ask(store, 'b', 3)
  await expect(running.caughtUp()).rejects.toThrow('blocked')
  const control = reaction.in(state)
  expect(await control.parkAndGoOn(store)).toBe(true)
  expect(await control.parkAndGoOn(store)).toBe(false)
  await running.caughtUp()
  expect(await doneOn(store, 'b')).toEqual([3])
  expect(await control.parked()).toHaveLength(2)
  broken.delete(1)
  await control.retryParked()
  await until(async () => (await doneOn(store, 'a')).length === 2, 'they are handled')
  expect(await doneOn(store, 'a')).toEqual([1, 2])
})

test('a later version handles a blocked event as it says, without the calls that took effect', async () => {
  const { store, state } = openPlace()
  broken.add(2)
  const both = (version: number, numbers: number[]): Reaction<never> =>
    onTime(
      defineReaction({
        name: 'both',
        version,
        from: [Job],
        commands: [work],
        startAt: 'start',
        retry,
        on: { 'Job.Asked': () => numbers.map((n) => work({ job: 'a', n })) },
      }),
    )
  await ask(store, 'a', 0)
  const first = await runReactions(store, [both(1, [1, 2])], { state })
  await expect(first.caughtUp()).rejects.toThrow('2 is broken')
  await first.stop()
  expect(await doneOn(store, 'a')).toEqual([1])
  const second = await runReactions(store, [both(2, [3, 1, 4])], { state })
  await both(2, []).in(state).unblock()
  await second.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([1, 3, 4])
  await second.stop()
  await expect(runReactions(store, [both(1, [])], { state })).rejects.toThrow(
    'reaction "both" was built by version 2, but this program defines version 1: run the newer program',
  )
  broken.delete(2)
})

test('a call that had its effect under an earlier version counts as done, also on another stream', async () => {
  const { store, state } = openPlace()
  await ask(store, 'a', 1)
  const asked = (await store.readPage('Job-a')).events[0]!
  // What an earlier version did before it was killed, without anything in the state database.
  await store.append([{ stream: Job('elsewhere'), events: [Job.events.Done({ n: 50 })] }], {
    key: `reaction/worker/${asked.id}/0`,
  })
  await using running = await runReactions(store, [onTime(worker('block'))], { state })
  await running.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([])
})

test('a name belongs to a projection, a reaction or a relay, and a list shows which', async () => {
  const { store, state } = openPlace()
  const reaction = worker('block')
  await (await runReactions(store, [reaction], { state })).stop()
  const relay = defineRelay({ name: 'worker', from: [Job], startAt: 'end', send: () => Promise.resolve() })
  await expect(runReactions(store, [relay], { state })).rejects.toThrow(
    "'worker' is the name of a reaction in this database; give the relay another name",
  )
  const projection = defineProjection({
    name: 'worker',
    into: state,
    from: [Job],
    on: { 'Job.Done': () => undefined },
  })
  await expect(runProjections(store, [projection])).rejects.toThrow("'worker' is the name of a reaction")
  expect(await projectionsIn(state)).toMatchObject([{ name: 'worker', kind: 'reaction', state: 'stopped' }])
})

test('a reaction begins where its definition says, and keeps that place', async () => {
  const { store, state } = openPlace()
  await ask(store, 'a', 1)
  const position = (await store.logHead())!
  await ask(store, 'a', 2)
  const { spec } = worker('block') as unknown as { readonly spec: ReactionSpec }
  const at = (name: string, startAt: string) => onTime(new DefinedReaction({ ...spec, name, startAt }))
  const beginning = async (reaction: Reaction<never>) => {
    await (await runReactions(store, [reaction], { state })).stop()
  }
  await beginning(at('end', 'end'))
  await ask(store, 'a', 3)
  await using running = await runReactions(store, [at('end', 'start')], { state })
  await running.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([3])
  await using another = await runReactions(store, [at('middle', position)], { state })
  await another.caughtUp()
  expect(await doneOn(store, 'a')).toEqual([3, 2, 3])
})
