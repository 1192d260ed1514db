import type { EventStore } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { describe, expect, onTestFinished, test } from 'vitest'

import { serverProblem } from '../../../test/stores/postgres/server.ts'
import type { EventRow } from '../../src/inspector/api.ts'
import { ask, inspect } from './calls.ts'
import { stores } from './open-stores.ts'
import { cancel, fillShop, Order, place, Stock } from './shop.ts'

/** All that the inspector says of a shop, but for what is of one store only: ids, positions, times. */
async function seenOf(store: EventStore) {
  onTestFinished(() => store.close())
  await fillShop(store, 6)
  const inspector = inspect({ store, aggregates: [Order, Stock], commands: [place, cancel] })
  onTestFinished(() => inspector.close())
  const rows = (events: readonly EventRow[]) =>
    events.map(({ stream, revision, type, preview }) => `${String(revision)}@${stream} ${type} ${preview}`)

  const stream = await ask(inspector, 'stream', { stream: 'Order-1003', limit: 2 })
  const log = await ask(inspector, 'log', { categories: ['Stock'], direction: 'backwards', limit: 5 })
  const earlier = await ask(inspector, 'log', {
    categories: ['Stock'],
    direction: 'backwards',
    after: log.next!,
  })
  const timed = await ask(inspector, 'log', { since: '2020-01-01', until: '2100-01-01', limit: 100 })
  const end = await ask(inspector, 'tail', { types: ['Order.Shipped'] })
  await store.append({ stream: 'Other-1', events: [{ type: 'Noted', data: {} }] })
  const later = await ask(inspector, 'tail', { after: end.after })
  const trace = await ask(inspector, 'trace', { at: { stream: 'Order-1005', revision: 1 } })
  const throughput = await ask(inspector, 'throughput', {})
  const states = []
  for (const revision of [-1, 3, 0, 2]) {
    const { state, changes } = await ask(inspector, 'state', { stream: 'Order-1003', revision })
    states.push([state.value, changes.map(({ path }) => path)])
  }
  const late = { command: 'order.cancel', with: { order: '1003', reason: 'late' } }
  const trials = [
    await ask(inspector, 'try', late),
    await ask(inspector, 'try', { ...late, at: { stream: 'Order-1003', revision: 1 } }),
  ]
  const event = await ask(inspector, 'event', { stream: 'Order-1003', revision: 0 })
  return {
    head: (await ask(inspector, 'about', {})).head === (await store.logHead()),
    stream: [rows(stream.events), stream.head, stream.next],
    log: [rows(log.events), rows(earlier.events), rows(timed.events)],
    tail: [rows(end.events), rows(later.events), later.passed],
    trace: trace.nodes.map(({ depth, event }) => [depth, event.stream, event.type]),
    throughput: [throughput.events, throughput.types],
    states,
    trials: trials.map(({ outcome }) => outcome),
    event: [event.data.value, event.metadata.value],
  }
}

describe.skipIf(serverProblem)('the inspector', () => {
  test.each(Object.entries(stores))('says of %s what it says of a store in memory', async (_, open) => {
    const expected = await seenOf(memoryStore())
    expect(expected.trials).toEqual(['rejected', 'accepted'])
    expect(await seenOf(await open())).toEqual(expected)
  })

  test('lists the streams of each store that can, and says so of one that cannot', async () => {
    for (const open of Object.values(stores)) {
      const store = await open()
      onTestFinished(() => store.close())
      await store.append({ stream: 'Stock-1', events: [{ type: 'Stock.Received', data: { quantity: 1 } }] })
      await store.append({ stream: 'Till', events: [{ type: 'Opened', data: {} }] })
      const inspector = inspect({ store })
      onTestFinished(() => inspector.close())
      if (!store.capabilities.listsStreams) {
        await expect(ask(inspector, 'streams', {})).rejects.toThrow('501 NOT_LISTED')
        continue
      }
      const { streams } = await ask(inspector, 'streams', { prefix: 'S' })
      expect(streams).toEqual([{ stream: 'Stock-1', events: 1, revision: 0 }])
      expect(await ask(inspector, 'categories', {})).toEqual({ categories: ['Stock', 'Till'] })
    }
  })
})
