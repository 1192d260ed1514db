import assert from 'node:assert/strict'
import { everything } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, upTo } from './sample-events.ts'

/** R1: where a stream and the store stand, and what store it is. */
export function standing(prove: Prove): void {
  prove('R1: the head of a stream is the revision of its last event', async (store, realm) => {
    const other = await realm.open()
    assert.equal(await store.head('a'), 'none')
    for (const i of upTo(3)) {
      await store.append({ stream: 'a', events: happenings(2) })
      for (const each of [store, other]) assert.equal(await each.head('a'), i * 2 + 1)
    }
    assert.equal(await store.head('b'), 'none')
    assert.equal(await (await realm.restart()).head('a'), 5)
  })

  prove('R1: the head of the store is the position of its last event', async (store, realm) => {
    const other = await realm.open()
    assert.equal(await store.logHead(), undefined)
    for (const stream of ['a', 'b', 'a']) {
      const { position } = await store.append({ stream, events: happenings(3) })
      assert.ok(position !== undefined)
      for (const each of [store, other]) assert.equal(await each.logHead(), position)
      assert.equal((await everything(store)).at(-1)?.position, position)
    }
    const head = await store.logHead()
    assert.equal(await (await realm.restart()).logHead(), head)
  })

  prove('R1: positions keep rising after a restart', async (store, realm) => {
    const first = await store.append({ stream: 'a', events: happenings(3) })
    const reopened = await realm.restart()
    const second = await reopened.append({ stream: 'a', events: [happened(3)], expected: 2 })
    assert.ok(first.position! < second.position!)
    assert.deepEqual([...second.revisions], [['a', 3]])
  })

  prove('R1: every connection sees what another connection has acknowledged', async (store, realm) => {
    const other = await realm.open()
    for (const i of upTo(20)) {
      const [writer, reader] = i % 2 === 0 ? [store, other] : [other, store]
      const { position } = await writer.append({ stream: 'a', events: [happened(i)] })
      assert.equal(await reader.head('a'), i)
      assert.equal(await reader.logHead(), position)
      assert.equal((await everything(reader)).length, i + 1)
    }
  })

  prove(
    'R1: the identity of a store is a UUID, the same for every connection and after a restart',
    async (store, realm) => {
      const identities = await Promise.all(
        [store, await realm.open(), await realm.open()].map((each) => each.identity()),
      )
      const [identity] = identities
      assert.match(identity ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
      for (const each of identities) assert.equal(each, identity)
      await store.append({ stream: 'a', events: [happened(0)] })
      assert.equal(await (await realm.restart()).identity(), identity)
    },
  )

  prove(
    'F1: a store declares the capabilities that the suite was told, by which it skips cases',
    (store, realm) => {
      const { needed: _, ...capabilities } = store.capabilities
      assert.deepEqual(capabilities, realm.capabilities)
      return Promise.resolve()
    },
  )
}
