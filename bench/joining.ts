import type { EventStore } from 'mneme'

import { Account, NOTE } from './account.ts'
import { clock } from './following.ts'
import { percentile, type Figure } from './measure.ts'

/** How late a live subscriber's events are, under a hundred a second, alone and while a hundred others join. */
export async function* joiningFigures(
  name: string,
  store: EventStore,
  writer: EventStore,
): AsyncGenerator<Figure> {
  const account = crypto.randomUUID()
  const arrived = new Map<string, number>()
  const events = store.subscribe({ streams: [Account(account).stream], from: 'end' })
  const over = (async () => {
    for await (const { id } of events) arrived.set(id, clock())
  })()
  await events.caughtUp()
  await trickle(writer, account, EVENTS, arrived)
  const alone = await trickle(writer, account, EVENTS, arrived)
  const others = joinOneByOne(store)
  const beside = await trickle(writer, account, EVENTS, arrived)
  await events[Symbol.asyncDispose]()
  await Promise.all([over, ...(await others).map((other) => other())])
  const [p50, p99, most] = [50, 99, 100].map((percent) => percentile(beside, percent).toFixed(1))
  yield {
    name: `${name}: an event is with a live subscriber after its append has returned, while ${String(JOINING)} others join in 5 s`,
    value:
      `p50 ${p50!} ms, p99 ${p99!} ms, ${most!} ms at the most  ` +
      `(alone: p50 ${percentile(alone, 50).toFixed(1)} ms, p99 ${percentile(alone, 99).toFixed(1)} ms)`,
    goal: 'p99 < 15 ms',
    reached: percentile(beside, 99) < 15,
  }
}

/** Subscribers, each to a stream of its own. @returns functions that end them */
async function joinOneByOne(store: EventStore): Promise<(() => Promise<void>)[]> {
  const ends: (() => Promise<void>)[] = []
  for (let i = 0; i < JOINING; i++) {
    const events = store.subscribe({ streams: [Account(crypto.randomUUID()).stream], from: 'end' })
    const over = (async () => {
      for await (const { revision } of events) if (revision < 0) return
    })()
    ends.push(async () => {
      await events[Symbol.asyncDispose]()
      await over
    })
    await new Promise((resolve) => setTimeout(resolve, JOIN_EVERY))
  }
  return ends
}

/** Appends one event after the other; @returns how late each was, in milliseconds. */
async function trickle(
  store: EventStore,
  account: string,
  count: number,
  arrived: ReadonlyMap<string, number>,
): Promise<number[]> {
  const returned: [string, number][] = []
  const begin = clock()
  for (let i = 0; i < count; i++) {
    const wait = begin + i * EVERY - clock()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const deposited = Account.events.Deposited({ amount: 1, note: NOTE })
    const { events } = await store.append({ stream: Account(account), events: [deposited] })
    returned.push([events[0]!.id, clock()])
  }
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  return returned.map(([id, at]) => Math.max(0, (arrived.get(id) ?? Infinity) - at))
}

const EVENTS = 500
/** Milliseconds. */
const EVERY = 10
const JOINING = 100
const JOIN_EVERY = 50
