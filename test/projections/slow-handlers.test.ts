import { setTimeout as delay } from 'node:timers/promises'
import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import { balances, deposit, folded, places, until } from './rig.ts'

const postgres = places.find(({ name }) => name.includes('PostgreSQL'))!

describe.skipIf(postgres.problem)(`handlers that take long ${postgres.problem ?? ''}`, () => {
  test('a batch ends early: what is done is not lost, and who is told to stop does', async () => {
    const { store, target, ...place } = await postgres.open()
    await deposit(store, 400)
    const projection = balances(target, { before: () => delay(20) })
    const running = await runProjections(store, [projection])
    const started = performance.now()
    await until(async () => (await projection.status(store)).handled > 0, 'some are committed', 5_000)
    expect(performance.now() - started).toBeLessThan(4_000)
    expect((await projection.status(store)).handled).toBeLessThan(400)
    const stopped = performance.now()
    await running.stop()
    expect(performance.now() - stopped).toBeLessThan(4_000)
    const again = await runProjections(store, [balances(target)])
    await again.caughtUp()
    expect(await place.balances()).toEqual(await folded(store))
    await again.stop()
  })
})
