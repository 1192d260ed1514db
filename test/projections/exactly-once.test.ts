import { StoreUnavailableError, type EventStore } from 'mneme'
import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { startProxy } from '../support/proxy.ts'
import { postgresTarget } from '../../src/stores/postgres/index.ts'
import { faultyTarget } from './faulty-target.ts'
import { Account, balances, deposit, folded, gate, patiently, places, sql, until } from './rig.ts'

describe.each(places)('exactly once, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('each event counts once if a transaction fails before it begins, at any of its steps, or around its commit', async () => {
      const { store, target, ...place } = await open()
      await begin(store, balances(target))
      // Each fault is one step later in its transaction than the one before.
      let [passed, next, faults] = [0, 4, 0]
      const pass = () => {
        if (passed++ < next) return
        passed = 0
        next++
        faults++
        throw new StoreUnavailableError('a fault of this test')
      }
      const faulty = faultyTarget(target, { before: pass, step: pass, commit: pass, after: pass })
      const projection = balances(faulty)
      const running = await runProjections(store, [projection], {
        onFailure: ({ code }) => expect(code).toBe('STORE_UNAVAILABLE'),
      })
      for (let i = 0; faults < 14; i++) {
        await deposit(store, 3, i + 1)
        await projection.caughtUpTo(await store.logHead(), patiently)
      }
      expect(await place.balances()).toEqual(await folded(store))
      await running.stop()
    })

    test('a worker that has lost its lease before a batch writes nothing', async () => {
      const { store, target, another, ...place } = await open()
      await deposit(store, 50)
      const other = await another()
      await begin(store, balances(target))
      const held = gate()
      const reached = gate()
      let isHeld = true
      const slow = faultyTarget(target, {
        before: async () => {
          if (!isHeld) return
          isHeld = false
          reached.open()
          await held.opened
        },
      })
      // The first transaction takes the lease; the second one is the first batch.
      const first = balances(slow)
      let isLeased = false
      isHeld = false
      const leasing = faultyTarget(slow, {
        after: () => {
          if (isLeased) return
          isLeased = true
          isHeld = true
        },
      })
      const late = await runProjections(store, [balances(leasing)], { lease: 300 })
      await reached.opened
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = 0, owner = NULL')
      const second = balances(other.target)
      const running = await runProjections(other.store, [second])
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      held.open()
      await deposit(store, 50)
      await first.caughtUpTo(await store.logHead(), patiently)
      expect(await place.balances()).toEqual(await folded(store))
      expect(await second.status(store)).toMatchObject({ handled: 101 })
      await late.stop()
      await running.stop()
    })

    test('each event counts once if two workers both believe that they have the lease', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      // Every worker that asks for the lease gets it.
      const withoutLease = (of: ProjectionTarget<unknown>) =>
        faultyTarget(of, {
          before: async () => {
            await sql(of, 'UPDATE PROJECTIONS SET owner = NULL, lease_until = 0')
          },
        })
      const projections = [balances(withoutLease(target)), balances(withoutLease(other.target))]
      await begin(store, balances(target))
      const running = [
        await runProjections(store, [projections[0]!]),
        await runProjections(other.store, [projections[1]!]),
      ]
      for (let i = 0; i < 60; i++) await deposit(store, 1 + (i % 3))
      for (const each of running) await each.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      for (const each of running) await each.stop()
    })

    test('a worker that read the same checkpoint before a reset writes nothing after it', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      await deposit(store, 10)
      const projection = balances(other.target)
      const first = await runProjections(other.store, [projection])
      await first.caughtUp()
      await first.stop()

      // One worker is about to handle the next event.
      const [held, reached] = [gate(), gate()]
      let isComing = false
      const slow = faultyTarget(target, {
        before: async () => {
          if (!isComing) return
          isComing = false
          reached.open()
          await held.opened
        },
      })
      const late = await runProjections(store, [balances(slow)], { lease: 60_000 })
      await until(async () => (await projection.status(store)).state === 'running', 'it has begun')
      isComing = true
      await deposit(store, 1)
      await reached.opened

      // Meanwhile, the read model is rebuilt up to the same checkpoint.
      await projection.reset()
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = 0, owner = NULL')
      const before = await folded(store)
      const again = await runProjections(other.store, [projection])
      await again.caughtUp()
      await again.stop()
      expect(await place.balances()).toEqual(before)
      held.open()
      await deposit(store, 5)
      await projection.caughtUpTo(await store.logHead(), patiently)
      expect(await place.balances()).toEqual(await folded(store))
      await late.stop()
    })
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('exactly once, in PostgreSQL', () => {
  test('each event counts once if the connection is cut again and again', async () => {
    const { store, url, ...place } = await postgres.open()
    const proxy = await startProxy(Number(new URL(url!).port))
    const target = postgresTarget(proxy.url(url!), { connectTimeout: 1_000 }) as ProjectionTarget<unknown>
    const projection = balances(target)
    const running = await runProjections(store, [projection])
    let cuts = 0
    const cutting = setInterval(() => {
      proxy.cut()
      cuts++
    }, 30)
    for (let i = 0; i < 100; i++) await deposit(store, 1 + (i % 5))
    await until(() => cuts >= 20, 'the connection was cut 20 times')
    clearInterval(cutting)
    await until(async () => {
      const { lag } = await projection.status(store).catch(() => ({ lag: { events: 1 } }))
      return lag.events === 0
    }, 'it has caught up')
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
    await target.close()
  })

  test('what a handler wrote is rolled back if another worker took over meanwhile', async () => {
    const { store, target, another, ...place } = await postgres.open()
    const other = await another()
    const [held, reached] = [gate(), gate()]
    let isFirst = true
    const slow = balances(target, {
      before: async () => {
        if (!isFirst) return
        isFirst = false
        reached.open()
        await held.opened
      },
    })
    await deposit(store, 20)
    const late = await runProjections(store, [slow])
    await reached.opened
    await sql(other.target, 'UPDATE PROJECTIONS SET lease_until = 0, owner = NULL')
    const fast = balances(other.target)
    const running = await runProjections(other.store, [fast])
    await running.caughtUp()
    held.open()
    await deposit(store, 20)
    await running.caughtUp()
    expect(await place.balances()).toEqual(await folded(store))
    expect(await fast.status(store)).toMatchObject({ handled: 40 })
    await late.stop()
    await running.stop()
  })
})

/** The tables are made, so that what fails later is the work alone. */
async function begin(store: EventStore, projection: ReturnType<typeof balances>): Promise<void> {
  const running = await runProjections(store, [projection])
  await store.append({ stream: Account('first'), events: [Account.events.Deposited({ amount: 1 })] })
  await running.caughtUp()
  await running.stop()
}
