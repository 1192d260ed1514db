import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { sleep, testDatabase, until } from './database.ts'
import { Worker } from './processes.ts'
import { serverProblem } from './server.ts'

describe.skipIf(serverProblem)('the append queue', () => {
  test('the queue refuses an append beyond maxPending', async () => {
    const database = await testDatabase()
    const store = await database.open({ maxPending: 8 })
    const holder = await database.hold('s')
    const waiting = Array.from({ length: 8 }, (_, i) => store.append({ stream: 's', events: [happened(i)] }))
    await expect(store.append({ stream: 't', events: [happened()] })).rejects.toMatchObject({
      code: 'OVERLOADED',
      pending: 8,
    })
    await holder.release()
    await Promise.all(waiting)
    await store.append({ stream: 't', events: [happened()] })
    expect(await historyOf(store)).toHaveLength(9)
  })

  test('a signal withdraws an append that waits, not one that was sent', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const holder = await database.hold('s')
    const [early, late] = [new AbortController(), new AbortController()]
    const sent = store.append({ stream: 's', events: [happened(1)] }, { signal: early.signal })
    await database.waiting(1)
    const withdrawn = store.append({ stream: 's', events: [happened(2)] }, { signal: late.signal })
    const stays = store.append({ stream: 's', events: [happened(3)] })
    await sleep(20)
    early.abort(new Error('too late'))
    late.abort(new Error('enough'))
    await expect(withdrawn).rejects.toThrow('enough')
    await holder.release()
    await Promise.all([sent, stays])
    expect((await historyOf(store)).map(({ data }) => (data as { n: number }).n)).toEqual([1, 3])
  })

  test('a signal withdraws an append that found its stream locked and waits apart', async () => {
    const database = await testDatabase()
    const store = await database.open({}, { max: 3 })
    const holder = await database.hold('a', 'b')
    const { signal, abort } = ((controller) => ({
      signal: controller.signal,
      abort: () => controller.abort(new Error('enough')),
    }))(new AbortController())
    const first = store.append({ stream: 'a', events: [happened(1)] })
    await database.waiting(1)
    const second = store.append({ stream: 'b', events: [happened(2)] }, { signal })
    await sleep(30)
    abort()
    const outcome = await Promise.race([
      second.then(
        () => 'appended',
        () => 'withdrawn',
      ),
      sleep(300).then(() => 'waits'),
    ])
    await holder.release()
    await first
    await second.catch(() => undefined)
    const there = (await historyOf(store)).map(({ stream }) => stream)
    // It was withdrawn, or it was under way: then it is there.
    expect(there).toEqual(outcome === 'withdrawn' ? ['a'] : ['a', 'b'])
  })

  test('close waits for the appends under way', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const holder = await database.hold('s')
    const appends = Array.from({ length: 5 }, (_, i) => store.append({ stream: 's', events: [happened(i)] }))
    await database.waiting(1)
    let isClosed = false
    const closing = store.close().then(() => (isClosed = true))
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_CLOSED',
    })
    await sleep(50)
    expect(isClosed).toBe(false)
    await holder.release()
    await Promise.all(appends)
    await closing
    expect(await historyOf(await database.open())).toHaveLength(5)
    const sessions = await database.query(
      "SELECT FROM pg_stat_activity WHERE application_name = 'mneme' AND datname = current_database() AND state <> 'idle'",
    )
    expect(sessions).toEqual([])
  })

  test('a process ends by itself once its store is closed', async () => {
    const database = await testDatabase()
    const worker = new Worker('exit', database.url)
    expect(await worker.ended).toBe(0)
    const { lines } = worker
    expect(lines[0]).toBe('s')
    // No timer is left that would keep the process for a while; a connection would keep it for ever.
    expect(lines.slice(1)).toEqual(['closed', '[]'])
  })

  test('64 callers in a loop share calls', async () => {
    const database = await testDatabase()
    const store = await database.open()
    const callers = Array.from({ length: 64 }, async (_, caller) => {
      for (let i = 0; i < 10; i++) {
        await store.append({
          stream: `s-${caller}`,
          events: [happened(i)],
          expected: i === 0 ? 'none' : i - 1,
        })
      }
    })
    await Promise.all(callers)
    const [row] = await database.query(
      'SELECT count(DISTINCT position >> 16)::int AS calls FROM mneme.events',
    )
    expect(row!.calls).toBeLessThan(160)
    expect(await historyOf(store)).toHaveLength(640)
  })

  test('appends beyond the limits of a call are spread over several calls', async () => {
    const database = await testDatabase()
    const store = await database.open()
    // More streams than a call takes, more bytes, and as many events as an append may have.
    await Promise.all(
      Array.from({ length: 600 }, (_, i) => store.append({ stream: `s-${i}`, events: [happened(i)] })),
    )
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => store.append({ stream: `l-${i}`, events: [happened(i, 900_000)] })),
    )
    const most = () => Array.from({ length: 100 }, (_, i) => ({ stream: `m-${i}`, events: [happened(i)] }))
    const results = await Promise.all([1, 2, 3, 4].map(() => store.append(most())))
    expect(results.flatMap(({ events }) => events)).toHaveLength(400)
    expect(await historyOf(store)).toHaveLength(600 + 8 + 400)
    await until(async () => (await database.countWaiting()) === 0, 'nothing is held')
  })
})
