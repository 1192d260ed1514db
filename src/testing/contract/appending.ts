import assert from 'node:assert/strict'
import { ConflictError, InvalidDataError } from '../../base/errors.ts'
import { drain, everything, failureOf, nothingWritten, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, numbersOf, positionsOf, revisionsOf, upTo } from './sample-events.ts'

/** W1 and W5: an append is all or nothing, and what was acknowledged stays. */
export function appending(prove: Prove): void {
  prove('W1: the events of an append get consecutive revisions, in the order given', async (store) => {
    const first = await store.append({ stream: 'a', events: happenings(3), expected: 'none' })
    const second = await store.append({ stream: 'a', events: happenings(2, 3), expected: 2 })
    assert.deepEqual([...first.revisions], [['a', 2]])
    assert.deepEqual([...second.revisions], [['a', 4]])
    assert.equal(first.repeated, false)
    const events = await drain(store.read('a'))
    assert.deepEqual(numbersOf(events), upTo(5))
    assert.deepEqual(revisionsOf(events), upTo(5))
  })

  prove('W1: an append resolves with its events as they are read', async (store) => {
    const events = [
      { type: 'Thing.Made', data: { at: 'home' }, version: 3, id: crypto.randomUUID() },
      { type: 'Thing.Done', data: {} },
    ]
    const result = await store.append({ stream: 'a', events }, { metadata: { actor: 'ann' } })
    assert.deepEqual(await drain(store.read('a')), result.events)
    assert.deepEqual(await everything(store), result.events)
    assert.equal(result.events[0]?.id, events[0]!.id)
    assert.equal(result.events[0]?.version, 3)
    assert.equal(result.events[1]?.version, 1)
    assert.match(result.events[1].time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.equal(result.position, result.events[1].position)
  })

  prove('W1: an append that conflicts writes nothing', async (store) => {
    await store.append({ stream: 'a', events: happenings(2) })
    await nothingWritten(store, () =>
      failureOf(ConflictError, () => store.append({ stream: 'a', events: happenings(5), expected: 0 })),
    )
  })

  prove('W1: an append whose last event is refused writes nothing', async (store) => {
    const events = [...happenings(3), { type: 'Thing.Happened', data: { n: 1n } }]
    await nothingWritten(store, () =>
      failureOf(InvalidDataError, () => store.append({ stream: 'a', events, expected: 'none' })),
    )
  })

  prove(
    'W1: each of 64 concurrent appends gets its own verdict when every third conflicts',
    async (store) => {
      const calls = upTo(64).map((i) =>
        store.append({ stream: `s-${i}`, events: happenings(2, i), expected: i % 3 === 2 ? 0 : 'none' }),
      )
      const { wins, lost } = await race(calls)
      assert.deepEqual(
        wins,
        upTo(64).map((i) => i % 3 !== 2),
      )
      for (const error of lost) assert.deepEqual([error.expected, error.actual], [0, 'none'])
      for (const i of upTo(64)) {
        assert.equal(await store.head(`s-${i}`), i % 3 === 2 ? 'none' : 1, `stream s-${i}`)
      }
      assert.equal((await everything(store)).length, 43 * 2)
    },
  )

  prove('W1: 64 concurrent appends to one stream leave no gap when every third conflicts', async (store) => {
    await store.append({ stream: 'a', events: [happened(-1)] })
    const calls = upTo(64).map((i) =>
      store.append({ stream: 'a', events: happenings(2, i * 2), expected: i % 3 === 2 ? 'none' : 'any' }),
    )
    const { wins, won } = await race(calls)
    assert.deepEqual(
      wins,
      upTo(64).map((i) => i % 3 !== 2),
    )
    const events = await drain(store.read('a'))
    assert.deepEqual(revisionsOf(events), upTo(1 + 43 * 2))
    for (const { events: own } of won) {
      assert.deepEqual(events.slice(own[0]?.revision, (own[0]?.revision ?? 0) + 2), own)
    }
  })

  prove(
    'W1: none of 64 concurrent appends over two streams is half written when every third conflicts on its second stream',
    { needs: ['severalStreams'] },
    async (store) => {
      const calls = upTo(64).map((i) =>
        store.append([
          { stream: `left-${i}`, events: [happened(i)], expected: 'none' },
          { stream: `right-${i}`, events: [happened(i)], expected: i % 3 === 2 ? 'exists' : 'none' },
        ]),
      )
      const { wins } = await race(calls)
      assert.deepEqual(
        wins,
        upTo(64).map((i) => i % 3 !== 2),
      )
      for (const i of upTo(64)) {
        const heads = [await store.head(`left-${i}`), await store.head(`right-${i}`)]
        assert.deepEqual(heads, i % 3 === 2 ? ['none', 'none'] : [0, 0])
      }
    },
  )

  prove('W5: acknowledged events are unchanged after a restart', async (store, realm) => {
    const acknowledged = await Promise.all(
      upTo(20).map((i) => store.append({ stream: `s-${i % 3}`, events: happenings(3, i) })),
    )
    const before = await everything(store)
    const after = await everything(await realm.restart())
    assert.deepEqual(after, before)
    const positions = new Set(positionsOf(after))
    for (const { events } of acknowledged)
      for (const { position } of events) assert.ok(positions.has(position))
  })
}
