import assert from 'node:assert/strict'
import { UnsupportedError } from '../../base/errors.ts'
import type { StreamSummary } from '../../adapter/store-adapter.ts'
import { changed } from './faults.ts'
import { drain, failureOf, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happenings, upTo } from './sample-events.ts'

/** Names in the order of their bytes in UTF-8. UTF-16 and alphabets order some of them otherwise. */
const names = [
  ...['A', 'Door', 'Door!x', 'Door, shut', 'Door-', 'Door- 1', 'Door-1', 'Door-1-2', 'Door-10', 'Door-2'],
  ...['Door-a', 'Door-é', 'Door-\uFFFD', 'Door-\u{1F6AA}', 'Door.x', 'Door.x-1', 'Doors-1', 'a', 'door-1'],
  ...['z', 'é', '\uFB01', '\u{10000}'],
]

/** R6: the streams of a store are listed in one order, with their heads. */
export function listing(prove: Prove): void {
  prove(
    "R6: streams are listed in the order of their names' bytes, with their revisions and numbers of events",
    { needs: ['listsStreams'] },
    async (store, realm) => {
      assert.deepEqual(await drain(store.streams()), [])
      const scattered = [...names].sort((a, b) => a.length - b.length || (a < b ? 1 : -1))
      for (const [i, stream] of scattered.entries()) {
        await store.append({ stream, events: happenings(1 + (i % 3)) })
        if (i % 5 === 0) await store.append({ stream, events: happenings(2) })
      }
      const expected: StreamSummary[] = []
      for (const stream of names) {
        const revision = (await store.head(stream)) as number
        expected.push({ stream, revision, events: revision + 1 })
      }
      assert.deepEqual(await drain(store.streams()), expected)
      assert.deepEqual(await drain((await realm.restart()).streams()), expected)
    },
  )

  prove(
    'R6: the streams of a category are listed, and of no other category that begins like it',
    { needs: ['listsStreams'] },
    async (store) => {
      for (const stream of names) await store.append({ stream, events: happenings(1) })
      for (const category of ['Door', 'Door.x', 'Doors', 'door', 'Doo', 'Door-1', 'é', 'D%', 'Door!x']) {
        const expected = names.filter((name) => name.split('-', 1)[0] === category)
        const listed = await drain(store.streams({ category }))
        assert.deepEqual(
          listed.map(({ stream }) => stream),
          expected,
          category,
        )
        for (const after of ['A', 'Door', 'Door- 1', 'Door-1', 'Door-1z', 'Door-\u{1F6AA}', 'zz']) {
          const rest = await drain(store.streams({ category, after, limit: 3 }))
          const behind = expected.filter((name) => Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0)
          assert.deepEqual(
            rest.map(({ stream }) => stream),
            behind.slice(0, 3),
            `${category} after ${after}`,
          )
        }
      }
    },
  )

  prove(
    'R6: streams can be listed in parts of any size, from name to name',
    { needs: ['listsStreams'] },
    async (store) => {
      for (const stream of names) await store.append({ stream, events: happenings(1) })
      for (const limit of [1, 2, 7, names.length, 100]) {
        const all: string[] = []
        for (;;) {
          const after = all.at(-1)
          const part = await drain(store.streams({ limit, ...(after !== undefined && { after }) }))
          assert.ok(part.length <= limit)
          all.push(...part.map(({ stream }) => stream))
          if (part.length === 0) break
        }
        assert.deepEqual(all, names)
      }
    },
  )

  prove(
    'R6: listing streams neither loses nor duplicates one at the end of a page, and stops with its reader',
    { needs: ['listsStreams'] },
    async (store) => {
      const many = upTo(1_030).map((i) => `s-${String(i).padStart(5, '0')}`)
      for (let i = 0; i < many.length; i += 206) {
        await store.append(many.slice(i, i + 206).map((stream) => ({ stream, events: happenings(1) })))
      }
      assert.deepEqual(
        (await drain(store.streams())).map(({ stream }) => stream),
        many,
      )
      const some = await drain(store.streams({ category: 's', limit: 1_001 }))
      assert.deepEqual(
        some.map(({ stream }) => stream),
        many.slice(0, 1_001),
      )
      for await (const { stream } of store.streams()) if (stream === many[300]) break
      const controller = new AbortController()
      const reason = new Error('enough')
      const listing = store.streams({ signal: controller.signal })
      await listing.next()
      controller.abort(reason)
      assert.equal(await thrownBy(() => listing.next()), reason)
      assert.deepEqual(await listing.next(), { done: true, value: undefined })
    },
  )

  prove('R6: a store that does not list its streams says so', async (_, realm) => {
    const blind = await realm.open((adapter) =>
      changed(adapter, { capabilities: { ...adapter.capabilities, listsStreams: false } }),
    )
    const error = await failureOf(UnsupportedError, () => blind.streams())
    assert.match(error.message, /no index of the names of streams/)
  })
}
