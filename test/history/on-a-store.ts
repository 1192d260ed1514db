import { expect } from 'vitest'
import type { EventStore } from 'mneme'
import { checkHistory, checkShapes, recordShapes } from 'mneme/history'
import { counted, Person, record, registered, Tally } from './program.ts'

/** Checks a small history with findings on an empty store: whole, in two parts, and with few states held. */
export async function checkOnStore(store: EventStore, isLogScavenged = false): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const id of ['a', 'b', 'c']) await record(store, `Person-${id}`, counted(), registered('Byron'))
    await record(store, 'Invoice-1', { type: 'Invoice.Sent', data: {} })
  }
  await record(store, 'Person-b', { type: 'Person.Moved', data: { to: 'throw' } }, counted())
  await record(store, 'Person-d', { type: 'Person.Gone', data: {} })
  const whole = await checkHistory(store, [Person, Tally])
  expect(whole).toMatchObject({
    finished: true,
    position: await store.logHead(),
    events: 21,
    findings: [
      { kind: 'fold-failed', first: { stream: 'Person-b', revision: 6 } },
      { kind: 'unknown-type', first: { stream: 'Person-d', revision: 0 } },
    ],
    unfolded: 1,
    others: { events: 3 },
  })

  const few = await checkHistory(store, [Person, Tally], { maxStates: 1 })
  expect(few).toEqual({ ...whole, reread: few.reread })
  const { next } = await store.readAllPage({ limit: 10 })
  const begun = await checkHistory(store, [Person, Tally], { to: next })
  const rest = await checkHistory(store, [Person, Tally], { after: begun.position })
  expect([begun.findings, rest.findings, begun.events + rest.events]).toEqual([[], whole.findings, 21])

  await store.truncate('Person-a', { before: 2 })
  const truncated = await checkHistory(store, [Person, Tally])
  expect(truncated.findings).toEqual(whole.findings)
  // KurrentDB removes truncated events from its log when it is scavenged.
  if (!isLogScavenged) expect(truncated).toMatchObject({ events: 19, truncated: { streams: 1 }, unfolded: 5 })
  expect(await checkHistory(store, [Person, Tally], { maxStates: 1 })).toMatchObject({
    events: truncated.events,
    findings: whole.findings,
  })

  const shapes = await recordShapes(store, [Person])
  expect(checkShapes(shapes, [Person])).toMatchObject([{ kind: 'unknown-type', type: 'Person.Gone' }])
}
