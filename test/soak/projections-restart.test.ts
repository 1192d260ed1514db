import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'

import { Depositing, Fold, inPostgres, Projecting, type Watched } from '../projections/processes.ts'
import { until } from '../projections/rig.ts'
import { startProxy } from '../support/proxy.ts'
import { isBrief, rounds, soakServer, test } from './postgres/soak.ts'

const server = soakServer()
const seconds = isBrief ? 5 : 30
const lease = 2_000

test("each event counts once, and work goes on by itself, through restarts of the target's server under load", async () => {
  const place = await inPostgres(await server().createDatabase(), { ofFile: true })
  const { check, writer, workers } = await begin(place, place.locations)
  const waits: number[] = []
  for (const round of rounds({ full: 10, brief: 2 })) {
    await delay(500 + Math.random() * 1_500)
    await check()
    await server().restart(round % 2 === 0 ? 'immediate' : 'fast')
    const since = performance.now()
    const head = await place.store.logHead()
    await until(async () => ((await positionOf(place)) ?? '') >= head!, 'work goes on', 30_000)
    waits.push(Math.round(performance.now() - since))
  }
  const failures = await finish(place, { check, writer, workers })
  console.log(`${waits.length} restarts, after which it took ${waits.join(', ')} ms to catch up`, failures)
})

test(`each event counts once while connections to the target are cut every 200 ms for ${seconds} s`, async () => {
  const place = await inPostgres(await server().createDatabase(), { ofFile: true })
  const proxy = await startProxy(server().port)
  const locations = { ...place.locations, target: proxy.url(place.locations.target) }
  const { check, writer, workers } = await begin(place, locations)
  const before = (await check()).applied
  let cuts = 0
  for (const end = performance.now() + seconds * 1_000; performance.now() < end; cuts++) {
    await delay(200)
    if (cuts % 2 === 0) proxy.cut()
    else proxy.reset()
    if (cuts % 10 === 0) await check()
  }
  const meanwhile = (await check()).applied - before
  const failures = await finish(place, { check, writer, workers })
  console.log(`${cuts} cuts, ${meanwhile} events handled meanwhile`, failures)
})

/** Two processes at work, one that deposits, and what compares the read model with the log. */
async function begin(place: Watched, locations: Watched['locations']) {
  const workers = [1, 2].map(() => new Projecting(locations, { lease, isReady: true }))
  await Promise.all(workers.map((worker) => worker.said('running')))
  const writer = new Depositing(locations, { pause: 20, burst: 100 })
  await writer.said('appending')
  const fold = new Fold(place.store)
  const check = async () => {
    const kept = (await place.kept())!
    expect(kept.totals).toEqual(await fold.upTo(kept.position))
    expect(kept.applied).toBe(fold.events)
    expect(kept.state).not.toBe('blocked')
    return kept
  }
  return { check, writer, workers }
}

type Begun = Awaited<ReturnType<typeof begin>>

/** Expects that all events were handled, and that only connections failed; returns how often they did. */
async function finish(place: Watched, { check, writer, workers }: Begun): Promise<number> {
  const deposited = await writer.stopped()
  const head = await place.store.logHead()
  await until(async () => (await positionOf(place)) === head, 'all is handled', 120_000)
  expect((await check()).applied).toBe(deposited)
  for (const worker of workers) worker.say('stop')
  const results = await Promise.all(
    workers.map((worker) => worker.result<{ failures: Record<string, number> }>()),
  )
  const failures = results.flatMap((result) => Object.entries(result.failures))
  expect(failures.filter(([failure]) => !failure.startsWith('STORE_UNAVAILABLE '))).toEqual([])
  return failures.reduce((sum, [, count]) => sum + count, 0)
}

/** The position of the checkpoint; `undefined` while the server cannot be reached. */
async function positionOf(place: Watched) {
  const kept = await place.kept().catch(() => undefined)
  return kept?.position
}
