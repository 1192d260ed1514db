import assert from 'node:assert/strict'
import { StoreFailedError } from '../../base/errors.ts'
import type { EventStore } from '../../store/event-store.ts'
import { gate, type Watched, watchPages } from './faults.ts'
import { drain, failureOf, nextTurn, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, upTo } from './sample-events.ts'

const ways: readonly [string, (store: EventStore, signal?: AbortSignal) => ReturnType<EventStore['read']>][] =
  [
    ['a stream', (store, signal) => store.read('a', signal && { signal })],
    ['all streams', (store, signal) => store.readAll(signal && { signal })],
  ]

/** R4: a reader stops at once when its consumer stops, and nothing leaks. */
export function stopping(prove: Prove): void {
  for (const [what, read] of ways) {
    prove(
      `R4: break while reading ${what} calls return on the adapter's iterator once`,
      async (store, realm) => {
        await store.append({ stream: 'a', events: happenings(3_000) })
        for (const stop of [1, 2, 700]) {
          const watched: Watched = { pages: [], returns: 0 }
          const reader = read(await realm.open(watchPages(watched)))
          let seen = 0
          for await (const event of reader) {
            assert.equal(event.revision, seen++)
            if (seen === stop) break
          }
          assert.equal(watched.returns, 1)
          assert.deepEqual(await reader.next(), { done: true, value: undefined })
          await reader.return?.()
          assert.equal(watched.returns, 1)
        }
      },
    )

    prove(
      `R4: an error thrown by the consumer ends reading ${what} and reaches the caller`,
      async (store, realm) => {
        await store.append({ stream: 'a', events: happenings(10) })
        const watched: Watched = { pages: [], returns: 0 }
        const reader = read(await realm.open(watchPages(watched)))
        const error = new RangeError('of the consumer')
        const consume = async () => {
          for await (const event of reader) if (event.revision === 3) throw error
        }
        assert.equal(await thrownBy(consume), error)
        assert.equal(watched.returns, 1)
      },
    )

    prove(`R4: reading ${what} to its end does not call return`, async (store) => {
      await store.append({ stream: 'a', events: happenings(3) })
      const reader = read(store)
      assert.equal((await drain(reader)).length, 3)
      assert.deepEqual(await reader.next(), { done: true, value: undefined })
      assert.deepEqual(await reader.return?.(), { done: true, value: undefined })
    })

    prove(`R4: a signal aborted before reading ${what} lets nothing be read`, async (store) => {
      await store.append({ stream: 'a', events: happenings(3) })
      const reason = new Error('enough')
      const reader = read(store, AbortSignal.abort(reason))
      assert.equal(await thrownBy(() => drain(reader)), reason)
      assert.deepEqual(await reader.next(), { done: true, value: undefined })
    })

    prove(`R4: an abort while reading ${what} ends it with the signal's reason`, async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(1_500) })
      const watched: Watched = { pages: [], returns: 0 }
      const controller = new AbortController()
      const reason = new Error('enough')
      const reader = read(await realm.open(watchPages(watched)), controller.signal)
      let seen = 0
      const consume = async () => {
        for await (const _ of reader) if (++seen === 5) controller.abort(reason)
      }
      assert.equal(await thrownBy(consume), reason)
      assert.equal(seen, 5)
      assert.equal(watched.returns, 1)
    })

    prove(`R4: an abort ends reading ${what} while the store stalls`, async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(3) })
      const stalled = gate(realm)
      const controller = new AbortController()
      const reason = new Error('enough')
      const reader = read(
        await realm.open(watchPages({ pages: [], returns: 0 }, () => stalled.pass())),
        controller.signal,
      )
      const first = reader.next()
      while (stalled.arrived === 0) await nextTurn()
      controller.abort(reason)
      // The store still stalls: it is released when the case ends.
      assert.equal(await thrownBy(() => first), reason)
    })

    prove(`R4: an error of the store ends reading ${what} and reaches the caller`, async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(3) })
      const failing = await realm.open(
        watchPages({ pages: [], returns: 0 }, () => {
          throw new StoreFailedError('the connection was lost')
        }),
      )
      const reader = read(failing)
      await failureOf(StoreFailedError, () => reader.next())
      assert.deepEqual(await reader.next(), { done: true, value: undefined })
    })

    prove(`R4: many readers of ${what} abandoned half-way block nobody`, async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(1_500) })
      const other = await realm.open()
      const readers = upTo(50).map(() => read(store))
      for (const reader of readers) await reader.next()
      await other.append({ stream: 'a', events: [happened(0)] })
      await store.append({ stream: 'a', events: [happened(1)] })
      assert.equal(await other.head('a'), 1_501)
      await (await realm.restart()).append({ stream: 'a', events: [happened(2)] })
    })
  }
}
