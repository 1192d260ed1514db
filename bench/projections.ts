import { join } from 'node:path'

import type { EventStore } from 'mneme'
import { runProjections } from 'mneme/projections'

import {
  accountOf,
  balancesAt,
  balancesByPagesAt,
  countingAt,
  type Key,
  type Opened,
  rowOf,
} from './balances.ts'
import { latencyFigures } from './latency.ts'
import { compare, median, seconds, type Figure } from './measure.ts'
import { isPostgres, places, storeAt, type Place } from './place.ts'
import { RawPostgres } from './raw-postgres.ts'
import { RawSqlite } from './raw-sqlite.ts'
import { fill } from './work.ts'

const RUNS = 15

/** Projections: how fast they catch up, and how soon they are live. */
export async function* projectionFigures(): AsyncGenerator<Figure> {
  for await (const place of places()) {
    const { location } = place
    const store = await storeAt(location)
    const events = isPostgres(location) ? 10_000 : 50_000
    for (let i = 0; i < 10; i++) await fill(store, `log-${String(i)}`, events / 10)
    yield await catchUp(place, store, events)
    if (!isPostgres(location)) yield await counting(location, store, events)
    yield await byPages(place, store, { events, key: rowOf, what: 'of a row for each event' })
    yield await byPages(place, store, { events, key: accountOf, what: 'of the balances of 1,000 accounts' })
    await store.close()
    yield* latencyFigures(place, 'projection')
  }
}

/** Every event an upsert, a thousand in a transaction, with the checkpoint. */
async function catchUp({ name, location }: Place, store: EventStore, events: number): Promise<Figure> {
  const raw = await rawOf(location, events)
  let run = 0
  const figure = await compare({
    name: `${name}: a projection of balances catches up`,
    to: 'a raw loop over as many rows, that does the same writes in the same batches',
    goal: 0.8,
    operations: [events, events],
    runs: RUNS,
    ours: () =>
      runOnce(
        store,
        balancesAt(location, `balances-${String(run++)}`, () => undefined),
      ),
    theirs: () => seconds(() => raw.project()),
  })
  await raw.close()
  return figure
}

/** A page at once, to event by event. */
async function byPages(
  { name, location }: Place,
  store: EventStore,
  { events, key, what }: { readonly events: number; readonly key: Key; readonly what: string },
): Promise<Figure> {
  let run = 0
  const next = (how: string) => `${how}-${key.name}-${String(run++)}`
  return compare({
    name: `${name}: a projection ${what} catches up a page at a time`,
    to: 'the same, event by event',
    ...(isPostgres(location) && { goal: 10 }),
    operations: [events, events],
    ours: () => runOnce(store, balancesByPagesAt(location, next('pages'), key)),
    theirs: () =>
      runOnce(
        store,
        balancesAt(location, next('events'), () => undefined, key),
      ),
  })
}

/** A projection's own share: its handler does nothing. */
async function counting(file: string, store: EventStore, events: number): Promise<Figure> {
  const speeds: number[] = []
  for (let run = 0; run <= RUNS; run++) {
    let count = 0
    const taken = await runOnce(
      store,
      countingAt(file, `counting-${String(run)}`, () => count++),
    )
    if (run > 0) speeds.push(count / taken)
  }
  const speed = median(speeds)
  return {
    name: 'SQLite: a projection that only counts catches up',
    value: `${Math.round(speed).toLocaleString('en')}/s  (of ${events.toLocaleString('en')} events)`,
    goal: '>= 600,000/s',
    reached: speed >= 600_000,
  }
}

/** The seconds in which a projection that is new catches up; its target is connected to before. */
async function runOnce(store: EventStore, { projection, close }: Opened): Promise<number> {
  await projection.status(store)
  const begin = performance.now()
  const running = await runProjections(store, [projection])
  await running.caughtUp({ timeout: 60_000 })
  const end = performance.now()
  await running.stop()
  await close()
  return (end - begin) / 1_000
}

/** Tables of the raw side, beside the store: as many rows, of as many streams. */
async function rawOf(location: string, events: number): Promise<Raw> {
  if (isPostgres(location)) {
    await RawPostgres.create(location)
    const raw = await RawPostgres.open(location, 1)
    for (let i = 0; i < 10; i++) await raw.insertArrays(1, events / 10)
    return raw
  }
  const raw = new RawSqlite(join(location, '..', 'raw.db'))
  for (let i = 0; i < 10; i++) raw.fill(events / 10)
  return raw
}

interface Raw {
  project(): unknown
  close(): unknown
}
