import { setTimeout as delay } from 'node:timers/promises'
import { StoreBusyError } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { afterAll, describe, expect, test } from 'vitest'

import { poolerProblem, startPooler, type Pooler } from '../stores/postgres/pooler.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'
import { Fold, inPostgres, inSqlite, Projecting, type Watched } from './processes.ts'
import { Account, deposit, until } from './rig.ts'

const lease = 1_000
/** Milliseconds after the lease. */
const patience = 1_000

let pooler: Promise<Pooler> | undefined
afterAll(async () => (await pooler)?.destroy())

const inPostgresPlaces = [
  { name: 'in PostgreSQL', problem: serverProblem, open: () => inPostgres() },
  {
    name: 'in PostgreSQL behind PgBouncer',
    problem: serverProblem ?? poolerProblem,
    open: async () => {
      const server = await testServer()
      const { pathname } = new URL(await server.createDatabase())
      return inPostgres((await (pooler ??= startPooler(server))).url(pathname.slice(1)))
    },
  },
]

describe.each(inPostgresPlaces)('a worker that is halted $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('in the middle of a batch: another takes over within the lease and a second, and nothing counts twice', async () => {
      const place = await open()
      const [halted, other, slack] = await twoAtWork(place)
      halted.say('pause')
      await deposit(place.store, 20)
      await halted.said('paused')
      const since = performance.now()
      await deposit(place.store, 5)
      const head = await place.store.logHead()
      await until(async () => (await place.kept())?.position === head, 'another has taken over')
      expect(performance.now() - since).toBeLessThan(lease + patience + slack)
      const before = await agreed(place)

      halted.child.kill('SIGCONT')
      await delay(lease)
      expect(await agreed(place)).toEqual(before)
      await stillAtWork(place, [halted, other])
      const [failures] = await stopped(halted, other)
      // It was told why it lost what it had in hand.
      expect(Object.keys(failures!)).toEqual([expect.stringMatching(/^STORE_UNAVAILABLE /)])
    })

    test('before it has begun to write: another takes over, and it stands by afterwards', async () => {
      const place = await open()
      const [halted, other, slack] = await twoAtWork(place)
      halted.child.kill('SIGSTOP')
      await goesOnWithout(place, halted, slack)
      await stillAtWork(place, [halted, other])
      await stopped(halted, other)
    })
  })
})

describe.each(['events.db', 'model.db'])('a worker that is halted in SQLite, with %s', (file) => {
  test('in the middle of a transaction: others are told that it is busy, and nothing counts twice', async () => {
    const place = await inSqlite(file)
    const [halted, other] = await twoAtWork(place, { busyTimeout: 300 })
    halted.say('pause')
    await deposit(place.store, 3)
    await halted.said('paused')

    const impatient = await sqliteStore(place.locations.target, { synchronous: 'normal', busyTimeout: 200 })
    const since = performance.now()
    await expect(
      impatient.append({ stream: Account('a'), events: [Account.events.Deposited({ amount: 0 })] }),
    ).rejects.toBeInstanceOf(StoreBusyError)
    expect(performance.now() - since).toBeLessThan(2_000)
    await impatient.close()
    // Who stands by waits, too, and says so.
    await until(
      () => other.lines.some((line) => line.startsWith('failed STORE_BUSY')),
      'the other one is told',
    )

    halted.child.kill('SIGCONT')
    await stillAtWork(place, [halted, other])
    await stopped(halted, other)
  })

  test('between two transactions: another takes over, and nothing counts twice', async () => {
    const place = await inSqlite(file)
    const [halted, other, slack] = await twoAtWork(place)
    halted.child.kill('SIGSTOP')
    await goesOnWithout(place, halted, slack)
    await stillAtWork(place, [halted, other])
    const failures = await stopped(halted, other)
    expect(failures).toEqual([{}, {}])
  })
})

/** The first of them works, the second stands by; and what this machine takes for a little work just now, thrice. */
async function twoAtWork(place: Watched, how: { busyTimeout?: number } = {}) {
  const first = new Projecting(place.locations, { lease, isReady: true, ...how })
  await first.said('running')
  await deposit(place.store, 100)
  await caughtUp(place)
  const second = new Projecting(place.locations, { lease, isReady: true, ...how })
  await second.said('running')
  const since = performance.now()
  await deposit(place.store, 20)
  await caughtUp(place)
  return [first, second, 3 * (performance.now() - since)] as const
}

/** While one is halted, another takes over; going on, it changes nothing of that. */
async function goesOnWithout(place: Watched, halted: Projecting, slack: number) {
  const since = performance.now()
  await deposit(place.store, 20)
  await caughtUp(place)
  expect(performance.now() - since).toBeLessThan(lease + patience + slack)
  const before = await agreed(place)
  halted.child.kill('SIGCONT')
  await delay(lease)
  expect(await agreed(place)).toEqual(before)
}

async function caughtUp(place: Watched) {
  const head = await place.store.logHead()
  await until(async () => (await place.kept())?.position === head, 'all is handled')
}

/** What is kept, which is what a fold gives. */
async function agreed(place: Watched) {
  const kept = await place.kept()
  const fold = new Fold(place.store)
  expect(kept?.totals).toEqual(await fold.upTo(kept?.position))
  expect(kept?.applied).toBe(fold.events)
  return kept?.totals
}

/** New events are handled, and once only. */
async function stillAtWork(place: Watched, workers: readonly Projecting[]) {
  await deposit(place.store, 10)
  await caughtUp(place)
  await agreed(place)
  expect(workers.map(({ child }) => child.exitCode)).toEqual([null, null])
}

/** What went wrong for each. */
async function stopped(...workers: readonly Projecting[]) {
  for (const worker of workers) worker.say('stop')
  const results = await Promise.all(workers.map((worker) => worker.result<{ failures: object }>()))
  return results.map(({ failures }) => failures)
}
