import { postgresTarget } from 'mneme/postgres'
import { runProjections } from 'mneme/projections'
import { describe, expect, onTestFinished, test } from 'vitest'

import { serverProblem, testServer } from '../stores/postgres/server.ts'
import { balances, deposit, places } from './rig.ts'

describe.skipIf(serverProblem)(`a read model in a database without a store ${serverProblem ?? ''}`, () => {
  test.each(['mneme', 'read "models"'])('is made and kept in the schema %s', async (schema) => {
    const { store } = await places[0]!.open()
    await deposit(store, 10)
    const url = await (await testServer()).createDatabase()
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
  })
})
