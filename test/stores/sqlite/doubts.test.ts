import { join } from 'node:path'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('a commit in doubt with $name', ({ driver }) => {
  const appends = (count: number) => (store: Awaited<ReturnType<typeof sqliteStore>>) =>
    Promise.allSettled(
      Array.from({ length: count }, (_, i) =>
        store.append({ stream: `s-${String(i)}`, events: [happened(i)], expected: 'none' }),
      ),
    )

  test.each([
    ['a lone append', 1, /^INSERT INTO mneme_events/],
    ['a batch', 4, /^COMMIT$/],
  ])(
    '%s whose commit failed is reported as not written only after the log was overwritten',
    async (_, count, statement) => {
      const calls: string[] = []
      let fails = false
      const failing = faultyDriver(driver, ({ method, sql }) => {
        if (method === 'run') calls.push(sql)
        if (!fails || !statement.test(sql) || method !== 'run') return undefined
        fails = false
        return 'before'
      })
      const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: failing })
      fails = true
      calls.length = 0
      const outcomes = await appends(count)(store)
      for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'STORE_FAILED' } })
      expect(calls.some((sql) => sql.includes('superseded'))).toBe(true)
      expect(await historyOf(store)).toEqual([])
      await appends(count)(store)
      expect(await historyOf(store)).toHaveLength(count)
      await store.close()
    },
  )

  test('an append whose log cannot be overwritten has an unknown outcome', async () => {
    let isBroken = false
    const failing = faultyDriver(driver, ({ method, sql }) =>
      isBroken && method === 'run' && /mneme_events|superseded|COMMIT/.test(sql) ? 'before' : undefined,
    )
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: failing, busyTimeout: 50 })
    isBroken = true
    expect(await appends(1)(store)).toMatchObject([{ reason: { code: 'OUTCOME_UNKNOWN' } }])
    isBroken = false
    await store.close()
  })

  test('an idle store closes while another store of the process is busy', async () => {
    const file = join(testFolder(), 'bank.db')
    const [busy, idle] = [await sqliteStore(file, { driver }), await sqliteStore(file, { driver })]
    let isOver = false
    const callers = Array.from({ length: 500 }, async (_, caller) => {
      while (!isOver) await busy.append({ stream: `s-${String(caller)}`, events: [happened()] })
    })
    await idle.close()
    isOver = true
    await Promise.all(callers)
    await busy.close()
  })

  test('many appends with one signal share one listener', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver })
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    const { signal } = new AbortController()
    const many = Array.from({ length: 40 }, () =>
      store.append({ stream: 's', events: [happened()] }, { signal }),
    )
    await Promise.all(many)
    // Warnings are emitted in the next tick.
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', warned)
    expect(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning')).toEqual([])
    await store.close()
  })
})
