import { describe, expect, onTestFinished, test } from 'vitest'

import { PROBE_MS } from '../../../src/stores/postgres/listener.ts'
import { happened } from '../sqlite/history.ts'
import { sleep, testDatabase, until } from './database.ts'
import { poolerProblem, startPooler } from './pooler.ts'
import { Worker } from './processes.ts'
import { serverProblem } from './server.ts'
import { countListening, idsIn, listening, Subscriber } from './subscriber.ts'

describe.skipIf(serverProblem ?? poolerProblem)('subscribers through a pooler', () => {
  async function pooled(settings: Record<string, string>) {
    const database = await testDatabase()
    const pooler = await startPooler(database.server, { default_pool_size: '6', ...settings })
    onTestFinished(() => pooler.destroy())
    const store = await database.open({}, { connectionString: pooler.url(database.name) })
    return { database, store, url: pooler.url(database.name) }
  }

  test('behind a pooler that keeps no sessions the log is polled, and no connection is held for it', async () => {
    const { database, store, url } = await pooled({ pool_mode: 'transaction' })
    const subscribers = [new Subscriber(store), new Subscriber(store, { categories: ['drip'] })]
    await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
    for (const wait of [0, PROBE_MS + 500]) {
      await sleep(wait)
      const before = subscribers[0]!.seen.length
      const worker = new Worker('drip', url, 8, 10)
      await worker.result()
      await subscribers[0]!.has(before + 8)
    }
    const ids = await idsIn(database)
    for (const subscriber of subscribers) {
      await subscriber.has(ids.length)
      expect(subscriber.ids).toEqual(ids)
    }
    expect(await countListening(database)).toBe(0)
    // Nothing is left in the sessions that others get next.
    await until(async () => (await database.countLocks()) === 0, 'no lock is left')
  })

  test('behind a pooler that keeps sessions one connection listens', async () => {
    const { database, store, url } = await pooled({ pool_mode: 'session', default_pool_size: '20' })
    const subscriber = new Subscriber(store)
    await subscriber.subscription.caughtUp()
    await listening(database, 1)
    const worker = new Worker('drip', url, 20, 10)
    await worker.result()
    await subscriber.has(20)
    expect(subscriber.ids).toEqual(await idsIn(database))
    await store.append({ stream: 's', events: [happened()] })
    await subscriber.has(21)
  })
})
