import assert from 'node:assert/strict'
import { ConflictError, KeyReusedError } from '../../base/errors.ts'
import type { StreamWrite } from '../../store/event-store.ts'
import { everything, failureOf, nothingWritten, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import type { Proof } from './realm.ts'
import { happened, happenings, idsOf, upTo } from './sample-events.ts'

/** W4: an idempotency key is kept with the append that it came with, and answers for it ever after. */
export function keys(prove: Prove): void {
  const proveKeys = (name: string, proof: Proof): void => prove(name, { needs: ['keys'] }, proof)

  proveKeys("W4: a key used again appends nothing and returns the first append's result", async (store) => {
    const write: StreamWrite = { stream: 'a', events: happenings(3), expected: 'none' }
    const first = await store.append(write, { key: 'k', metadata: { actor: 'ann' } })
    assert.equal(first.repeated, false)
    await store.append({ stream: 'a', events: happenings(2) })
    const again = await nothingWritten(store, () =>
      store.append(write, { key: 'k', metadata: { actor: 'bob' } }),
    )
    assert.deepEqual(again, { ...first, repeated: true })
  })

  proveKeys('W4: a known key answers before the expected revision is checked', async (store) => {
    const events = [happened(1)]
    await store.append({ stream: 'a', events, expected: 'none' }, { key: 'k' })
    for (const expected of ['any', 'none', 'exists', 0, 7] as const) {
      const again = await nothingWritten(store, () =>
        store.append({ stream: 'a', events, expected }, { key: 'k' }),
      )
      assert.equal(again.repeated, true)
    }
  })

  for (const expected of ['any', 'none'] as const) {
    proveKeys(
      `W4: one key used by 20 callers at once, expecting ${expected}, makes one append and 20 equal results`,
      async (store, realm) => {
        const stores = [store, await realm.open()]
        const results = await Promise.all(
          upTo(20).map((i) =>
            stores[i % 2]!.append({ stream: 'a', events: happenings(2), expected }, { key: 'k' }),
          ),
        )
        assert.equal(results.filter(({ repeated }) => !repeated).length, 1)
        const log = await everything(store)
        for (const result of results) {
          assert.deepEqual(result.events, log)
          assert.deepEqual([...result.revisions], [['a', 1]])
          assert.equal(result.position, log.at(-1)?.position)
        }
      },
    )
  }

  proveKeys('W4: a key is still known after 10,000 other events and a restart', async (store, realm) => {
    const write = { stream: 'a', events: happenings(3) }
    const first = await store.append(write, { key: 'k' })
    for (const i of upTo(10))
      await store.append({ stream: `other-${i}`, events: happenings(1000) }, { key: `other-${i}` })
    const reopened = await realm.restart()
    const head = await reopened.logHead()
    assert.deepEqual(await reopened.append(write, { key: 'k' }), { ...first, repeated: true })
    assert.equal(await reopened.logHead(), head)
  })

  proveKeys('W4: the same key with another input is an error', async (store) => {
    const write: StreamWrite = { stream: 'a', events: happenings(2) }
    await store.append(write, { key: 'k' })
    const others: StreamWrite[] = [
      { stream: 'b', events: happenings(2) },
      { stream: 'a', events: happenings(2, 1) },
      { stream: 'a', events: happenings(2).reverse() },
      { stream: 'a', events: happenings(3) },
      { stream: 'a', events: happenings(1) },
      { stream: 'a', events: [] },
      { stream: 'a', events: happenings(2).map((event) => ({ ...event, type: 'Thing.Else' })) },
      { stream: 'a', events: happenings(2).map((event) => ({ ...event, version: 2 })) },
    ]
    await nothingWritten(store, async () => {
      for (const other of others) {
        const { key } = await failureOf(KeyReusedError, () => store.append(other, { key: 'k' }))
        assert.equal(key, 'k')
      }
    })
    assert.equal((await store.append(write, { key: 'k' })).repeated, true)
  })

  proveKeys('W4: the order of the properties of data does not matter to a key', async (store) => {
    const write = (data: object) => ({ stream: 'a', events: [{ type: 'Thing.Made', data }] })
    await store.append(write({ x: 1, y: { p: 2, q: 3 } }), { key: 'k' })
    assert.equal((await store.append(write({ y: { q: 3, p: 2 }, x: 1 }), { key: 'k' })).repeated, true)
  })

  proveKeys('W4: exactly one of 20 concurrent inputs under one key wins', async (store, realm) => {
    const stores = [store, await realm.open()]
    const { won } = await race(
      upTo(20).map((i) => stores[i % 2]!.append({ stream: `s-${i}`, events: [happened(i)] }, { key: 'k' })),
      KeyReusedError,
    )
    assert.equal(won.length, 1)
    assert.deepEqual(await everything(store), won[0]?.events)
  })

  proveKeys('W4: an append that conflicts keeps no key', async (store) => {
    const events = happenings(2)
    await failureOf(ConflictError, () => store.append({ stream: 'a', events, expected: 0 }, { key: 'k' }))
    const result = await store.append({ stream: 'a', events, expected: 'none' }, { key: 'k' })
    assert.equal(result.repeated, false)
    assert.equal(await store.head('a'), 1)
  })

  proveKeys('W4: an empty append keeps no key', async (store) => {
    assert.equal((await store.append({ stream: 'a', expected: 'none' }, { key: 'k' })).repeated, false)
    assert.equal((await store.append({ stream: 'b', events: [happened(1)] }, { key: 'k' })).repeated, false)
  })

  proveKeys('W4: keys that differ only in their last character are different keys', async (store) => {
    const names = [
      'k',
      'K',
      'k ',
      'kk',
      "k'",
      'k"',
      'k%',
      'k_',
      'k\\',
      'é',
      'e\u0301',
      '__proto__',
      'constructor',
      '😀',
    ]
    for (const [i, key] of names.entries()) {
      assert.equal((await store.append({ stream: 'a', events: [happened(i)] }, { key })).repeated, false, key)
    }
    for (const [i, key] of names.entries()) {
      const { events, repeated } = await store.append({ stream: 'a', events: [happened(i)] }, { key })
      assert.deepEqual([repeated, events[0]?.revision], [true, i], key)
    }
  })

  proveKeys('W4: each of 64 concurrent appends is kept under its own key', async (store, realm) => {
    const write = (i: number): StreamWrite => ({ stream: `s-${i % 4}`, events: happenings(1 + (i % 3), i) })
    const calls = upTo(64).map((i) => store.append(write(i), { key: `k-${i}` }))
    const first = await Promise.all(calls)
    const reopened = await realm.restart()
    await nothingWritten(reopened, async () => {
      const again = await Promise.all(upTo(64).map((i) => reopened.append(write(i), { key: `k-${i}` })))
      assert.deepEqual(
        again.map(({ events }) => idsOf(events)),
        first.map(({ events }) => idsOf(events)),
      )
      assert.deepEqual(
        again.map(({ revisions }) => [...revisions]),
        first.map(({ revisions }) => [...revisions]),
      )
    })
  })

  prove(
    'W4: the key of an append over several streams answers with all of them',
    { needs: ['keys', 'severalStreams'] },
    async (store, realm) => {
      await store.append({ stream: 'read', events: happenings(3) })
      const writes: StreamWrite[] = [
        { stream: 'a', events: happenings(2), expected: 'none' },
        { stream: 'read', expected: 2 },
        { stream: 'b', events: [happened(9)], expected: 'any' },
      ]
      const first = await store.append(writes, { key: 'k' })
      for (const stream of ['a', 'b', 'read']) await store.append({ stream, events: [happened(0)] })
      const reopened = await realm.restart()
      assert.deepEqual(await reopened.append(writes, { key: 'k' }), { ...first, repeated: true })
      assert.deepEqual(
        [...first.revisions],
        [
          ['a', 1],
          ['read', 2],
          ['b', 0],
        ],
      )
      await failureOf(KeyReusedError, () => reopened.append(writes.slice(0, 2), { key: 'k' }))
    },
  )
}
