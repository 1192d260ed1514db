import type { EventStore, Subscription } from 'mneme'
import pg from 'pg'

import { latencyFigures } from './latency.ts'
import { compare, median, seconds, type Figure } from './measure.ts'
import { isPostgres, places, storeAt, type Place } from './place.ts'
import { appendAlone, callers } from './work.ts'

const SUBSCRIBERS = 10
const CALLERS = 64
/** Many short ones even out what else the machine does. */
const RUNS = 20
const IDLE = 100

/** Live delivery: how soon, and at what cost to those that append and to a program that waits. */
export async function* subscriptionFigures(): AsyncGenerator<Figure> {
  for await (const place of places()) {
    yield* latencyFigures(place, 'subscription')
    yield* idleFigures(place)
    yield* appendFigures(place)
  }
}

/** Appending while ten subscribers of the same process are given each event. */
async function* appendFigures({ name, location }: Place): AsyncGenerator<Figure> {
  const store = await storeAt(location)
  const lone = isPostgres(location) ? 1_000 : 4_000
  const many = isPostgres(location) ? 6_400 : 16_000
  let run = 0
  const alone = () => appendAlone(store, `Alone-${String(run++)}`, lone)
  const together = () => {
    const stream = `Together-${String(run++)}`
    return callers(CALLERS, (i) => appendAlone(store, `${stream}-${String(i)}`, many / CALLERS))
  }
  const each = `${String(CALLERS)} callers of append, on streams of their own`
  for (const [who, subscribers, count, append, take] of [
    ['append alone', 'ten live subscribers', lone, alone, takeEvents],
    [each, 'ten live subscribers', many, together, takeEvents],
    [each, 'ten live subscribers that take pages', many, together, takePages],
  ] as const) {
    yield await compare({
      name: `${name}: ${who}, with ${subscribers}`,
      to: 'the same without',
      goal: 0.95,
      operations: [count, count],
      runs: RUNS,
      ours: () => followed(store, count, append, take),
      theirs: () => seconds(append),
    })
  }
  await store.close()
}

/** Takes so many events of a subscription, one by one or in pages. */
type Take = (events: Subscription, count: number) => Promise<void>

async function takeEvents(events: Subscription, count: number): Promise<void> {
  let left = count
  for await (const { revision } of events) if (revision >= 0 && --left === 0) break
}

async function takePages(events: Subscription, count: number): Promise<void> {
  let left = count
  for await (const page of events.pages()) {
    for (const { revision } of page) if (revision >= 0) left--
    if (left === 0) break
  }
}

/** The seconds of some appends while subscribers follow, who must be given all that is appended. */
async function followed(
  store: EventStore,
  count: number,
  append: () => Promise<void>,
  take: Take,
): Promise<number> {
  const subscribers = tenSubscribers(store)
  const all = subscribers.map((events) => take(events, count))
  await Promise.all(subscribers.map((events) => events.caughtUp()))
  const taken = await seconds(append)
  await Promise.all(all)
  return taken
}

function tenSubscribers(store: EventStore): Subscription[] {
  return Array.from({ length: SUBSCRIBERS }, () => store.subscribe({ from: 'end' }))
}

/** What a hundred subscribers cost to whom nothing is appended. */
async function* idleFigures({ name, location }: Place): AsyncGenerator<Figure> {
  const store = await storeAt(location)
  const subscribers = Array.from({ length: IDLE }, () => store.subscribe({ from: 'end' }))
  const over = subscribers.map((events) => events.next())
  await Promise.all(subscribers.map((events) => events.caughtUp()))
  // When a program has been at rest for eight seconds, V8 cleans up after what came before, in two seconds.
  await new Promise((resolve) => setTimeout(resolve, 12_000))
  const percents: number[] = []
  for (let i = 0; i < 5; i++) {
    const [start, began] = [process.cpuUsage(), performance.now()]
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const { user, system } = process.cpuUsage(start)
    percents.push((user + system) / 10 / (performance.now() - began))
  }
  const percent = median(percents)
  const connections = isPostgres(location) ? await connectionsTo(location) : undefined
  await Promise.all(subscribers.map((events) => events[Symbol.asyncDispose]()))
  await Promise.all(over)
  await store.close()
  yield {
    name: `${name}: ${String(IDLE)} idle subscribers`,
    value: `${percent.toFixed(2)} % of a core`,
    goal: '< 1 %',
    reached: percent < 1,
  }
  if (connections === undefined) return
  yield {
    name: `${name}: connections of ${String(IDLE)} idle subscribers`,
    value: String(connections),
    // One listens, one looks now and then.
    goal: '<= 2',
    reached: connections <= 2,
  }
}

/** How many connections there are to a database, but for the one that asks. */
async function connectionsTo(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ count: string }>(
    `SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  )
  await client.end()
  return Number(rows[0]!.count)
}
