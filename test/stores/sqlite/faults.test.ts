import { join } from 'node:path'
import { type EventStore, isMnemeError } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { busyError, type Fault, faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

/** What a caller was told of an append: `unknown` leaves open whether it is there, but not whether half of it is. */
interface Told {
  readonly ids: string[]
  readonly outcome: 'acknowledged' | 'refused' | 'unknown'
}

describe.each(drivers)('a failing $name', ({ driver }) => {
  describe.each(['before', 'after'] as const)('%s the call takes effect', (when) => {
    test(
      'each driver call failing once in turn: every append is stored as its caller was told',
      { timeout: 120_000 },
      async () => {
        const file = () => join(testFolder(), 'bank.db')
        const calls = await untilNoFault(async (n) => {
          let hasFailed = false
          let isOver = false
          const fault: Fault = ({ number }) => {
            if (number !== n || isOver) return undefined
            hasFailed = true
            return when
          }
          await scenario(file(), fault, () => (isOver = true))
          return hasFailed
        })
        expect(calls).toBeGreaterThan(60)
      },
    )

    test(
      'every driver call failing from one on: every append is stored as its caller was told',
      { timeout: 120_000 },
      async () => {
        const file = () => join(testFolder(), 'bank.db')
        const calls = await untilNoFault(async (n) => {
          let hasFailed = false
          let isBroken = true
          const fault: Fault = ({ number }) => {
            if (number < n || !isBroken) return undefined
            hasFailed = true
            return when
          }
          await scenario(file(), fault, () => (isBroken = false))
          return hasFailed
        })
        expect(calls).toBeGreaterThan(60)
      },
    )
  })

  async function untilNoFault(round: (n: number) => Promise<boolean>): Promise<number> {
    for (let n = 1; ; n++) if (!(await round(n))) return n - 1
  }

  async function scenario(file: string, fault: Fault, repair: () => void): Promise<void> {
    const told: Told[] = []
    const faulty = faultyDriver(driver, fault)
    const store = await sqliteStore(file, { driver: faulty, busyTimeout: 30 }).catch(onlyMneme)
    if (store) {
      await usual(store, told)
      repair()
      // It works again, on the same connection.
      const { revisions } = await store.append({ stream: 'last', events: [happened()] })
      expect(revisions.get('last')).toBe(0)
      check(await historyOf(store), told)
      await store.close()
    }
    const again = await sqliteStore(file, { driver })
    check(await historyOf(again), told)
    await again.append({ stream: 'fine', events: [happened()] })
    await again.close()
    const database = driver(file)
    expect(Object.values(database.prepare('PRAGMA integrity_check').get() as object)).toEqual(['ok'])
    database.close()
  }

  async function usual(store: EventStore, told: Told[]): Promise<void> {
    const append = async (stream: string, count: number, options: object = {}, key?: string) => {
      const events = Array.from({ length: count }, () => happened())
      const ids = events.map(({ id }) => id)
      try {
        await store.append({ stream, events, ...options }, key === undefined ? {} : { key })
        told.push({ ids, outcome: 'acknowledged' })
      } catch (error) {
        onlyMneme(error)
        const isUnknown = (error as { code: string }).code === 'OUTCOME_UNKNOWN'
        told.push({ ids, outcome: isUnknown ? 'unknown' : 'refused' })
      }
    }
    await Promise.all([
      append('a', 2),
      append('b', 1, { expected: 'none' }),
      append('b', 1, { expected: 'none' }),
      append('c', 3),
    ])
    await append('a', 1, { expected: 1 })
    await append('d', 2, {}, 'key')
    await store.append({ stream: 'x', expected: 'none' }).catch(onlyMneme)
    await store.head('a').catch(onlyMneme)
    await store.logHead().catch(onlyMneme)
    for (const direction of ['forwards', 'backwards'] as const) {
      await store.read('a', { direction }).next().catch(onlyMneme)
      await historyOf(store).catch(onlyMneme)
    }
    await append('a', 1)
  }

  function check(history: readonly { id: string }[], told: readonly Told[]): void {
    const stored = new Set(history.map(({ id }) => id))
    for (const { ids, outcome } of told) {
      const there = ids.filter((id) => stored.has(id)).length
      if (outcome === 'acknowledged') expect(there).toBe(ids.length)
      else if (outcome === 'refused') expect(there).toBe(0)
      else expect([0, ids.length]).toContain(there)
    }
  }

  /** `COMMIT` fails once, from the first append on. */
  function failingCommit(when: 'before' | 'after', error?: () => unknown) {
    const faults = { left: 0 }
    const fault: Fault = ({ sql, method }) =>
      sql === 'COMMIT' && method === 'run' && faults.left-- > 0 ? when : undefined
    return { faults, driver: faultyDriver(driver, fault, error) }
  }

  test('appends whose COMMIT failed after taking effect are acknowledged', async () => {
    const { faults, driver: faulty } = failingCommit('after')
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: faulty })
    await store.append({ stream: 's', events: [happened()] })
    faults.left = 1
    const results = await Promise.allSettled([
      store.append({ stream: 's', events: [happened(), happened()], expected: 0 }),
      store.append({ stream: 't', events: [happened()] }),
      store.append({ stream: 's', events: [happened()], expected: 0 }),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(results[0]).toMatchObject({ value: { repeated: false } })
    expect(results[2]).toMatchObject({ reason: { code: 'CONFLICT', actual: 2 } })
    expect(await historyOf(store)).toHaveLength(4)
    await store.close()
  })

  test('appends whose COMMIT failed without effect fail, and none of the batch is stored', async () => {
    const { faults, driver: faulty } = failingCommit('before')
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: faulty })
    faults.left = 1
    const appends = ['s', 't', 's'].map((stream) => store.append({ stream, events: [happened()] }))
    for (const result of await Promise.allSettled(appends)) {
      expect(result).toMatchObject({ reason: { code: 'STORE_FAILED', cause: { message: 'disk I/O error' } } })
    }
    expect(await historyOf(store)).toEqual([])
    await store.append({ stream: 's', events: [happened()], expected: 'none' })
    await store.close()
  })

  test('a COMMIT that meets a lock is retried', async () => {
    const { faults, driver: faulty } = failingCommit('before', busyError)
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: faulty })
    faults.left = 3
    await Promise.all(
      ['s', 't'].map((stream) => store.append({ stream, events: [happened()], expected: 'none' })),
    )
    expect(await historyOf(store)).toHaveLength(2)
    await store.close()
  })

  test('an append whose COMMIT failed and cannot be looked up has an unknown outcome', async () => {
    let isBroken = false
    const fault: Fault = ({ sql }) => {
      isBroken ||= sql === 'COMMIT' && isArmed
      return isBroken ? 'before' : undefined
    }
    let isArmed = false
    const store = await sqliteStore(join(testFolder(), 'bank.db'), {
      driver: faultyDriver(driver, fault),
      busyTimeout: 50,
    })
    isArmed = true
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    })
    isArmed = isBroken = false
    expect(await historyOf(store)).toEqual([])
    await store.close()
  })

  test('writes whose ROLLBACK failed are neither read nor committed by later appends', async () => {
    let isBroken = false
    const fault: Fault = ({ sql }) => {
      if (!isBroken) return undefined
      return sql === 'ROLLBACK' || sql.includes('INTO mneme_keys') ? 'before' : undefined
    }
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: faultyDriver(driver, fault) })
    isBroken = true
    const failed = store.append({ stream: 's', events: [happened()] }, { key: 'k' })
    await expect(failed).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(store.head('s')).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(store.append({ stream: 't', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_FAILED',
    })
    isBroken = false
    expect(await store.head('s')).toBe('none')
    await store.append({ stream: 't', events: [happened()], expected: 'none' })
    expect(await historyOf(store)).toHaveLength(1)
    await store.close()
  })
})

function onlyMneme(error: unknown): undefined {
  if (!isMnemeError(error)) throw error
}
