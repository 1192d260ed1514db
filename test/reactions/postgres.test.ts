import { runReactions } from 'mneme/reactions'
import { postgresTarget } from 'mneme/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'

import { postgresStore } from '../../src/stores/postgres/index.ts'
import { until } from '../projections/rig.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { onTime, typesOf, Wall } from './rig.ts'
import { Cancelled, fulfilment, Order, Paid, Placed } from './shop.ts'

describe.skipIf(serverProblem)(serverProblem ?? 'reactions with their state in PostgreSQL', () => {
  test('with two workers, each command takes effect once, at once or by a timer', async () => {
    const { url } = await testDatabase()
    const processes = []
    for (let i = 0; i < 2; i++) {
      const process = { store: await postgresStore(url), state: postgresTarget(url) }
      onTestFinished(async () => {
        await process.store.close()
        await process.state.close()
      })
      processes.push(process)
    }
    const [{ store, state }] = processes as [(typeof processes)[0]]
    const wall = new Wall()
    const running = []
    for (const each of processes) {
      running.push(await runReactions(each.store, [onTime(fulfilment, { wall })], { state: each.state }))
    }
    const ids = Array.from({ length: 30 }, (_, i) => String(i))
    for (const id of ids) {
      await store.append({ stream: Order(id), events: [Placed({ item: id })] })
      if (Number(id) % 3 === 0) await store.append({ stream: Order(id), events: [Paid({ amount: 1 })] })
      if (Number(id) % 3 === 1)
        await store.append({ stream: Order(id), events: [Paid({ amount: 1 }), Cancelled()] })
    }
    await running[0]!.caughtUp()
    const control = fulfilment.in(state)
    expect(await control.timers()).toHaveLength(10)
    expect(await control.cancelTimer('unpaid:Order-2')).toBe(true)
    expect(await control.fireTimer('unpaid:Order-5')).toBe(true)
    await until(async () => (await typesOf(store, 'Order-5')).length === 2, 'a person fires one')
    // The one that has the lease stops, and the other one takes over.
    await running[0]!.stop()
    wall.forward(31 * 60_000)
    await until(async () => (await control.timers()).length === 0, 'the others fire')
    await running[1]!.caughtUp()
    for (const id of ids) {
      const types = await typesOf(store, `Order-${id}`)
      if (Number(id) % 3 === 0) expect(types).toEqual(['Placed', 'Paid', 'Shipped'])
      else if (Number(id) % 3 === 1) expect(types).toEqual(['Placed', 'Paid', 'Cancelled', 'Refunded'])
      else expect(types).toEqual(id === '2' ? ['Placed'] : ['Placed', 'Expired'])
    }
    await running[1]!.stop()
  })
})
