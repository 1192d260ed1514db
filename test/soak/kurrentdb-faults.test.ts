import { createStore, type Recorded } from 'mneme'
import { expect, test } from 'vitest'

import { startProxy } from '../support/proxy.ts'
import { isBrief, rounds } from '../support/soak.ts'
import { adapterOf, realServer } from '../stores/kurrentdb/server.ts'
import { sleep, uncaught, unique, until, where } from '../stores/kurrentdb/rig.ts'
import type { Refusal } from '../stores/kurrentdb/stand-in/faults.ts'
import { standIn, type StandIn } from '../stores/kurrentdb/stand-in/server.ts'
import { Callers } from './kurrentdb/callers.ts'

const DEADLINE = 1_000
/** An append may wait for one on the same stream, which has its wait and as long again, and then has both itself. */
const LONGEST_CALL_MS = 4 * DEADLINE + 3_000

test(`faults under 64 callers, ${where}: what was acknowledged is there, and nothing hangs`, async () => {
  const missed = uncaught()
  const own = realServer === undefined ? await standIn() : undefined
  const server = realServer ?? own!.connectionString
  const proxy = await startProxy(Number(new URL(server).port))
  const before = handles()
  const direct = createStore(await adapterOf(server))
  const floor = await direct.logHead()
  const store = createStore(await adapterOf(proxy.url(server), DEADLINE))
  const prefix = unique()
  const callers = new Callers(store, { count: 64, prefix, pause: 5 })

  const network: Readonly<Record<string, () => unknown>> = {
    cut: () => proxy.cut(),
    reset: () => proxy.reset(),
    'cut before it arrives': async () => {
      proxy.hold()
      await sleep(Math.random() * 60)
      proxy.cut()
    },
    'cut before the answer': async () => {
      proxy.mute()
      await sleep(Math.random() * 60)
      proxy.cut()
    },
    'a late delivery': async () => {
      const links = proxy.hold()
      await sleep(Math.random() * 200)
      for (const { client } of links) client.destroy()
      await proxy.letGo(links)
    },
    'delayed answers': async () => {
      proxy.latency = Math.random() * 300
      await sleep(100)
      proxy.latency = 0
    },
    'a black hole': async () => {
      proxy.hold()
      proxy.mute()
      await sleep(Math.random() * 300)
    },
    'no answer to new connections': async () => {
      const on = proxy.suspend()
      await sleep(Math.random() * 300)
      on()
    },
  }
  const kinds = own ? { ...network, ...serverFaults(own) } : network
  const counts: Record<string, number> = {}
  const began = performance.now()
  let faults = 0
  for (const i of rounds({ full: 600, brief: 120 })) {
    faults++
    const names = Object.keys(kinds)
    const name = names[Math.floor(Math.random() * names.length)]!
    counts[name] = (counts[name] ?? 0) + 1
    await kinds[name]!()
    await sleep(20 + Math.random() * 40)
    if (i % 10 === 9) {
      const had = callers.acknowledged
      await until(() => callers.acknowledged > had + 20, 'work goes on', 30_000)
    }
  }
  const seconds = Math.round((performance.now() - began) / 1000)
  own?.faults.clear()
  await callers.stop()
  await store.close()
  // What was still on its way has come.
  await sleep(DEADLINE)
  const log: Recorded[] = []
  for await (const event of direct.readAll({ after: floor }))
    if (event.stream.startsWith(prefix)) log.push(event)
  await sleep(500)
  expect(await lengthOf(direct.readAll({ after: log.at(-1)?.position }), prefix)).toBe(0)
  await direct.close()
  console.log(
    `faults ${where}: ${String(callers.acknowledged)} acknowledged (${String(callers.repeated)} repeats), ${String(callers.unknown)} ` +
      `unknown answers, ${String(callers.unheard(log))} there unheard, ${String(log.length)} events, ${String(faults)} faults in ` +
      `${String(seconds)} s, longest call ${String(Math.round(callers.longest))} ms`,
    Object.fromEntries(callers.codes),
    counts,
  )
  expect(callers.check(log).slice(0, 20)).toEqual([])
  const errors = ['CONFLICT', 'OUTCOME_UNKNOWN', 'STORE_UNAVAILABLE', 'STORE_TIMEOUT']
  const others = [...callers.codes.keys()].filter((code) => !errors.includes(code.replace(/^head: /, '')))
  expect(others).toEqual([])
  // A time: only the full form, on a machine that does nothing else, is sure of it.
  if (!isBrief) expect(callers.longest).toBeLessThan(LONGEST_CALL_MS)
  expect(missed).toEqual([])
  proxy.cut()
  await own?.stop()
  await until(
    () => handles() <= before,
    `no handle is left: ${process.getActiveResourcesInfo().join()}`,
    15_000,
  )
})

/** What only the server itself can do. */
function serverFaults(server: StandIn): Record<string, () => unknown> {
  const refusals: readonly Refusal['kind'][] = ['not-ready', 'too-busy', 'no-leader']
  const any = <T>(of: readonly T[]) => of[Math.floor(Math.random() * of.length)]!
  const refusal = () => ({ kind: any(refusals) }) as Refusal
  return {
    'a write refused': () => server.faults.nextWrite(refusal(), 1 + Math.floor(Math.random() * 3)),
    'a read refused': () => server.faults.nextRead(refusal(), 1 + Math.floor(Math.random() * 3)),
    'a write without an answer': () =>
      server.faults.nextWrite({ kind: any(['timeout', 'cut', 'silence']), isCommitted: Math.random() < 0.5 }),
    'a read that breaks off': () =>
      server.faults.nextRead({ kind: any(['cut', 'silence']), after: Math.random() < 0.5 ? 0 : 1 }),
    'a slow write': () =>
      server.faults.nextWrite({ kind: 'wait', [any(['before', 'after'])]: sleep(Math.random() * 1_500) }),
    'a restart': async () => {
      await server.stop()
      await sleep(Math.random() * 200)
      await server.start()
    },
  }
}

function handles(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP')).length
}

async function lengthOf(events: AsyncIterable<Recorded>, prefix: string): Promise<number> {
  let count = 0
  for await (const { stream } of events) if (stream.startsWith(prefix)) count++
  return count
}
