import { ProjectionVersionError } from 'mneme'
import { postgresTarget } from 'mneme/postgres'
import { runProjections } from 'mneme/projections'
import { describe, expect, onTestFinished, test } from 'vitest'

import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { Account, balances, deposit, folded, patiently, places, until } from './rig.ts'

describe.each(places)('a projection with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('a projection catches up, handles each new event, and continues after a restart where it left off', async () => {
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
        await projection.caughtUpTo(position, patiently)
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

    test('a new version is rebuilt beside the live read model, and the old program notices', async () => {
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
      await until(() => failures.length > 0, 'the first one notices')
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

describe.skipIf(serverProblem)(`a PostgreSQL target without a store ${serverProblem ?? ''}`, () => {
  test.each(['mneme', 'read "models"'])(
    'a read model in a database without a store is kept with its checkpoint in the schema %s',
    async (schema) => {
      const { store } = await places[0]!.open()
      await deposit(store, 10)
      const url = (await testDatabase()).url
      const target = postgresTarget(url, { schema })
      onTestFinished(() => target.close())
      const projection = balances(target)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 10 })
      await running.stop()
      await target.close()

      const again = postgresTarget(url, { schema })
      onTestFinished(() => again.close())
      expect(await balances(again as never).status(store)).toMatchObject({ state: 'stopped', handled: 10 })
    },
  )
})
