import { ProjectionVersionError } from 'mneme'
import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import { Account, balances, deposit, folded, places, until } from './rig.ts'

describe.each(places)('a projection of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('catches up, and goes on with what comes', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 2_300)
      const projection = balances(target)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      for (let i = 0; i < 5; i++) {
        const { position } = await store.append({
          stream: Account('b'),
          events: [Account.events.Deposited({ amount: 1 })],
        })
        await projection.caughtUpTo(position)
        expect((await place.balances())?.['Account-b']).toBe(i + 1)
      }
      expect(await running.status()).toMatchObject([
        {
          name: 'balances',
          version: 1,
          state: 'running',
          lag: { events: 0, isMore: false, seconds: 0 },
          handled: 2_305,
          parked: 0,
        },
      ])
      await running.stop()
      expect((await projection.status(store)).state).toBe('stopped')
      await deposit(store, 10)
      expect(await projection.status(store)).toMatchObject({
        state: 'stopped',
        lag: { events: 10, isMore: false },
      })
      const again = await runProjections(store, [projection])
      await again.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      await again.stop()
    })

    test('is rebuilt beside the live one in a new version', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 1_200)
      const [first, second] = [balances(target), balances(target, { version: 2, factor: 10 })]
      const failures: unknown[] = []
      const running = await runProjections(store, [first], { onFailure: (failure) => failures.push(failure) })
      await running.caughtUp()
      await expect(runProjections(store, [second])).rejects.toThrow(ProjectionVersionError)
      const progress: number[] = []
      await second.rebuild(store, { onProgress: (handled, of) => progress.push(handled / of) })
      expect(progress.at(-1)).toBe(1)
      expect(await place.balances()).toEqual(await folded(store, 10))
      expect(await place.balances('balances__2')).toBeUndefined()
      await deposit(store, 1)
      await until(() => failures.length > 0, 'the first one notices', 15_000)
      expect(failures).toMatchObject([{ code: 'PROJECTION_VERSION' }])
      const next = await runProjections(store, [second])
      await next.caughtUp()
      expect(await place.balances()).toEqual(await folded(store, 10))
      await next.stop()
      await running.stop()
      await expect(runProjections(store, [first])).rejects.toThrow(
        'built by version 2, but this program defines version 1',
      )
    })
  })
})
