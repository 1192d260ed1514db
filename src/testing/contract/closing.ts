import assert from 'node:assert/strict'
import { StoreClosedError } from '../../base/errors.ts'
import { beforeAppend, gate } from './faults.ts'
import { drain, everything, failureOf, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, upTo } from './sample-events.ts'

/** F3: close waits for work in flight, and later calls fail with StoreClosedError. */
export function closing(prove: Prove): void {
  prove('F3: appends in flight succeed while the store closes', async (store, realm) => {
    const calls = upTo(64).map((i) => store.append({ stream: `s-${i % 8}`, events: happenings(2) }))
    const closed = store.close()
    await Promise.all([...calls, closed])
    assert.equal((await everything(await realm.restart())).length, 128)
  })

  prove(
    'F3: appends with a key in flight succeed while the store closes',
    { needs: ['keys'] },
    async (store, realm) => {
      const calls = upTo(20).map((i) =>
        store.append({ stream: `s-${i}`, events: [happened(i)] }, { key: `k-${i}` }),
      )
      const closed = store.close()
      await Promise.all([...calls, closed])
      assert.equal((await everything(await realm.restart())).length, 20)
    },
  )

  prove('F3: close waits for an append in flight', async (store, realm) => {
    const stalled = gate(realm)
    const slow = await realm.open(beforeAppend(() => stalled.pass()))
    let isClosed = false
    const call = slow.append({ stream: 'a', events: [happened(0)] })
    const closed = slow.close().then(() => (isClosed = true))
    await failureOf(StoreClosedError, () => slow.append({ stream: 'a', events: [happened(1)] }))
    await store.append({ stream: 'b', events: [happened(0)] })
    assert.equal(isClosed, false)
    stalled.open()
    assert.equal((await call).revisions.get('a'), 0)
    await closed
    assert.equal(await store.head('a'), 0)
  })

  prove('F3: every call on a closed store fails with StoreClosedError', async (store, realm) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    await store.close()
    const calls = [
      () => store.append({ stream: 'a', events: [happened(1)] }),
      () => store.append({ stream: 'a', expected: 0 }),
      () => drain(store.read('a')),
      () => drain(store.readAll()),
      () => store.head('a'),
      () => store.logHead(),
      () => store.identity(),
    ]
    for (const call of calls) {
      const error = await failureOf(StoreClosedError, call)
      assert.deepEqual([error.code, error.isRetryable], ['STORE_CLOSED', false])
    }
    assert.equal((await everything(await realm.open())).length, 1)
  })

  prove('F3: a store may be closed twice, also concurrently', async (store) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    await Promise.all([store.close(), store.close()])
    await store.close()
    await store[Symbol.asyncDispose]()
  })

  prove('F3: a store that was never used can be closed', async (store, realm) => {
    await (await realm.open()).close()
    await store[Symbol.asyncDispose]()
    await failureOf(StoreClosedError, () => store.head('a'))
  })

  prove('F3: close does not wait for a reader that was abandoned half-way', async (store) => {
    await store.append({ stream: 'a', events: happenings(2_500) })
    const readers = [store.read('a'), store.readAll(), store.read('a', { direction: 'backwards' })]
    for (const reader of readers) await reader.next()
    await store.close()
    for (const reader of readers) {
      await failureOf(StoreClosedError, () => drain(reader))
      assert.deepEqual(await reader.next(), { done: true, value: undefined })
    }
  })

  prove(
    'F3: readers active while the store closes reach their end or fail with StoreClosedError',
    async (store) => {
      await store.append({ stream: 'a', events: happenings(2_500) })
      const calls = upTo(10).map((i) => drain(i % 2 === 0 ? store.read('a') : store.readAll()))
      const closed = store.close()
      const { won } = await race(calls, StoreClosedError)
      for (const events of won) assert.equal(events.length, 2_500)
      await closed
    },
  )

  prove('F3: closing one connection leaves other connections open', async (store, realm) => {
    const other = await realm.open()
    const calls = upTo(20).map((i) => other.append({ stream: `s-${i}`, events: [happened(i)] }))
    await store.close()
    await Promise.all(calls)
    await other.append({ stream: 'a', events: [happened(0)] })
    assert.equal((await everything(other)).length, 21)
  })

  prove('F3: a store can be closed and opened again and again', async (_, realm) => {
    for (const i of upTo(5)) {
      const store = await realm.restart()
      const { revisions } = await store.append({
        stream: 'a',
        events: [happened(i)],
        expected: i === 0 ? 'none' : i - 1,
      })
      assert.equal(revisions.get('a'), i)
    }
  })
}
