import assert from 'node:assert/strict'
import { drain, everything } from './outcomes.ts'
import type { Prove } from './prove.ts'
import type { Recorded } from '../../model/event.ts'
import type { EventToAppend } from '../../store/event-store.ts'

/** W6: an event is never a live reference. */
export function isolation(prove: Prove): void {
  prove('W6: changing objects after passing them to append changes no stored event', async (store) => {
    const data = { list: [{ n: 1 }], text: 'before' }
    const events: EventToAppend[] = [{ type: 'T', data }]
    const metadata = { actor: 'before' }
    const writes = [{ stream: 'a', events }]
    const call = store.append(writes, { metadata })
    const change = () => {
      data.text = 'after'
      data.list[0] = { n: 2 }
      data.list.push({ n: 3 })
      events.push({ type: 'U', data: {} })
      metadata.actor = 'after'
      writes.pop()
    }
    change()
    const { events: appended } = await call
    change()
    for (const event of [...appended, ...(await drain(store.read('a')))]) {
      assert.deepEqual(event.data, { list: [{ n: 1 }], text: 'before' })
      assert.deepEqual(event.metadata, { actor: 'before' })
    }
    assert.equal((await everything(store)).length, 1)
  })

  prove('W6: append neither changes nor freezes the objects passed to it', async (store) => {
    const data = { list: [{ n: 1 }], gone: undefined }
    const event = { type: 'T', data }
    const metadata = { actor: 'x' }
    await store.append({ stream: 'a', events: [event] }, { metadata })
    for (const value of [event, data, data.list, data.list[0], metadata]) assert.ok(!Object.isFrozen(value))
    assert.deepEqual(event, { type: 'T', data: { list: [{ n: 1 }], gone: undefined } })
  })

  prove('W6: changing the events that a store returned changes no stored event', async (store) => {
    const data = { list: [{ n: 1 }], text: 'x' }
    const result = await store.append(
      { stream: 'a', events: [{ type: 'T', data }] },
      { metadata: { actor: 'x' } },
    )
    const before = copyOf(await everything(store))
    for (const event of [...result.events, ...(await drain(store.read('a'))), ...(await everything(store))]) {
      spoil(event)
    }
    try {
      ;(result.revisions as Map<string, number>).set('a', 9)
    } catch {
      // As good.
    }
    assert.deepEqual(await everything(store), before)
    assert.deepEqual(await drain(store.read('a')), before)
    assert.equal(await store.head('a'), 0)
    const { events } = await store.append({ stream: 'a', events: [{ type: 'T', data: {} }], expected: 0 })
    assert.equal(events[0]?.revision, 1)
  })

  prove(
    'W6: changing the events that a known key returned changes no stored event',
    { needs: ['keys'] },
    async (store) => {
      const append = () =>
        store.append({ stream: 'a', events: [{ type: 'T', data: { list: [1] } }] }, { key: 'k' })
      const first = copyOf((await append()).events)
      const again = await append()
      for (const event of again.events) spoil(event)
      ;(again.revisions as Map<string, number>).clear()
      const { events, revisions } = await append()
      assert.deepEqual(events, first)
      assert.deepEqual([...revisions], [['a', 0]])
    },
  )
}

/** Changes whatever can be changed; being frozen is as good as being a copy. */
function spoil(event: Recorded): void {
  const { data, metadata } = event as {
    data: { list?: unknown[]; text?: string }
    metadata: Record<string, string>
  }
  const changes = [
    () => data.list?.push('spoilt'),
    () => Object.assign(data.list?.[0] ?? {}, { n: 'spoilt' }),
    () => Object.assign(data, { text: 'spoilt' }),
    () => Object.assign(metadata, { actor: 'spoilt', other: 'spoilt' }),
    () =>
      Object.assign(event, {
        stream: 'spoilt',
        revision: 99,
        position: 'spoilt',
        type: 'spoilt',
        id: 'spoilt',
      }),
  ]
  for (const change of changes) {
    try {
      change()
    } catch {
      // Frozen.
    }
  }
}

/** A deep copy. That of `structuredClone` is of another realm in some test runners, and equals nothing there. */
function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}
