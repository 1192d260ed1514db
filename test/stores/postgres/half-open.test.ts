import { describe, expect, test, vi } from 'vitest'

import { PollTimeout } from '../../../src/stores/postgres/poll-timeout.ts'
import { StoreTimeoutError } from '../../../src/base/errors.ts'
import { startProxy } from '../../support/proxy.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, until } from './database.ts'
import { serverProblem } from './server.ts'
import { idsIn, listening, Subscriber } from './subscriber.ts'
import { openUnpolled } from './unpolled.ts'

/** Longer than a test may take: nothing that passes has waited for it. */
const ONE_HOUR_MS = 3_600_000

describe.skipIf(serverProblem)('a network that swallows everything on open connections', () => {
  test('a subscriber and an append under way continue on new connections after the short time-out of a poll', async () => {
    const database = await testDatabase()
    const proxy = await startProxy(database.server.port)
    const writer = await database.open()
    const { store, sent } = await openUnpolled(
      database,
      {
        statementTimeout: ONE_HOUR_MS,
        pollIntervals: { aloneMs: 50, listeningMs: 50 },
        pollTimeout: 1_000,
      },
      { connectionString: proxy.url(database.url) },
    )
    const subscriber = new Subscriber(store)
    await store.append({ stream: 's', events: [happened()] })
    await subscriber.has(1)
    await listening(database, 1)
    // Several connections, all of which will be dead.
    await Promise.all(Array.from({ length: 6 }, () => historyOf(store)))

    const swallowed = proxy.hold()
    proxy.mute()
    // A poll is swallowed first: the append is not silent for as long when that is given up.
    const before = sent()
    await until(() => sent() > before, 'a poll is sent')
    const under = store.append({ stream: 's', events: [happened()], expected: 0 })
    await writer.append({ stream: 't', events: [happened()] })
    await subscriber.has(3)
    expect((await under).events[0]!.revision).toBe(1)
    expect(subscriber.interruptions.map(({ code }) => code)).toContain('STORE_TIMEOUT')
    expect(await historyOf(store)).toHaveLength(3)
    await store.append({ stream: 's', events: [happened()], expected: 1 })
    await subscriber.has(4)
    expect(subscriber.ids).toEqual(await idsIn(database))
    // Notifications arrive on a connection of today again.
    await until(() => proxy.links.some((link) => !swallowed.includes(link)), 'there are new connections')
    proxy.cut(swallowed)
    // The server has not heard of the end of what was held.
    for (const { server } of swallowed) server.destroy()
    await listening(database, 1)
  })
})

describe('the time-out of polls', () => {
  test('it grows while polls are late, covers slow polls, and shrinks when they are fast again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const timeout = new PollTimeout(5_000)
      const given: number[] = []
      const poll = (takesMs: number) =>
        timeout.limit((timeoutMs) => {
          given.push(timeoutMs)
          vi.advanceTimersByTime(Math.min(takesMs, timeoutMs))
          return takesMs > timeoutMs ? Promise.reject(new StoreTimeoutError('late')) : Promise.resolve()
        })
      const late = { code: 'STORE_TIMEOUT' }
      await poll(10)
      await expect(poll(15_000)).rejects.toMatchObject(late)
      await expect(poll(15_000)).rejects.toMatchObject(late)
      await poll(15_000)
      await poll(10)
      await poll(10)
      expect(given).toEqual([5_000, 5_000, 10_000, 20_000, 30_000, 5_000])
    } finally {
      vi.useRealTimers()
    }
  })
})
