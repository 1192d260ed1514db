import { StoreBusyError } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { afterAll, describe, expect, test } from 'vitest'

import { poolerProblem, startPooler, type Pooler } from '../stores/postgres/pooler.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import {
  Fold,
  HALT_AFTER_BATCH,
  HALT_IN_BATCH,
  inPostgres,
  inSqlite,
  Projecting,
  type Watched,
} from './processes.ts'
import { Account, deposit, until } from './rig.ts'

const lease = 1_000

let pooler: Promise<Pooler> | undefined
afterAll(async () => (await pooler)?.destroy())

const inPostgresPlaces = [
  { name: 'PostgreSQL', problem: serverProblem, open: () => inPostgres() },
  {
    name: 'PostgreSQL behind PgBouncer',
    problem: serverProblem ?? poolerProblem,
    open: async () => {
      const server = await testServer()
      const { pathname } = new URL(await server.createDatabase())
      return inPostgres((await (pooler ??= startPooler(server))).url(pathname.slice(1)))
    },
  },
]

describe.each(inPostgresPlaces)('a halted process, on $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('another process takes over from one that is halted between batches or in one, and each event counts once', async () => {
      const place = await open()
      const workers = await twoAtWork(place)
      await goesOnWithout(place, await haltAfterBatch(place, workers))
      await stillAtWork(place, workers)

      const halted = await haltInBatch(place, workers)
      await goesOnWithout(place, halted)
      // It is told why its transaction was lost.
      await until(() => failuresOf(halted).length > 0, 'it reports the lost transaction')
      await stillAtWork(place, workers)
      await stopped(workers)
      expect(new Set(failuresOf(halted))).toEqual(new Set([expect.stringMatching(/^STORE_UNAVAILABLE /)]))
      await agreed(place)
    })
  })
})

describe.each(['events.db', 'model.db'])('a halted process, on SQLite, with %s', (file) => {
  test('another process takes over from one that is halted between transactions, and is told STORE_BUSY if it is halted in one', async () => {
    const place = await inSqlite(file)
    const workers = await twoAtWork(place, { busyTimeout: 300 })
    await goesOnWithout(place, await haltAfterBatch(place, workers))
    await stillAtWork(place, workers)
    expect(workers.map(failuresOf)).toEqual([[], []])

    const halted = await haltInBatch(place, workers)
    const impatient = await sqliteStore(place.locations.target, { synchronous: 'normal', busyTimeout: 200 })
    await expect(
      impatient.append({ stream: Account('a'), events: [Account.events.Deposited({ amount: 0 })] }),
    ).rejects.toBeInstanceOf(StoreBusyError)
    await impatient.close()
    const [standby] = workers.filter((worker) => worker !== halted)
    await until(
      () => failuresOf(standby!).some((failure) => failure.startsWith('STORE_BUSY')),
      'the one that stands by is told that the database is busy',
    )
    halted.child.kill('SIGCONT')
    await stillAtWork(place, workers)
    await stopped(workers)
    await agreed(place)
  })
})

/** Two processes: one of them works, the other stands by. */
async function twoAtWork(place: Watched, how: { busyTimeout?: number } = {}): Promise<Projecting[]> {
  const halts = testFolder()
  const workers = [1, 2].map(() => new Projecting(place.locations, { lease, halts, isReady: true, ...how }))
  await Promise.all(workers.map((worker) => worker.said('running')))
  await deposit(place.store, 100)
  await caughtUp(place)
  return workers
}

/** The process that works halts itself after a batch, with its lease and without a transaction. */
async function haltAfterBatch(place: Watched, workers: readonly Projecting[]): Promise<Projecting> {
  await deposit(place.store, 1, HALT_AFTER_BATCH)
  return Promise.any(workers.map((worker) => worker.said('halted after-batch').then(() => worker)))
}

/** The process that works halts itself in a batch, with its lease and an open transaction. */
async function haltInBatch(place: Watched, workers: readonly Projecting[]): Promise<Projecting> {
  await deposit(place.store, 1, HALT_IN_BATCH)
  return Promise.any(workers.map((worker) => worker.said('halted in-batch').then(() => worker)))
}

/** While one process is halted, another takes over; continued, it changes nothing of what the other wrote. */
async function goesOnWithout(place: Watched, halted: Projecting): Promise<void> {
  await deposit(place.store, 20)
  await caughtUp(place)
  const totals = await agreed(place)
  const answers = () => halted.lines.filter((line) => line === 'pong').length
  const before = answers()
  halted.child.kill('SIGCONT')
  halted.say('ping')
  await until(() => answers() > before, 'it goes on')
  expect(await agreed(place)).toEqual(totals)
}

async function caughtUp(place: Watched): Promise<void> {
  const head = await place.store.logHead()
  await until(async () => (await place.kept())?.position === head, 'all events are handled')
}

/** The read model, which is what a fold of the log gives. */
async function agreed(place: Watched) {
  const kept = await place.kept()
  const fold = new Fold(place.store)
  expect(kept?.totals).toEqual(await fold.upTo(kept?.position))
  expect(kept?.applied).toBe(fold.events)
  return kept?.totals
}

/** New events are handled, each once, and both processes run. */
async function stillAtWork(place: Watched, workers: readonly Projecting[]): Promise<void> {
  await deposit(place.store, 10)
  await caughtUp(place)
  await agreed(place)
  expect(workers.map(({ child }) => child.exitCode)).toEqual([null, null])
}

/** The code and message of each failure that a process has reported. */
function failuresOf(worker: Projecting): string[] {
  return worker.lines.filter((line) => line.startsWith('failed ')).map((line) => line.slice('failed '.length))
}

async function stopped(workers: readonly Projecting[]): Promise<void> {
  for (const worker of workers) worker.say('stop')
  await Promise.all(workers.map((worker) => worker.result()))
}
