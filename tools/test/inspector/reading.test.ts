import { importEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'

import { preview, show, valueAt } from '../../src/inspector/shown.ts'
import { ask, inspect } from './calls.ts'

async function inspectorOf(events: Readonly<Record<string, number>> = {}, store = memoryStore()) {
  for (const [stream, count] of Object.entries(events)) {
    const numbered = Array.from({ length: count }, (_, n) => ({
      type: n % 2 === 0 ? 'Even' : 'Odd',
      data: { n },
    }))
    await store.append({ stream, events: numbered })
  }
  const inspector = inspect({ store })
  onTestFinished(async () => {
    await inspector.close()
    await store.close()
  })
  return inspector
}

describe('streams', () => {
  test('are listed by pages, of one category, and by the beginning of their names', async () => {
    const names = [
      'Account-a',
      'Account-b',
      'Account-ä',
      'Account-\u{1f600}',
      'Accountant-1',
      'Till',
      'Till-1',
    ]
    const inspector = await inspectorOf(Object.fromEntries(names.map((name) => [name, 1])))
    const listed = async (query: object) => {
      const { streams, next } = await ask(inspector, 'streams', query)
      return [...streams.map(({ stream }) => stream), ...(next === undefined ? [] : ['…'])]
    }
    expect(await listed({})).toEqual(names)
    expect(await listed({ limit: 2 })).toEqual(['Account-a', 'Account-b', '…'])
    expect(await listed({ limit: 5, after: 'Account-b' })).toEqual(names.slice(2))
    expect(await listed({ category: 'Till' })).toEqual(['Till', 'Till-1'])
    expect(await listed({ prefix: 'Account-' })).toEqual(names.slice(0, 4))
    expect(await listed({ prefix: 'Account' })).toEqual(names.slice(0, 5))
    expect(await listed({ prefix: 'Account-ä' })).toEqual(['Account-ä'])
    expect(await listed({ prefix: 'Account-\u{1f600}' })).toEqual(['Account-\u{1f600}'])
    expect(await listed({ prefix: 'A', category: 'Accountant' })).toEqual(['Accountant-1'])
    expect(await listed({ prefix: 'Acc', limit: 1, after: 'Account-b' })).toEqual(['Account-ä', '…'])
    expect(await listed({ prefix: 'Z' })).toEqual([])
  })

  test('have categories, which are found without reading all names', async () => {
    const inspector = await inspectorOf({ 'A-1': 1, 'A-2': 1, B: 1, 'B!-1': 1, 'B-1': 1, 'C-1': 1 })
    const { categories, next } = await ask(inspector, 'categories', {})
    expect(categories).toEqual(['A', 'B', 'B!', 'C'])
    expect(next).toBeUndefined()
  })

  test('are browsed by revision, from either end', async () => {
    const inspector = await inspectorOf({ 'A-1': 10 })
    const first = await ask(inspector, 'stream', { stream: 'A-1', limit: 3 })
    expect([first.events.map(({ revision }) => revision), first.head, first.next]).toEqual([[0, 1, 2], 9, 3])
    const last = await ask(inspector, 'stream', { stream: 'A-1', limit: 3, direction: 'backwards' })
    expect([last.events.map(({ revision }) => revision), last.next]).toEqual([[9, 8, 7], 6])
    expect(await ask(inspector, 'stream', { stream: 'A-2' })).toEqual({ head: 'none', events: [] })
  })
})

describe('the log', () => {
  test('is filtered by stream, category and type', async () => {
    const inspector = await inspectorOf({ 'A-1': 3, 'B-1': 3 })
    const revisions = async (query: object) =>
      (await ask(inspector, 'log', query)).events.map(({ stream, revision }) => `${stream[0]!}${revision}`)
    expect(await revisions({ limit: 4 })).toEqual(['A0', 'A1', 'A2', 'B0'])
    expect(await revisions({ direction: 'backwards', types: ['Odd'] })).toEqual(['B1', 'A1'])
    expect(await revisions({ categories: ['B'] })).toEqual(['B0', 'B1', 'B2'])
    expect(await revisions({ streams: ['A-1'], types: ['Even'] })).toEqual(['A0', 'A2'])
  })

  test('is filtered by time, and says where a long search can go on', async () => {
    const inspector = await inspectorOf({ 'A-1': 9_000, 'A-2': 9_000, 'A-3': 9_000 })
    const { events } = await ask(inspector, 'log', { limit: 1 })
    const future = new Date(Date.parse(events[0]!.time) + 3_600_000).toISOString()
    const none = await ask(inspector, 'log', { since: future })
    expect([none.events.length, none.scanned]).toEqual([0, 20_000])
    const rest = await ask(inspector, 'log', { since: future, after: none.next! })
    expect([rest.events.length, rest.scanned, rest.next]).toEqual([0, 7_000, undefined])
    const all = await ask(inspector, 'log', { until: future, limit: 2 })
    expect([all.events.length, all.next]).toEqual([2, all.events[1]!.position])
  })
})

describe('the end of the log', () => {
  test('is followed without a gap, from a store that is empty on', async () => {
    const store = memoryStore()
    const inspector = await inspectorOf({}, store)
    const empty = await ask(inspector, 'tail', {})
    expect(empty).toEqual({ after: null, events: [], passed: 0, isBehind: false })
    await store.append({ stream: 'A-1', events: [{ type: 'One', data: {} }] })
    const one = await ask(inspector, 'tail', { after: empty.after })
    expect([one.passed, one.events.map(({ type }) => type)]).toEqual([1, ['One']])
    await store.append({ stream: 'A-1', events: ['Two', 'Three'].map((type) => ({ type, data: {} })) })
    const later = await ask(inspector, 'tail', { after: one.after })
    expect([later.passed, later.events.map(({ type }) => type)]).toEqual([2, ['Two', 'Three']])
    const opened = await ask(inspector, 'tail', {})
    expect([opened.passed, opened.events.map(({ type }) => type)]).toEqual([0, ['One', 'Two', 'Three']])
  })

  test('moves on with the log if nothing passes the filter', async () => {
    const store = memoryStore()
    const inspector = await inspectorOf({ 'A-1': 10 }, store)
    const { after } = await ask(inspector, 'tail', { categories: ['B'] })
    await store.append({ stream: 'A-1', events: [{ type: 'Odd', data: {} }] })
    const next = await ask(inspector, 'tail', { after, categories: ['B'] })
    expect([next.passed, next.after]).toEqual([0, await store.logHead()])
  })

  test('is answered in pieces of a bounded size, however much was appended', async () => {
    const inspector = await inspectorOf({ 'A-1': 9_000, 'A-2': 9_000, 'A-3': 9_000 })
    const first = await ask(inspector, 'tail', { after: null })
    expect([first.passed, first.events.length, first.isBehind]).toEqual([20_000, 100, true])
    const rest = await ask(inspector, 'tail', { after: first.after })
    expect([rest.passed, rest.events.length, rest.isBehind]).toEqual([7_000, 100, false])
    expect(rest.events.at(-1)).toMatchObject({ stream: 'A-3', revision: 8_999 })
  })
})

test('the throughput is that of the last events, by time, by type and by version', async () => {
  const store = memoryStore()
  const inspector = await inspectorOf({}, store)
  expect(await ask(inspector, 'throughput', {})).toEqual({ events: 0, bars: [], types: [], isWhole: true })
  const start = Date.parse('2026-01-01T00:00:00Z')
  const events = Array.from({ length: 100 }, (_, n) => ({
    ...{ stream: 'A-1', revision: n, id: randomUUID(), type: n < 90 ? 'Often' : 'Seldom' },
    ...{ version: n < 30 ? 1 : 2, data: {}, metadata: {} },
    time: new Date(start + (n < 90 ? 0 : n * 1_000)).toISOString(),
  }))
  await importEvents(store, events)
  const whole = await ask(inspector, 'throughput', {})
  expect([whole.bars.length, whole.bars[0], whole.bars.at(-1)]).toEqual([60, 90, 2])
  expect(whole.bars.reduce((sum, bar) => sum + bar)).toBe(100)
  expect(whole).toMatchObject({
    ...{ events: 100, from: '2026-01-01T00:00:00.000Z', to: '2026-01-01T00:01:39.000Z', isWhole: true },
    types: [
      {
        ...{ type: 'Often', events: 90 },
        versions: [
          { version: 1, events: 30 },
          { version: 2, events: 60 },
        ],
      },
      { type: 'Seldom', events: 10, versions: [{ version: 2, events: 10 }] },
    ],
  })
  const last = await ask(inspector, 'throughput', { budget: 15 })
  expect(last).toMatchObject({ events: 15, isWhole: false, types: [{ events: 10 }, { events: 5 }] })
})

test('an event is shown with its data, and more of the data on demand', async () => {
  const store = await sqliteStore(':memory:')
  const inspector = await inspectorOf({}, store)
  const data = { items: Array.from({ length: 120 }, (_, n) => ({ n })), text: 'x'.repeat(1_000_000) }
  await store.append({ stream: 'A-1', events: [{ type: 'Large', data }] }, { metadata: { correlation: 'c' } })
  const event = await ask(inspector, 'event', { stream: 'A-1', revision: 0 })
  expect(event).toMatchObject({
    type: 'Large',
    correlation: 'c',
    head: 0,
    metadata: { value: { correlation: 'c' } },
  })
  expect(event.characters).toBeGreaterThan(1_000_000)
  expect(JSON.stringify(event).length).toBeLessThan(20_000)
  expect(event.data.cuts).toEqual([
    { path: ['text'], kind: 'text', size: 1_000_000, shown: 1_000 },
    { path: ['items'], kind: 'array', size: 120, shown: 50 },
  ])
  const of = { stream: 'A-1', revision: 0, part: 'data' } as const
  const rest = await ask(inspector, 'value', { of, path: ['items'], skip: 100 })
  expect(rest.value).toEqual(data.items.slice(100))
  expect((await ask(inspector, 'value', { of, path: ['items', 7, 'n'] })).value).toBe(7)
  await expect(ask(inspector, 'event', { stream: 'A-1', revision: 5 })).rejects.toThrow('404 NO_EVENT')
})

describe('what is shown of a value', () => {
  test('ends at a depth, a number of children and a length', () => {
    let deep: unknown = 'bottom'
    for (let i = 0; i < 5_000; i++) deep = { deep }
    const shown = show(deep)
    expect(shown.cuts).toEqual([{ path: Array(6).fill('deep'), kind: 'object', size: 1, shown: 0 }])
    expect(valueAt(deep, Array(5_000).fill('deep'))).toBe('bottom')
    const wide = show(Object.fromEntries(Array.from({ length: 99 }, (_, i) => [i, Array(99).fill({})])))
    expect(JSON.stringify(wide).length).toBeLessThan(200_000)
    expect(preview(deep).length).toBeLessThan(300)
    expect(preview({ text: 'x'.repeat(1_000_000) }).length).toBeLessThan(300)
  })

  test('is JSON, also of Maps, Sets, Dates and instances', () => {
    class Money {
      amount = 5n
      at = new Date(0)
      none = undefined
      toString = () => 'five'
    }
    const { value, tags } = show({
      money: new Money(),
      byName: new Map([['a', 1]]),
      byObject: new Map([[{ a: 1 }, 2]]),
      set: new Set([1, 2]),
      infinite: Infinity,
    })
    expect(JSON.parse(JSON.stringify(value))).toEqual({
      money: { amount: '5', at: '1970-01-01T00:00:00.000Z' },
      byName: { a: 1 },
      byObject: [[{ a: 1 }, 2]],
      set: [1, 2],
      infinite: 'Infinity',
    })
    expect(tags.map(({ name }) => name)).toEqual(['Money', 'Map', 'Map', 'Set', 'Date'])
  })

  test('is no personal value, also of one that was recorded before its field became personal', () => {
    const state = { email: { $unsealed: 'ada@example.org' }, name: { $sealed: 'abc' } }
    expect(JSON.stringify(show(state))).not.toContain('ada')
    expect(preview(state)).toBe('{email: sealed, name: sealed}')
  })

  test('has hostile keys as keys like any other', () => {
    const hostile = JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}') as object
    expect(JSON.stringify(show(hostile).value)).toBe('{"__proto__":{"a":1},"constructor":2}')
  })
})
