import { describe, expect, test } from 'vitest'
import { RecentEvents } from '../../../src/stores/sqlite/subscribe.ts'
import { happened } from './history.ts'

/** Appends so many events, of which the first has this position. */
function add(recent: RecentEvents, first: number, count: number): void {
  const events = Array.from({ length: count }, (_, i) => ({
    ...{ stream: 's', id: `id-${first + i}`, type: 'Happened', version: 1, metadata: '{}' },
    data: JSON.stringify(happened(first + i).data),
  }))
  const revisions = events.map((_, i) => first + i)
  recent.add(
    { conditions: [], events, keys: [], ids: 'made' },
    {
      ...{ kind: 'appended', time: '2026-01-01T00:00:00.000Z', heads: [], revisions },
      positions: revisions.map(String),
    },
  )
}

const taken = (recent: RecentEvents, start: number, head: number, version = 1) =>
  recent.take(start, head, version)?.map(({ position }) => Number(position))

describe('the events that this process has just appended', () => {
  test('recent events are given once, from the position asked for, if they reach the end of the log', () => {
    const recent = new RecentEvents()
    expect(taken(recent, 0, 0)).toBeUndefined()
    add(recent, 11, 3)
    add(recent, 14, 2)
    expect(taken(recent, 10, 16)).toBeUndefined()
    expect(taken(recent, 9, 15)).toBeUndefined()
    expect(taken(recent, 12, 15)).toEqual([13, 14, 15])
    expect(taken(recent, 12, 15)).toBeUndefined()
    add(recent, 16, 1)
    expect(taken(recent, 15, 16)).toEqual([16])
  })

  test('recent events are forgotten when another connection has written in between', () => {
    const recent = new RecentEvents()
    expect(taken(recent, 0, 0)).toBeUndefined()
    add(recent, 1, 2)
    add(recent, 4, 1)
    expect(taken(recent, 0, 4)).toBeUndefined()
    expect(taken(recent, 3, 4)).toEqual([4])
    add(recent, 5, 1)
    expect(taken(recent, 4, 5, 2)).toBeUndefined()
    add(recent, 6, 1)
    expect(taken(recent, 5, 6, 2)).toEqual([6])
  })

  test('only the latest recent events are kept, up to a bound', () => {
    const recent = new RecentEvents()
    expect(taken(recent, 0, 0)).toBeUndefined()
    for (let i = 0; i < 30; i++) add(recent, 1 + i * 100, 100)
    expect(taken(recent, 0, 3_000)).toBeUndefined()
    expect(taken(recent, 2_500, 3_000)).toHaveLength(500)
    add(recent, 3_001, 10_000)
    expect(taken(recent, 3_000, 13_000)).toBeUndefined()
    expect(taken(recent, 12_500, 13_000)).toHaveLength(500)
  })
})
