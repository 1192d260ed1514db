import type { EventStore } from 'mneme'
import type { PostgresOptions } from 'mneme/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { sleep, testDatabase } from './database.ts'
import { poolerProblem, startPooler } from './pooler.ts'
import { startProxy } from '../../support/proxy.ts'
import { serverProblem } from './server.ts'

const problem = serverProblem ?? poolerProblem

describe.skipIf(problem)('through a transaction pooler', () => {
  async function pooled(settings: Record<string, string> = {}) {
    const database = await testDatabase()
    const pooler = await startPooler(database.server, { default_pool_size: '6', ...settings })
    onTestFinished(() => pooler.destroy())
    const open = (options: PostgresOptions = {}, config = {}) =>
      database.open(options, { connectionString: pooler.url(database.name), ...config })
    return { database, pooler, open }
  }

  /** 64 callers, with all kinds of appends; what each was told is there, and nothing else. */
  async function work(
    stores: readonly EventStore[],
    rounds: number,
    midway: () => Promise<void> = async () => undefined,
  ) {
    const told: string[] = []
    let doubtful = 0
    const callers = Array.from({ length: 64 }, async (_, c) => {
      const store = stores[c % stores.length]!
      for (let i = 0; i < rounds; i++) {
        const events = [happened(i)]
        const writes = [
          { stream: `own-${c}`, events, expected: i === 0 ? ('none' as const) : ('exists' as const) },
          ...(i % 3 === 0 ? [{ stream: `shared-${i % 5}`, events: [happened(i)] }] : []),
          ...(i % 3 === 1 ? [{ stream: 'guard', expected: 'exists' as const }] : []),
        ]
        try {
          const result = await store.append(writes, i % 4 === 0 ? { key: `${c}-${i}` } : {})
          told.push(...result.events.map(({ id }) => id))
        } catch (error) {
          if ((error as { code?: string }).code !== 'STORE_UNAVAILABLE') throw error
          doubtful++
          i--
          await sleep(20)
        }
      }
    })
    await midway()
    await Promise.all(callers)
    return { told, doubtful }
  }

  test('appends of 64 callers in two processes through a pooler are stored once each', async () => {
    const { database, open } = await pooled()
    const stores = [await open(), await open()]
    await stores[0]!.append({ stream: 'guard', events: [happened()] })
    const { told } = await work(stores, 8)
    const ids = (await historyOf(stores[1]!)).map(({ id }) => id).slice(1)
    expect(ids.toSorted()).toEqual(told.toSorted())
    // Nothing is left in the sessions that others get next.
    expect(await database.countLocks()).toBe(0)
  })

  test('a pooler that is replaced while 64 callers append loses no acknowledged event and doubles none', async () => {
    const { database, pooler, open } = await pooled()
    const proxy = await startProxy(Number(new URL(pooler.url()).port))
    const store = await open({}, { connectionString: proxy.url(database.url) })
    await store.append({ stream: 'guard', events: [happened()] })
    const { told } = await work([store], 12, async () => {
      await sleep(60)
      await pooler.destroy()
      const next = await startPooler(database.server, { default_pool_size: '6' })
      onTestFinished(() => next.destroy())
      proxy.target = Number(new URL(next.url()).port)
    })
    const ids = (await historyOf(await database.open())).map(({ id }) => id).slice(1)
    expect(new Set(told).size).toBe(told.length)
    expect(ids.toSorted()).toEqual(told.toSorted())
  })

  test('server connections that are ended behind a pooler lose no event and double none', async () => {
    const { database, open } = await pooled()
    const store = await open()
    await store.append({ stream: 'guard', events: [happened()] })
    const { told } = await work([store], 12, async () => {
      for (let i = 0; i < 10; i++) {
        await sleep(15)
        await database.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name <> 'mneme-test' AND datname = current_database() AND pid <> pg_backend_pid()`)
      }
    })
    const ids = (await historyOf(store)).map(({ id }) => id).slice(1)
    expect(ids.toSorted()).toEqual(told.toSorted())
  })

  test('a store that asked for prepared statements notices that the pooler loses them, and continues without', async () => {
    const { database, open } = await pooled({ default_pool_size: '3' })
    const stores = [await open({ prepare: true }), await open({ prepare: true })]
    await stores[0]!.append({ stream: 'guard', events: [happened()] })
    const { told } = await work(stores, 6)
    const ids = (await historyOf(await database.open())).map(({ id }) => id).slice(1)
    expect(ids.toSorted()).toEqual(told.toSorted())
    const reads = await Promise.all(Array.from({ length: 30 }, () => historyOf(stores[1]!)))
    for (const history of reads) expect(history).toHaveLength(told.length + 1)
  })

  test('appends through a pooler succeed if the default isolation is serializable', async () => {
    const { database, open } = await pooled()
    await database.set("default_transaction_isolation = 'serializable'")
    const store = await open()
    await store.append({ stream: 'guard', events: [happened()] })
    const { told } = await work([store], 4)
    expect((await historyOf(store)).slice(1)).toHaveLength(told.length)
  })
})
