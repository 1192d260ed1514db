import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import { balances, deposit, folded, places, sql, until } from './rig.ts'

describe.each(places)('workers of a projection of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('stand by while one works, and take over as soon as it stops', async () => {
      const { store, target, another, ...place } = await open()
      const processes = [{ store, target }, await another(), await another()]
      const handled = processes.map(() => 0)
      const running = []
      for (const [i, each] of processes.entries()) {
        const projection = balances(each.target, { before: () => handled[i]!++ })
        running.push(await runProjections(each.store, [projection]))
        if (i === 0) await running[0]!.caughtUp()
        if (i === 0) await until(async () => (await projection.status(store)).state === 'running', 'it works')
      }
      await deposit(store, 10)
      for (const each of running) await each.caughtUp()
      expect(handled).toEqual([10, 0, 0])
      await running[0]!.stop()
      const stopped = performance.now()
      await deposit(store, 10)
      await running[1]!.caughtUp()
      expect(performance.now() - stopped).toBeLessThan(2_000)
      expect(handled[0]).toBe(10)
      expect(handled[1]! + handled[2]!).toBe(10)
      expect(await place.balances()).toEqual(await folded(store))
      await Promise.all(running.map((each) => each.stop()))
    })

    test('take over from one that is not heard of, after its lease', async () => {
      const { store, target } = await open()
      const projection = balances(target)
      const first = await runProjections(store, [projection])
      await first.stop()
      await sql(target, "UPDATE PROJECTIONS SET owner = 'who has died', lease_until = NOW + 1000")
      const began = performance.now()
      await deposit(store, 1)
      const running = await runProjections(store, [projection])
      expect((await projection.status(store)).state).toBe('running')
      await running.caughtUp()
      const waited = performance.now() - began
      expect(waited).toBeGreaterThan(800)
      expect(waited).toBeLessThan(3_000)
      await running.stop()
    })

    test('keep their lease while nothing happens, and notice its loss', async () => {
      const { store, target } = await open()
      const projection = balances(target)
      const running = await runProjections(store, [projection], { lease: 1_000 })
      await deposit(store, 1)
      await running.caughtUp()
      const [{ owner } = {}] = await sql(target, 'SELECT owner FROM PROJECTIONS')
      for (let i = 0; i < 8; i++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        expect(await sql(target, 'SELECT owner FROM PROJECTIONS WHERE lease_until > NOW')).toEqual([
          { owner },
        ])
      }
      await sql(target, "UPDATE PROJECTIONS SET owner = 'another', lease_until = NOW + 60000")
      // By now it has noticed: what comes is left to the other one.
      await new Promise((resolve) => setTimeout(resolve, 600))
      await deposit(store, 1)
      await new Promise((resolve) => setTimeout(resolve, 200))
      expect(await projection.status(store)).toMatchObject({ handled: 1, lag: { events: 1 } })
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = 0')
      await running.caughtUp()
      await running.stop()
    })
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('workers of a projection in PostgreSQL', () => {
  test('keep their lease in a batch that takes longer than it', async () => {
    const { store, target, another, ...place } = await postgres.open()
    const other = await another()
    const before = () => new Promise((resolve) => setTimeout(resolve, 100))
    const running = await runProjections(store, [balances(target, { before })], { lease: 500 })
    await running.caughtUp()
    await deposit(store, 15)
    let others = 0
    const count = () => {
      others++
    }
    const standby = await runProjections(other.store, [balances(other.target, { before: count })], {
      lease: 500,
    })
    await running.caughtUp()
    expect(others).toBe(0)
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
    await standby.stop()
  })
})
