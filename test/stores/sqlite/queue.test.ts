import { join } from 'node:path'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test, vi } from 'vitest'

import { drivers } from './drivers.ts'
import { faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('the write queue with $name', ({ driver }) => {
  /** A store that counts its commits. */
  async function counted() {
    const commits = { count: 0 }
    const counting = faultyDriver(driver, ({ sql, method }) => {
      if (sql === 'COMMIT' && method === 'run') commits.count++
      return undefined
    })
    const file = join(testFolder(), 'bank.db')
    return { store: await sqliteStore(file, { driver: counting }), commits, file }
  }

  test('64 callers that append in a loop share commits', async () => {
    const { store, commits } = await counted()
    const callers = Array.from({ length: 64 }, async (_, caller) => {
      for (let i = 0; i < 20; i++) {
        await store.append({
          stream: `s-${caller}`,
          events: [happened(i)],
          expected: i === 0 ? 'none' : i - 1,
        })
        // Some callers continue later than others.
        for (let turns = caller % 8; turns > 0; turns--) await Promise.resolve()
      }
    })
    await Promise.all(callers)
    expect(commits.count).toBeLessThan(40)
    expect(await historyOf(store)).toHaveLength(64 * 20)
    await store.close()
  })

  test('of a batch, only the appends to streams that another process has moved on are refused, whole', async () => {
    const { store, commits, file } = await counted()
    for (const stream of ['moved', 'still', 'deleted']) {
      await store.append({ stream, events: [happened(), happened()], expected: 'none' })
    }
    const other = driver(file)
    other.exec(`INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata)
      SELECT stream, 2, '${happened().id}', type, version, time, data, metadata
      FROM mneme_events WHERE stream = 'moved' AND revision = 1`)
    other.close()
    await store.delete('deleted')
    commits.count = 0
    const events = () => [happened(), happened()]
    const results = await Promise.allSettled([
      store.append({ stream: 'moved', events: events(), expected: 1 }),
      store.append({ stream: 'still', events: events(), expected: 1 }),
      store.append({ stream: 'deleted', events: events(), expected: 1 }),
      store.append({ stream: 'still', events: events(), expected: 'none' }),
      store.append({ stream: 'still', events: events(), expected: 3 }),
    ])
    expect(commits.count).toBe(1)
    expect(results).toMatchObject([
      { reason: { code: 'CONFLICT', expected: 1, actual: 2 } },
      { value: { repeated: false } },
      { reason: { code: 'STREAM_DELETED' } },
      { reason: { code: 'CONFLICT', expected: 'none', actual: 3 } },
      { value: { repeated: false } },
    ])
    expect(await store.head('moved')).toBe(2)
    expect(await store.head('still')).toBe(5)
    await store.close()
  })

  test('each append of a batch gets the verdict that it would get if they were made one after the other', async () => {
    const { store, commits } = await counted()
    const id = happened()
    const results = await Promise.allSettled([
      store.append({ stream: 's', events: [happened(), happened()], expected: 'none' }),
      store.append({ stream: 's', events: [happened()], expected: 'none' }),
      store.append({ stream: 's', events: [id], expected: 1 }),
      store.append({ stream: 's', events: [id], expected: 1 }),
      store.append({ stream: 't', events: [happened(1)] }, { key: 'k' }),
      store.append({ stream: 't', events: [happened(1)] }, { key: 'k' }),
      store.append({ stream: 't', events: [happened(2)] }, { key: 'k' }),
    ])
    expect(commits.count).toBe(1)
    expect(results).toMatchObject([
      { value: { repeated: false } },
      { reason: { code: 'CONFLICT', actual: 1 } },
      { value: { repeated: false } },
      { value: { repeated: true } },
      { value: { repeated: false } },
      { value: { repeated: true } },
      { reason: { code: 'KEY_REUSED' } },
    ])
    expect(await historyOf(store)).toHaveLength(4)
    await store.close()
  })

  test('a signal withdraws an append that waits in the queue, and not one that has begun', async () => {
    const { store, file } = await counted()
    const other = driver(file)
    other.exec('BEGIN IMMEDIATE')
    const abort = new AbortController()
    const withdrawn = store.append({ stream: 's', events: [happened()] }, { signal: abort.signal })
    const stays = store.append({ stream: 's', events: [happened()] })
    setTimeout(() => abort.abort(new Error('enough')), 20)
    await expect(withdrawn).rejects.toThrow('enough')
    other.exec('ROLLBACK')
    await stays
    const late = new AbortController()
    const began = store.append({ stream: 's', events: [happened()] }, { signal: late.signal })
    await began
    late.abort()
    expect(await historyOf(store)).toHaveLength(2)
    other.close()
    await store.close()
  })

  test('an append waits for a locked database without blocking the event loop, and fails after busyTimeout', async () => {
    const file = join(testFolder(), 'bank.db')
    /** How many pauses had begun when each attempt was made. */
    const attempts: number[] = []
    const pauses = [vi.spyOn(globalThis, 'setTimeout'), vi.spyOn(globalThis, 'setImmediate')]
    onTestFinished(() => pauses.forEach((pause) => pause.mockRestore()))
    const counting = faultyDriver(driver, ({ sql, method }) => {
      const count = pauses.reduce((sum, { mock }) => sum + mock.calls.length, 0)
      if (sql === 'BEGIN IMMEDIATE' && method === 'run') attempts.push(count)
      return undefined
    })
    const store = await sqliteStore(file, { driver: counting, busyTimeout: 200 })
    const other = driver(file)
    other.exec('BEGIN IMMEDIATE')
    const started = performance.now()
    const appends = [1, 2].map(() => store.append({ stream: 's', events: [happened()] }))
    for (const result of await Promise.allSettled(appends)) {
      expect(result).toMatchObject({ reason: { code: 'STORE_BUSY', isRetryable: true } })
    }
    // The lock is still held.
    expect(performance.now() - started).toBeGreaterThanOrEqual(200)
    expect(attempts.length).toBeGreaterThan(1)
    // Between two attempts the event loop runs.
    expect(attempts).toEqual([...new Set(attempts)])
    // A writer does not block readers.
    expect(await store.head('s')).toBe('none')
    const patient = store.append({ stream: 's', events: [happened()] })
    setTimeout(() => other.exec('ROLLBACK'), 50)
    await patient
    expect(await historyOf(store)).toHaveLength(1)
    other.close()
    await store.close()
  })

  test('timers fire while calls follow each other without a pause', async () => {
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver, synchronous: 'normal' })
    for (const call of [
      () => store.append({ stream: 's', events: [happened()] }),
      () => store.head('s'),
      () => store.read('s', { limit: 1 }).next(),
    ]) {
      let isDue = false
      setTimeout(() => (isDue = true), 1)
      let calls = 0
      // A millisecond has room for some hundred calls.
      while (!isDue && calls < 20_000) {
        await call()
        calls++
      }
      expect(isDue).toBe(true)
    }
    await store.close()
  })
})
