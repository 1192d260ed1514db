import { createStore, load } from 'mneme'
import { describe, expect, test } from 'vitest'

import { fateOf, opened, rawClient, served, unique, where } from './rig.ts'
import { Lamp, switches } from '../../support/lamp.ts'

/** A lamp with a snapshot of its seven events, and the driver's own client. */
async function lamp() {
  const server = await served()
  const store = createStore(await opened(server))
  const id = unique()
  await store.append({ stream: Lamp(id), events: switches })
  await load(store, Lamp(id))
  await store.close()
  const adapter = await opened(server)
  const kept = () => adapter.snapshots!.get(Lamp(id).stream, 'Lamp')
  return { id, adapter, kept, store: createStore(adapter), client: rawClient(server) }
}

describe(`snapshots, ${where}`, () => {
  test('snapshots are no part of the log, and a stream keeps one', async () => {
    const { id, adapter, store, kept, client } = await lamp()
    expect(await kept()).toMatchObject({ revision: 6 })
    const { position } = await store.append({ stream: Lamp(id), events: switches })
    await adapter.snapshots!.put({
      ...{ stream: Lamp(id).stream, name: 'Lamp', revision: 0, content: 'the second one' },
      id: (await store.readPage(Lamp(id), { limit: 1 })).events[0]!.id,
    })
    expect(await store.logHead()).toBe(position)
    for await (const { stream } of store.readAll()) expect(stream).not.toMatch(/^(\$|mneme:snapshot)/)
    for await (const { stream, position: at } of store.subscribe()) {
      expect(stream).not.toMatch(/^(\$|mneme:snapshot)/)
      if (at === position) break
    }
    const names = new Set<string>()
    const own = {
      fromPosition: 'start',
      filter: { filterOn: 'streamName', regex: '^mneme:snapshot-' },
    } as const
    const read = {
      ...own,
      direction: 'forwards',
      maxCount: 1_000n,
      requiresLeader: false,
      resolvesLink: false,
    } as const
    for await (const batch of client.rustClient.readAll(read)) {
      for (const { event: record } of batch) {
        if (Buffer.from(record!.data).includes(id)) names.add(record!.streamId)
      }
    }
    const [name] = names
    expect(names.size).toBe(1)
    const records = []
    for await (const { event: record } of client.readStream(name!)) records.push(record!.data)
    expect(records).toEqual([expect.objectContaining({ stream: Lamp(id).stream, content: 'the second one' })])
  })

  test('a stream whose beginning was cut off is folded from its snapshot', async () => {
    const { id, store, client } = await lamp()
    await client.setStreamMetadata(Lamp(id).stream, { truncateBefore: 6 })
    expect(await load(store, Lamp(id))).toEqual({ state: { times: 7 }, revision: 6 })
  })

  test('a stream that was deleted and begun anew is not folded from its snapshot', async () => {
    const { id, store, client } = await lamp()
    await client.deleteStream(Lamp(id).stream)
    expect(await fateOf(load(store, Lamp(id)))).toMatchObject({ code: 'STREAM_TRUNCATED' })
    await store.append({ stream: Lamp(id), events: switches })
    expect(await fateOf(load(store, Lamp(id)))).toMatchObject({ code: 'STREAM_TRUNCATED' })
  })

  test('a deleted snapshot is gone, and a later one takes its place', async () => {
    const { id, adapter, store, kept } = await lamp()
    await adapter.snapshots!.delete(Lamp(id).stream)
    expect(await kept()).toBeUndefined()
    const [first] = (await store.readPage(Lamp(id), { limit: 1 })).events
    const snapshot = { stream: Lamp(id).stream, name: 'Lamp', revision: 0, id: first!.id, content: '{}' }
    expect(await adapter.snapshots!.put(snapshot)).toBe(true)
    expect(await kept()).toEqual({ revision: 0, id: first!.id, content: '{}' })
  })

  test('no snapshot is kept of a stream that was deleted for good', async () => {
    const { id, adapter, store, client } = await lamp()
    const [first] = (await store.readPage(Lamp(id), { limit: 1 })).events
    await client.tombstoneStream(Lamp(id).stream)
    const snapshot = { stream: Lamp(id).stream, name: 'Lamp', revision: 0, id: first!.id, content: '{}' }
    expect(await adapter.snapshots!.put(snapshot)).toBe(false)
  })
})
