import assert from 'node:assert/strict'
import { ConflictError } from '../../base/errors.ts'
import { drain, everything, failureOf, nothingWritten, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, identified, upTo } from './sample-events.ts'

/** W4: the same event ids again, with the same exact expectation, are a success and one copy. */
export function repeating(prove: Prove): void {
  for (const expected of ['none', 1] as const) {
    const prepared = expected === 1 ? happenings(2) : []

    prove(
      `W4: the same append sent again, expecting ${expected}, succeeds and stores one copy`,
      async (store) => {
        await store.append({ stream: 'a', events: prepared })
        const write = { stream: 'a', events: identified(happenings(3)), expected }
        const first = await store.append(write)
        const again = await nothingWritten(store, () => store.append(write))
        assert.deepEqual(again, { ...first, repeated: true })
      },
    )

    prove(
      `W4: the same append sent by 10 callers at once, expecting ${expected}, succeeds 10 times and stores one copy`,
      async (store, realm) => {
        const stores = [store, await realm.open()]
        await store.append({ stream: 'a', events: prepared })
        const write = { stream: 'a', events: identified(happenings(3)), expected }
        const results = await Promise.all(upTo(10).map((i) => stores[i % 2]!.append(write)))
        assert.equal(results.filter(({ repeated }) => !repeated).length, 1)
        for (const { events } of results) assert.deepEqual(events, results[0]?.events)
        assert.deepEqual((await everything(store)).slice(prepared.length), results[0]?.events)
      },
    )

    prove(
      `W4: the same append sent after others and a restart, expecting ${expected}, answers as the first one did`,
      async (store, realm) => {
        await store.append({ stream: 'a', events: prepared })
        const write = { stream: 'a', events: identified(happenings(3)), expected }
        const first = await store.append(write)
        await store.append({ stream: 'b', events: happenings(5) })
        await store.append({ stream: 'a', events: happenings(5) })
        assert.deepEqual(await nothingWritten(store, () => store.append(write)), { ...first, repeated: true })
        const reopened = await realm.restart()
        assert.deepEqual(await nothingWritten(reopened, () => reopened.append(write)), {
          ...first,
          repeated: true,
        })
      },
    )
  }

  prove('W4: repeated and new appends made at once each get their own verdict', async (store) => {
    const writes = upTo(10).map((i) => ({
      stream: `s-${i}`,
      events: identified(happenings(2)),
      expected: 'none' as const,
    }))
    const { won, lost } = await race(
      upTo(40).map((i) => {
        const write = writes[i % 10]!
        return store.append(i % 4 === 3 ? { ...write, events: happenings(2) } : write)
      }),
    )
    const log = await everything(store)
    assert.equal(log.length, 20)
    assert.equal(won.filter(({ repeated }) => !repeated).length, 10)
    assert.equal(won.length + lost.length, 40)
    for (const { events } of won)
      for (const event of events)
        assert.deepEqual(
          log.find(({ id }) => id === event.id),
          event,
        )
  })

  prove(
    'W4: an append with other ids, another order, or more events than the first one is a conflict',
    async (store) => {
      const [a, b, c] = identified(happenings(3)) as [
        ReturnType<typeof happened>,
        ReturnType<typeof happened>,
        ReturnType<typeof happened>,
      ]
      await store.append({ stream: 'a', events: [a, b], expected: 'none' })
      await nothingWritten(store, async () => {
        for (const events of [identified(happenings(2)), [b, a], [a, b, c], [a, c], [c, b], [b]]) {
          const { actual } = await failureOf(ConflictError, () =>
            store.append({ stream: 'a', events, expected: 'none' }),
          )
          assert.equal(actual, 1)
        }
      })
    },
  )

  prove('W4: the first few events of an append sent again succeed and are stored once', async (store) => {
    const events = identified(happenings(3))
    const first = await store.append({ stream: 'a', events, expected: 'none' })
    const again = await nothingWritten(store, () =>
      store.append({ stream: 'a', events: events.slice(0, 2), expected: 'none' }),
    )
    assert.equal(again.repeated, true)
    assert.deepEqual(again.events, first.events.slice(0, 2))
    assert.deepEqual([...again.revisions], [['a', 1]])
  })

  prove(
    'W4: the same ids with another expected revision, which does not hold, are a conflict',
    async (store) => {
      const events = identified(happenings(2))
      await store.append({ stream: 'a', events, expected: 'none' })
      await store.append({ stream: 'a', events: happenings(3) })
      await nothingWritten(store, async () => {
        for (const expected of [0, 1, 2, 3, 7]) {
          await failureOf(ConflictError, () => store.append({ stream: 'a', events, expected }))
        }
      })
    },
  )

  prove('W4: an empty append is never a repeat', async (store) => {
    await store.append({ stream: 'a', events: identified(happenings(2)), expected: 'none' })
    await failureOf(ConflictError, () => store.append({ stream: 'a', expected: 'none' }))
  })

  prove(
    'W4: the same append over several streams stores one copy, even after those streams have grown',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      await store.append({ stream: 'read', events: happenings(2) })
      const [a, b, c] = identified(happenings(3))
      const writes = [
        { stream: 'a', events: [a!], expected: 'none' as const },
        { stream: 'read', expected: 1 },
        { stream: 'b', events: [b!], expected: 'none' as const },
        { stream: 'a', events: [c!] },
      ]
      const results = await Promise.all(upTo(6).map(() => store.append(writes)))
      const first = results.find(({ repeated }) => !repeated)
      assert.ok(first)
      for (const stream of ['read', 'a', 'b', 'c']) await store.append({ stream, events: happenings(2) })
      const reopened = await realm.restart()
      const again = await nothingWritten(reopened, () => reopened.append(writes))
      assert.deepEqual(again.events, first.events)
      assert.deepEqual([again.position, again.repeated], [first.position, true])
      assert.deepEqual([again.revisions.get('a'), again.revisions.get('b')], [1, 0])
      for (const { events } of results) assert.deepEqual(events, first.events)
    },
  )

  for (const loose of ['any', 'exists'] as const) {
    prove(
      `W4: one exact expected revision beside ${loose} makes a repeat recognisable, in whichever order`,
      { needs: ['severalStreams'] },
      async (store) => {
        await store.append({ stream: 'loose', events: happenings(2) })
        for (const turned of [false, true]) {
          const [a, b] = identified(happenings(2))
          const pair = [
            { stream: `exact-${turned}`, events: [a!], expected: 'none' as const },
            { stream: 'loose', events: [b!], expected: loose },
          ]
          const writes = turned ? pair.reverse() : pair
          const first = await store.append(writes)
          await store.append({ stream: 'loose', events: happenings(2) })
          const again = await nothingWritten(store, () => store.append(writes))
          assert.deepEqual(again, { ...first, repeated: true })
        }
      },
    )
  }

  prove(
    'W4: the ids of two appends joined in one are not a repeat',
    { needs: ['severalStreams'] },
    async (store) => {
      const [a, b] = identified(happenings(2))
      await store.append({ stream: 'a', events: [a!], expected: 'none' })
      await store.append({ stream: 'between', events: [happened(0)] })
      await store.append({ stream: 'b', events: [b!], expected: 'none' })
      await nothingWritten(store, () =>
        failureOf(ConflictError, () =>
          store.append([
            { stream: 'a', events: [a!], expected: 'none' },
            { stream: 'b', events: [b!], expected: 'none' },
          ]),
        ),
      )
    },
  )

  prove('W4: a repeat answers with the stored events, not with those sent again', async (store) => {
    const [event] = identified([happened(1)])
    await store.append({ stream: 'a', events: [event!], expected: 'none' }, { metadata: { actor: 'first' } })
    const again = await store.append(
      { stream: 'a', events: [{ ...event!, data: { n: 2 } }], expected: 'none' },
      { metadata: { actor: 'second' } },
    )
    assert.deepEqual(again.events, await drain(store.read('a')))
  })
}
