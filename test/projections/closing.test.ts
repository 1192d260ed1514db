import { StoreClosedError } from 'mneme'
import { runProjections } from 'mneme/projections'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { ManualClock } from '../support/manual-clock.ts'
import { balances, deposit, folded, gate, places, until } from './rig.ts'

describe.each(places)('closing, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown) => unhandled.push(reason)
    beforeEach(() => {
      unhandled.length = 0
      process.on('unhandledRejection', note)
    })
    afterEach(async () => {
      await new Promise((resolve) => setTimeout(resolve, 10))
      process.off('unhandledRejection', note)
      expect(unhandled).toEqual([])
    })

    test('closing the store ends its projections after the current batch', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      let inHandler = 0
      const isAsync = target.dialect === 'postgres'
      const before = () => {
        inHandler++
        return isAsync ? new Promise((resolve) => setTimeout(resolve, 5)) : undefined
      }
      await deposit(store, 100)
      const projection = balances(target, { before })
      const running = await runProjections(store, [projection])
      await until(() => inHandler > 0, 'it is at work')
      await store.close()
      const { handled, state } = await projection.status(other.store)
      const calls = inHandler
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(inHandler).toBe(calls)
      expect(state).toBe('stopped')
      expect(handled).toBeGreaterThan(0)
      await running.stop()
      await expect(runProjections(store, [projection])).rejects.toThrow('the store is closed')
      const again = await runProjections(other.store, [balances(other.target)])
      await again.caughtUp()
      expect(await place.balances()).toEqual(await folded(other.store))
      await again.stop()
    })

    test('stop() may be called twice, and without any events or projections', async () => {
      const { store, target } = await open()
      const running = await runProjections(store, [balances(target)])
      await Promise.all([running.stop(), running.stop()])
      await running.stop()
      await (await runProjections(store, [])).stop()
    })

    test('caughtUp() ends with an error when stop() is called, before it or meanwhile', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const before = () => {
        throw new Error('no')
      }
      const running = await runProjections(store, [
        balances(target, { before, clock: new ManualClock(), maxRetries: 1_000 }),
      ])
      const waiting = expect(running.caughtUp()).rejects.toThrow(StoreClosedError)
      await running.stop()
      await waiting
      await expect(running.caughtUp()).rejects.toThrow('this run was stopped')
    })

    test('stop() does not wait for the delay of a retry', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const projection = balances(target, {
        before: () => {
          throw new Error('always')
        },
        retry: { maxRetries: 100, baseDelay: 60_000, minDelay: 60_000, maxDelay: 60_000 },
        clock: new ManualClock(),
      })
      const running = await runProjections(store, [projection])
      await until(async () => (await projection.status(store)).state === 'retrying', 'it is tried again')
      // The time of its clock does not pass.
      await running.stop()
    })

    test('closing the target ends its projections', async () => {
      const { store, target } = await open()
      const failures: unknown[] = []
      const running = await runProjections(store, [balances(target)], {
        onFailure: (failure) => failures.push(failure),
      })
      await running.caughtUp()
      await target.close()
      await deposit(store, 1)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await running.stop()
      await expect(running.status()).rejects.toThrow('closed')
    })

    test('closing the store interrupts a rebuild, which the next one continues', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      await deposit(store, 1_200)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      const rebuilt = balances(target, { version: 2 }).rebuild(store, {
        onProgress: () => void store.close(),
      })
      await expect(rebuilt).rejects.toThrow('the store is closed')
      await running.stop()
      await balances(other.target, { version: 2, factor: 2 }).rebuild(other.store)
      expect(Object.keys((await place.balances())!)).toHaveLength(3)
    })
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('closing, with slow handlers', () => {
  test('a batch of slow handlers ends early: its events are committed, and stop() need not wait for the others', async () => {
    const { store, target, ...place } = await postgres.open()
    await deposit(store, 400)
    const held = gate()
    let calls = 0
    // Ten calls take longer than a batch may.
    const before = async () => {
      if (++calls > 10) await held.opened
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const projection = balances(target, { before })
    const running = await runProjections(store, [projection])
    await until(() => calls > 10, 'the eleventh call waits')
    expect((await projection.status(store)).handled).toBeGreaterThan(0)
    const stopped = running.stop()
    held.open()
    await stopped
    expect(calls).toBeLessThan(30)
    expect((await projection.status(store)).handled).toBeLessThanOrEqual(calls)
    const again = await runProjections(store, [balances(target)])
    await again.caughtUp()
    expect(await place.balances()).toEqual(await folded(store))
    await again.stop()
  })
})
