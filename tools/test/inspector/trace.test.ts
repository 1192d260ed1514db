import type { EventStore, Metadata } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, onTestFinished, test } from 'vitest'

import { ask, inspect } from './calls.ts'

async function open() {
  const store = memoryStore()
  const inspector = inspect({ store })
  onTestFinished(async () => {
    await inspector.close()
    await store.close()
  })
  const traced = async (query: object) => {
    const { nodes, ...rest } = await ask(inspector, 'trace', query)
    const lines = nodes.map(
      ({ event, depth, isWanted }) => `${'  '.repeat(depth)}${event.type}${isWanted ? ' <' : ''}`,
    )
    return { lines, ...rest }
  }
  return { store, traced }
}

/** Appends an event to a stream of its own. @returns its id */
async function append(store: EventStore, type: string, metadata: Metadata = {}): Promise<string> {
  const { events } = await store.append({ stream: `S-${type}`, events: [{ type, data: {} }] }, { metadata })
  return events[0]!.id
}

async function noise(store: EventStore, count: number) {
  const events = Array.from({ length: count }, () => ({ type: 'Noise', data: {} }))
  await store.append({ stream: 'Noise-1', events })
}

test('what an event follows from and what follows from it is a tree, in the order of the store', async () => {
  const { store, traced } = await open()
  const placed = await append(store, 'Placed')
  const paid = await append(store, 'Paid', { causation: placed })
  await append(store, 'Other')
  const shipped = await append(store, 'Shipped', { causation: paid })
  await append(store, 'Reserved', { causation: placed })
  await append(store, 'Delivered', { causation: shipped })
  const whole = ['Placed', '  Paid', '    Shipped', '      Delivered', '  Reserved']
  const { lines, isWhole } = await traced({ at: { stream: 'S-Paid', revision: 0 } })
  expect(lines).toEqual(whole.map((line) => (line === '  Paid' ? '  Paid <' : line)))
  expect(isWhole).toBe(true)
  expect((await traced({ wanted: shipped })).lines).toEqual(
    whole.map((line) => (line.endsWith('Shipped') ? `${line} <` : line)),
  )
})

test('what has the same correlation belongs to it, by its cause or beside', async () => {
  const { store, traced } = await open()
  const correlation = 'request-1'
  const asked = await append(store, 'Asked', { correlation, causation: 'a command of another program' })
  await append(store, 'Other', { correlation: 'request-2' })
  await append(store, 'Answered', { correlation, causation: asked })
  await append(store, 'Logged', { correlation })
  await append(store, 'Followed', { causation: asked })
  const tree = ['Asked', '  Answered', '  Followed', 'Logged']
  expect((await traced({ wanted: correlation })).lines).toEqual(tree)
  const { lines } = await traced({ at: { stream: 'S-Logged', revision: 0 } })
  expect(lines).toEqual([...tree.slice(0, 3), 'Logged <'])
  expect((await traced({ wanted: 'request-3' })).lines).toEqual([])
})

test('a search ends after a number of events, and says so', async () => {
  const { store, traced } = await open()
  const first = await append(store, 'First')
  await noise(store, 300)
  const second = await append(store, 'Second', { causation: first })
  await noise(store, 300)
  await append(store, 'Third', { causation: second })
  const at = { stream: 'S-Second', revision: 0 }
  expect(await traced({ at, budget: 200 })).toEqual({ lines: ['Second <'], scanned: 200, isWhole: false })
  const whole = { lines: ['First', '  Second <', '    Third'], isWhole: true }
  expect(await traced({ at, budget: 400 })).toMatchObject(whole)
})

test('a correlation of very many events is shown in part', async () => {
  const { store, traced } = await open()
  const events = Array.from({ length: 900 }, () => ({ type: 'Counted', data: {} }))
  await store.append({ stream: 'S-1', events }, { metadata: { correlation: 'all' } })
  const { lines, isWhole } = await traced({ wanted: 'all' })
  expect([lines.length, isWhole]).toEqual([500, false])
})

test('events that name each other as their cause end the search', async () => {
  const { store, traced } = await open()
  const id = '00000000-0000-4000-8000-000000000001'
  await store.append(
    { stream: 'S-Self', events: [{ id, type: 'Self', data: {} }] },
    { metadata: { causation: id } },
  )
  expect((await traced({ at: { stream: 'S-Self', revision: 0 } })).lines).toEqual(['Self <'])
})
