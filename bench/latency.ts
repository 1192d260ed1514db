import { fork } from 'node:child_process'
import { once } from 'node:events'

import type { EventStore } from 'mneme'

import { Account, NOTE } from './account.ts'
import { clock, follow, type Following, type Kind } from './following.ts'
import { percentile, type Figure } from './measure.ts'
import { storeAt, type Place } from './place.ts'

/** How long after an append has returned its event is there, under a trickle of a hundred a second. */
export async function* latencyFigures({ name, location }: Place, kind: Kind): AsyncGenerator<Figure> {
  const store = await storeAt(location)
  for (const [where, start] of [
    ['in the same process', follow],
    ['in another process', followElsewhere],
  ] as const) {
    const following = await start(store, location, kind)
    const returned = await trickle(store)
    const { arrived } = following
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    await following.stop()
    const late = [...returned].map(([id, at]) => Math.max(0, (arrived.get(id) ?? Infinity) - at))
    const [p50, p99, most] = [50, 99, 100].map((percent) => percentile(late, percent)) as [
      number,
      number,
      number,
    ]
    yield {
      name: `${name}: an event is ${kind === 'projection' ? "in a projection's handler" : 'with a subscriber'} ${where} after append has returned`,
      value: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms  (${most.toFixed(1)} ms at the most, of ${String(late.length)})`,
      goal: 'p50 < 3 ms, p99 < 15 ms',
      reached: p50 < 3 && p99 < 15,
    }
  }
  await store.close()
}

async function followElsewhere(_: EventStore, location: string, kind: Kind): Promise<Following> {
  const process = fork(new URL('follower.js', import.meta.url), [location, kind])
  await once(process, 'message')
  const arrived = new Map<string, number>()
  const stop = async () => {
    const exit = once(process, 'exit')
    const answer = once(process, 'message')
    process.send('stop')
    const [arrivals] = (await answer) as [[string, number][]]
    for (const [id, at] of arrivals) arrived.set(id, at)
    await exit
  }
  return { arrived, stop }
}

/** Appends one event after the other, and notes when each append returned, by the event's id. */
async function trickle(store: EventStore): Promise<Map<string, number>> {
  const returned = new Map<string, number>()
  const begin = clock()
  for (let i = 0; i < EVENTS; i++) {
    const wait = begin + i * EVERY - clock()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const deposited = Account.events.Deposited({ amount: 1, note: NOTE })
    const { events } = await store.append({ stream: Account('trickle'), events: [deposited] })
    returned.set(events[0]!.id, clock())
  }
  return returned
}

const EVENTS = 1_000
/** Milliseconds. */
const EVERY = 10
