import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import type { ProjectionTarget, TargetQuery } from '../../src/adapter/projection-target.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { faultyTarget } from './faulty-target.ts'
import { balances, deposit, folded, gate, places, sql, until } from './rig.ts'

/** Longer than any test takes: only a test's own SQL makes it expire. */
const lease = 600_000
/** How often a worker that stands by looks for the lease. */
const look = 500

describe.each(places)('workers of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('one worker runs each projection; the others stand by, and one of them takes over when it stops', async () => {
      const { store, target, another, ...place } = await open()
      const processes = [{ store, target }, await another(), await another()]
      const handled = processes.map(() => 0)
      const running = []
      for (const [i, each] of processes.entries()) {
        const projection = balances(each.target, { before: () => handled[i]!++ })
        running.push(await runProjections(each.store, [projection]))
        if (i > 0) continue
        // On an empty history, too, it has begun by then.
        await running[0]!.caughtUp()
        expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 0 })
      }
      await deposit(store, 10)
      for (const each of running) await each.caughtUp()
      expect(handled).toEqual([10, 0, 0])
      await running[0]!.stop()
      await deposit(store, 10)
      await running[1]!.caughtUp()
      expect(handled[0]).toBe(10)
      expect(handled[1]! + handled[2]!).toBe(10)
      expect(await place.balances()).toEqual(await folded(store))
      await Promise.all(running.map((each) => each.stop()))
    })

    test('a worker that stops wakes one of its process that stands by, which takes over at once', async () => {
      const { store, target, another } = await open()
      const first = await runProjections(store, [balances(target)])
      await first.caughtUp()
      const other = await another()
      const clock = new ManualClock()
      const projection = balances(other.target, { clock })
      const second = await runProjections(other.store, [projection])
      await standsBy(clock)
      await first.stop()
      // No time has passed.
      await until(
        async () => (await projection.status(store)).state === 'running',
        'the other one takes over',
      )
      await second.stop()
    })

    test('a worker takes over from a silent one when its lease has expired, and not before', async () => {
      const { store, target } = await open()
      const clock = new ManualClock()
      const projection = balances(target, { clock })
      await (await runProjections(store, [projection])).stop()
      await sql(
        target,
        `UPDATE PROJECTIONS SET owner = 'a killed worker', lease_until = NOW + ${lease}, lease_ms = ${lease}`,
      )
      await deposit(store, 1)
      const running = await runProjections(store, [projection])
      for (let looks = 0; looks < 4; looks++) {
        await standsBy(clock)
        if (looks < 3) clock.advance(look)
      }
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 0 })
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = NOW')
      clock.advance(look)
      await running.caughtUp()
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 1 })
      await running.stop()
    })

    test('a lease that expires later than its own length is taken over at once: its owner had another clock', async () => {
      const { store, target } = await open()
      const hours = 5 * 3_600_000
      const projection = balances(target)
      // A worker whose clock is five hours ahead, and which is then killed.
      const ahead = balances(shiftedClock(target, hours), { clock: new ManualClock() })
      const before = await runProjections(store, [ahead])
      await deposit(store, 1)
      await before.caughtUp()
      const [row] = await sql(target, 'SELECT * FROM PROJECTIONS')
      await before.stop()
      await sql(
        target,
        `UPDATE PROJECTIONS SET owner = 'a killed worker', lease_until = ${row!.lease_until}, lease_ms = ${row!.lease_ms}`,
      )
      expect(Number(row!.lease_until) - Date.now()).toBeGreaterThan(hours / 2)
      expect(await projection.status(store)).toMatchObject({ state: 'stopped' })
      await deposit(store, 1)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 2 })
      await running.stop()
    })

    test('each event counts once with workers whose clocks are hours apart', async () => {
      const { store, target, another, ...place } = await open()
      const hours = 5 * 3_600_000
      const others = [await another(), await another()]
      const targets = [
        target,
        ...others.map((other, i) => shiftedClock(other.target, i === 0 ? hours : -hours)),
      ]
      const running = []
      for (const each of targets) running.push(await runProjections(store, [balances(each)]))
      for (let i = 0; i < 30; i++) await deposit(store, 1 + (i % 3))
      for (const each of running) await each.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      // Each of them can finish alone.
      for (const each of running) {
        await deposit(store, 2)
        await each.caughtUp()
        await each.stop()
      }
      expect(await place.balances()).toEqual(await folded(store))
    })

    test('an idle worker handles everything again at once after a reset by its process, and at its next look after one by another', async () => {
      const { store, target, another, ...place } = await open()
      const clock = new ManualClock()
      const projection = balances(target, { clock })
      const running = await runProjections(store, [projection])
      await deposit(store, 3)
      await running.caughtUp()
      await until(() => clock.pending.includes(look), 'it is idle')
      for (const by of ['this process', 'another'] as const) {
        // As another definition of the same projection does it.
        if (by === 'this process') await balances((await another()).target).reset()
        else {
          await sql(
            target,
            `UPDATE PROJECTIONS SET generation = generation + 1, store = NULL, position = NULL, event_id = NULL, applied = 0`,
          )
          await sql(target, 'DELETE FROM balances')
          clock.advance(look)
        }
        await running.caughtUp({ timeout: 25_000 })
        await until(async () => (await projection.status(store)).handled === 3, `after a reset by ${by}`)
        expect(await place.balances()).toEqual(await folded(store))
      }
      await running.stop()
    })

    test('a blocked projection goes on at once when its process unblocks it', async () => {
      const { store, target, another } = await open()
      const clock = new ManualClock()
      let isBroken = true
      const before = () => {
        if (isBroken) throw new Error('broken')
      }
      const projection = balances(target, { clock, before, maxRetries: 0 })
      const running = await runProjections(store, [projection])
      await deposit(store, 1)
      await expect(running.caughtUp()).rejects.toThrow('broken')
      await standsBy(clock)
      isBroken = false
      // No time passes.
      expect(await balances((await another()).target).unblock()).toBe(true)
      await running.caughtUp({ timeout: 25_000 })
      await running.stop()
    })

    test('a worker keeps its lease while nothing happens, and stands by when it has lost it', async () => {
      const { store, target } = await open()
      const clock = new ManualClock()
      const projection = balances(target, { clock })
      const running = await runProjections(store, [projection], { lease })
      await deposit(store, 1)
      await running.caughtUp()
      const owner = await ownerOf(target)
      for (let i = 0; i < 4; i++) await renews(target, clock)
      expect(await ownerOf(target)).toEqual(owner)
      await sql(target, `UPDATE PROJECTIONS SET owner = 'another', lease_until = NOW + ${lease}`)
      clock.advance(lease / 3)
      await standsBy(clock)
      await deposit(store, 1)
      for (let looks = 0; looks < 3; looks++) {
        clock.advance(look)
        await standsBy(clock)
      }
      expect(await projection.status(store)).toMatchObject({ handled: 1, lag: { events: 1 } })
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = 0')
      clock.advance(look)
      await running.caughtUp()
      await running.stop()
    })
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('workers in PostgreSQL', () => {
  test('a worker keeps its lease in a batch that takes longer than the lease', async () => {
    const { store, target, another, ...place } = await postgres.open()
    const other = await another()
    const [clock, othersClock] = [new ManualClock(), new ManualClock()]
    const [held, reached] = [gate(), gate()]
    const before = () => {
      reached.open()
      return held.opened
    }
    const running = await runProjections(store, [balances(target, { before, clock })], { lease })
    await running.caughtUp()
    await deposit(store, 15)
    await reached.opened
    let others = 0
    const count = () => {
      others++
    }
    const standby = await runProjections(
      other.store,
      [balances(other.target, { before: count, clock: othersClock })],
      { lease },
    )
    for (let i = 0; i < 6; i++) {
      await renews(other.target, clock)
      await standsBy(othersClock)
      othersClock.advance(look)
    }
    held.open()
    await running.caughtUp()
    expect(others).toBe(0)
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
    await standby.stop()
  })
})

/** The target as a process sees it whose clock is wrong by so many milliseconds. */
function shiftedClock(target: ProjectionTarget<unknown>, milliseconds: number): ProjectionTarget<unknown> {
  const shifted = (query: TargetQuery): TargetQuery => ({
    ...query,
    sql: query.sql.replaceAll(/\bNOW\b/g, `(NOW + (${milliseconds}))`),
  })
  return faultyTarget(target, { rewrite: shifted })
}

/** Resolves when a worker waits to look for the lease again, and no longer to renew it. */
async function standsBy(clock: ManualClock): Promise<void> {
  const isStandby = () =>
    clock.pending.some((pause) => pause <= look) && !clock.pending.some((pause) => pause > look)
  await until(isStandby, 'it stands by')
}

/** A third of the lease later, the worker has renewed it, although it was about to expire. */
async function renews(target: ProjectionTarget<unknown>, clock: ManualClock): Promise<void> {
  await until(() => clock.pending.includes(lease / 3), 'it waits to renew the lease')
  await sql(target, `UPDATE PROJECTIONS SET lease_until = NOW + ${lease / 3}`)
  clock.advance(lease / 3)
  await until(async () => {
    const rows = await sql(target, `SELECT owner FROM PROJECTIONS WHERE lease_until > NOW + ${lease / 2}`)
    return rows.length === 1
  }, 'it has renewed the lease')
}

async function ownerOf(target: ProjectionTarget<unknown>): Promise<unknown> {
  const [row] = await sql(target, 'SELECT owner FROM PROJECTIONS WHERE lease_until > NOW')
  return row?.owner
}
