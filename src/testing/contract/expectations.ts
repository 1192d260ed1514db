import assert from 'node:assert/strict'
import { ConflictError } from '../../base/errors.ts'
import type { ExpectedRevision } from '../../base/revision.ts'
import { drain, everything, failureOf, nothingWritten, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, positionsOf, revisionsOf, upTo } from './sample-events.ts'

/** What holds of a stream at revision 2, and of one that is absent. */
const standing: readonly [ExpectedRevision, present: boolean, absent: boolean][] = [
  ['any', true, true],
  ['exists', true, false],
  ['none', false, true],
  [2, true, false],
  [0, false, false],
  [1, false, false],
  [3, false, false],
  [Number.MAX_SAFE_INTEGER, false, false],
]

/** W2: where a stream is expected to stand. */
export function expectations(prove: Prove): void {
  prove('W2: an append and an empty append check every kind of expected revision', async (store) => {
    await store.append({ stream: 'present', events: happenings(3) })
    for (const [expected, present, absent] of standing) {
      for (const stream of ['present', 'absent']) {
        const message = `${stream} expected at ${expected}`
        const passes = stream === 'present' ? present : absent
        const empty = () => store.append({ stream, events: [], expected })
        if (passes) {
          const result = await nothingWritten(store, empty)
          const stands = stream === 'present' ? 2 : 'none'
          assert.deepEqual([...result.revisions], [[stream, stands]], message)
          assert.deepEqual([result.events, result.position, result.repeated], [[], undefined, false], message)
        } else {
          await nothingWritten(store, async () => {
            const calls = [empty, () => store.append({ stream, events: [happened(1)], expected })]
            for (const call of calls) {
              const { expected: wanted, actual, stream: where } = await failureOf(ConflictError, call)
              const stands = stream === 'present' ? 2 : 'none'
              assert.deepEqual([where, wanted, actual], [stream, expected, stands], message)
            }
          })
        }
      }
    }
  })

  for (const expected of ['any', 'exists', 2] as const) {
    prove(`W2: an append that expects ${expected} is added to the stream`, async (store) => {
      await store.append({ stream: 'a', events: happenings(3) })
      const { events } = await store.append({ stream: 'a', events: happenings(2, 3), expected })
      assert.deepEqual(revisionsOf(events), [3, 4])
      assert.deepEqual(revisionsOf(await drain(store.read('a'))), upTo(5))
    })
  }

  prove('W2: an append without an expected revision expects any', async (store) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    await store.append({ stream: 'a', events: [happened(1)] })
    assert.equal(await store.head('a'), 1)
  })

  prove('W2: exactly one of 20 concurrent creations wins', async (store, realm) => {
    const stores = [store, await realm.open()]
    const { won, lost } = await race(
      upTo(20).map((i) => stores[i % 2]!.append({ stream: 'a', events: happenings(2, i), expected: 'none' })),
    )
    assert.equal(won.length, 1)
    for (const error of lost) assert.deepEqual([error.stream, error.expected, error.actual], ['a', 'none', 1])
    assert.deepEqual(await everything(store), won[0]?.events)
  })

  prove('W2: exactly one of 20 concurrent appends at one revision wins', async (store, realm) => {
    const stores = [store, await realm.open()]
    await store.append({ stream: 'a', events: happenings(3) })
    for (const round of upTo(5)) {
      const { won, lost } = await race(
        upTo(20).map((i) =>
          stores[i % 2]!.append({ stream: 'a', events: [happened(i)], expected: 2 + round }),
        ),
      )
      assert.equal(won.length, 1)
      for (const error of lost) assert.deepEqual([error.expected, error.actual], [2 + round, 3 + round])
    }
    assert.deepEqual(revisionsOf(await drain(store.read('a'))), upTo(8))
  })

  prove(
    'W2: concurrent appends, each expecting the one before it, win in order until the first conflict',
    async (store) => {
      const { won } = await race(
        upTo(20).map((i) =>
          store.append({ stream: 'a', events: [happened(i)], expected: i === 0 ? 'none' : i - 1 }),
        ),
      )
      const events = await drain(store.read('a'))
      assert.ok(won.length > 0)
      assert.deepEqual(
        won.flatMap((result) => result.events),
        events,
      )
      assert.deepEqual(revisionsOf(events), upTo(won.length))
    },
  )

  prove(
    'W2: appends that expect any never conflict and get revisions without a gap',
    async (store, realm) => {
      const stores = [store, await realm.open()]
      const results = await Promise.all(
        upTo(60).map((i) =>
          stores[i % 2]!.append({ stream: 'a', events: happenings(1 + (i % 3)), expected: 'any' }),
        ),
      )
      const events = await drain(store.read('a'))
      assert.deepEqual(revisionsOf(events), upTo(120))
      assert.deepEqual(positionsOf(events), positionsOf(events).sort())
      for (const { events: own } of results) {
        const start = own[0]?.revision ?? 0
        assert.deepEqual(events.slice(start, start + own.length), own)
      }
    },
  )

  prove('W2: an append that expects exists never conflicts once the stream has an event', async (store) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    await Promise.all(
      upTo(20).map((i) => store.append({ stream: 'a', events: [happened(i)], expected: 'exists' })),
    )
    assert.equal(await store.head('a'), 20)
  })

  prove(
    'W2: an empty append that races with others sees the stream before or after them',
    async (store, realm) => {
      const other = await realm.open()
      await store.append({ stream: 'a', events: [happened(0)] })
      const [, checks] = await Promise.all([
        race(upTo(5).map((i) => other.append({ stream: 'a', events: [happened(i)] }))),
        race(upTo(20).map(() => store.append({ stream: 'a', expected: 0 }))),
      ])
      for (const { expected, actual } of checks.lost)
        assert.ok(expected === 0 && actual !== 'none' && actual > 0)
      for (const { revisions } of checks.won) assert.equal(revisions.get('a'), 0)
      assert.equal(await store.head('a'), 5)
    },
  )
}
