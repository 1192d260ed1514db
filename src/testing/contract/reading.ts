import assert from 'node:assert/strict'
import type { Recorded } from '../../model/event.ts'
import type { ReadOptions } from '../../store/event-store.ts'
import { type Watched, watchPages } from './faults.ts'
import { drain } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happenings, idsOf, numbersOf, revisionsOf, upTo } from './sample-events.ts'

/** Lengths of streams at which a page may end. */
const lengths = [1, 2, 63, 64, 65, 99, 100, 101, 127, 128, 129, 255, 256, 257, 499, 500, 501, 511, 512, 513]
const longest = [999, 1_000, 1_001, 1_023, 1_024, 1_025]

/** R1: a stream is read in order, from either end, from any revision, up to any number of events. */
export function reading(prove: Prove): void {
  prove('R1: a stream that does not exist reads as empty in either direction', async (store) => {
    for (const options of [
      {},
      { direction: 'backwards' },
      { from: 0 },
      { from: 7, limit: 1 },
    ] as ReadOptions[]) {
      assert.deepEqual(await drain(store.read('absent', options)), [])
    }
    assert.equal(await store.head('absent'), 'none')
  })

  prove('R1: a stream is read forwards and backwards, from any revision, with any limit', async (store) => {
    await store.append({ stream: 'other', events: happenings(5) })
    for (const n of upTo(12))
      await store.append({ stream: n % 3 === 1 ? 'other' : 'a', events: happenings(1, n) })
    const forwards = await drain(store.read('a'))
    const backwards = [...forwards].reverse()
    assert.deepEqual(revisionsOf(forwards), upTo(8))
    assert.deepEqual(await drain(store.read('a', { direction: 'forwards' })), forwards)
    assert.deepEqual(await drain(store.read('a', { direction: 'backwards' })), backwards)
    for (const from of [0, 1, 3, 6, 7, 8, 100, Number.MAX_SAFE_INTEGER]) {
      for (const limit of [1, 2, 7, 8, 9, Number.MAX_SAFE_INTEGER, undefined]) {
        const part = { from, ...(limit !== undefined && { limit }) }
        const ahead = forwards.filter(({ revision }) => revision >= from).slice(0, limit)
        const behind = backwards.filter(({ revision }) => revision <= from).slice(0, limit)
        const message = JSON.stringify(part)
        assert.deepEqual(await drain(store.read('a', part)), ahead, message)
        assert.deepEqual(await drain(store.read('a', { ...part, direction: 'backwards' })), behind, message)
      }
    }
  })

  prove('R1: a stream is read up to a revision, inclusive, in both directions', async (store) => {
    await store.append({ stream: 'a', events: happenings(8) })
    const forwards = await drain(store.read('a'))
    const backwards = [...forwards].reverse()
    for (const to of [0, 1, 4, 7, 8, Number.MAX_SAFE_INTEGER]) {
      for (const from of [undefined, 0, 3, 4, 7, 100]) {
        for (const limit of [undefined, 1, 3]) {
          const part = { to, ...(from !== undefined && { from }), ...(limit !== undefined && { limit }) }
          const isAhead = ({ revision }: Recorded) => revision >= (from ?? 0) && revision <= to
          const isBehind = ({ revision }: Recorded) => revision <= (from ?? Infinity) && revision >= to
          const message = JSON.stringify(part)
          assert.deepEqual(
            await drain(store.read('a', part)),
            forwards.filter(isAhead).slice(0, limit),
            message,
          )
          assert.deepEqual(
            await drain(store.read('a', { ...part, direction: 'backwards' })),
            backwards.filter(isBehind).slice(0, limit),
            message,
          )
        }
      }
    }
    assert.deepEqual(await drain(store.read('absent', { to: 3 })), [])
  })

  prove(
    'R1: reading up to a revision neither loses nor adds an event at the end of a page',
    async (store) => {
      const { events } = await store.append({ stream: 'a', events: happenings(1_100) })
      const ids = idsOf(events)
      for (const length of [99, 100, 255, 256, 257, 999, 1_000, 1_001]) {
        assert.deepEqual(idsOf(await drain(store.read('a', { to: length - 1 }))), ids.slice(0, length))
        const back = await drain(store.read('a', { to: 1_100 - length, direction: 'backwards' }))
        assert.deepEqual(idsOf(back), ids.slice(-length).reverse())
      }
    },
  )

  prove('R1: reading backwards with limit 1 gives the last event', async (store) => {
    for (const n of upTo(4)) {
      const { events } = await store.append({ stream: 'a', events: happenings(n + 1) })
      assert.deepEqual(await drain(store.read('a', { direction: 'backwards', limit: 1 })), events.slice(-1))
    }
  })

  prove('R1: reading a stream neither loses nor duplicates an event at the end of a page', async (store) => {
    for (const length of [...lengths, ...longest]) {
      await store.append({ stream: `s-${length}`, events: happenings(length) })
    }
    for (const length of [...lengths, ...longest]) {
      const forwards = await drain(store.read(`s-${length}`))
      assert.deepEqual(numbersOf(forwards), upTo(length))
      const backwards = await drain(store.read(`s-${length}`, { direction: 'backwards' }))
      assert.deepEqual(idsOf(backwards), idsOf(forwards).reverse())
    }
  })

  prove('R1: reading a stream in parts by limit neither loses nor duplicates an event', async (store) => {
    const { events } = await store.append({ stream: 'a', events: happenings(1_100) })
    const ids = idsOf(events)
    for (const limit of [...lengths.slice(-11), ...longest]) {
      const ahead = idsOf(await drain(store.read('a', { limit, from: 3 })))
      assert.deepEqual(ahead, ids.slice(3, 3 + limit))
      const behind = idsOf(await drain(store.read('a', { limit, direction: 'backwards' })))
      assert.deepEqual(behind, ids.slice(-limit).reverse())
    }
  })

  prove(
    'R1: a stream that grows while it is read gives every event that was there before, in order',
    async (store, realm) => {
      const other = await realm.open()
      await store.append({ stream: 'a', events: happenings(700) })
      const growing = (async () => {
        for (const i of upTo(30)) await other.append({ stream: 'a', events: happenings(20, 700 + i * 20) })
      })()
      const ways = await Promise.all(
        upTo(4).map((i) => drain(store.read('a', i % 2 === 0 ? {} : { direction: 'backwards' }))),
      )
      await growing
      const whole = await drain(store.read('a'))
      assert.equal(whole.length, 1_300)
      for (const [i, events] of ways.entries()) {
        assert.ok(events.length >= 700)
        const from = i % 2 === 0 ? events : [...events].reverse()
        assert.deepEqual(from, whole.slice(0, events.length))
      }
    },
  )

  prove(
    'R1: a reader that pauses continues where it was, also if the stream has grown meanwhile',
    async (store) => {
      await store.append({ stream: 'a', events: happenings(600) })
      for (const direction of ['forwards', 'backwards'] as const) {
        const reader = store.read('a', { direction })
        const first = await reader.next()
        await store.append({ stream: 'a', events: happenings(600) })
        const seen = [...(first.done ? [] : [first.value]), ...(await drain(reader))]
        const whole = await drain(store.read('a'))
        const there = direction === 'forwards' ? seen : [...seen].reverse()
        assert.deepEqual(there, whole.slice(0, seen.length))
        assert.ok(seen.length >= whole.length - 600)
      }
    },
  )

  prove('R5: a page of a stream comes with the head that the stream had then', async (store, realm) => {
    const other = await realm.open()
    assert.deepEqual(await store.readPage('a'), { events: [], head: 'none', next: undefined })
    for (const n of upTo(10))
      await (n % 2 === 0 ? store : other).append({ stream: 'a', events: happenings(1, n) })
    const all = await drain(store.read('a'))
    assert.deepEqual(await store.readPage('a'), { events: all, head: 9, next: undefined })
    const part = { from: 2, to: 7, limit: 4 }
    assert.deepEqual(await store.readPage('a', part), { events: all.slice(2, 6), head: 9, next: 6 })
    const rest = { events: all.slice(6, 8), head: 9, next: undefined }
    assert.deepEqual(await store.readPage('a', { ...part, from: 6 }), rest)
    assert.deepEqual(await store.readPage('a', { from: 10 }), { events: [], head: 9, next: undefined })
    const latest = await other.readPage('a', { direction: 'backwards', limit: 3 })
    assert.deepEqual(latest, { events: all.slice(7).reverse(), head: 9, next: 6 })
    const first = { events: all.slice(0, 1), head: 9, next: undefined }
    assert.deepEqual(await store.readPage('a', { direction: 'backwards', from: 0, limit: 1 }), first)
  })

  prove('R5: a page and its head agree while the stream grows', async (store, realm) => {
    const other = await realm.open()
    const progress = { isOver: false }
    const growing = (async () => {
      for (const n of upTo(60)) await other.append({ stream: 'a', events: happenings(1, n) })
      progress.isOver = true
    })()
    while (!progress.isOver) {
      const whole = await store.readPage('a')
      assert.equal(whole.events.at(-1)?.revision ?? 'none', whole.head)
      const latest = await store.readPage('a', { direction: 'backwards', limit: 2 })
      assert.equal(latest.events[0]?.revision ?? 'none', latest.head)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await growing
  })

  prove('R1: concurrent calls of next on one reader get the events in order', async (store) => {
    await store.append({ stream: 'a', events: happenings(300) })
    const reader = store.read('a')
    const results = await Promise.all(upTo(303).map(() => reader.next()))
    assert.deepEqual(
      results.map((result) => (result.done ? undefined : result.value.revision)),
      [...upTo(300), undefined, undefined, undefined],
    )
  })

  prove('R4: a stream is read page by page as its reader asks for it', async (store, realm) => {
    await store.append({ stream: 'a', events: happenings(5_000) })
    const watched: Watched = { pages: [], returns: 0 }
    const watching = await realm.open(watchPages(watched))
    for (const reader of [
      watching.read('a'),
      watching.readAll(),
      watching.read('a', { direction: 'backwards' }),
    ]) {
      watched.pages.length = 0
      await reader.next()
      assert.equal(watched.pages.length, 1)
      assert.ok(watched.pages[0]! <= 2_000, `a page of ${watched.pages[0]} events`)
      await reader.return?.()
    }
  })

  prove('R4: a reader with a limit fetches no more than the limit', async (store, realm) => {
    await store.append({ stream: 'a', events: happenings(500) })
    const watched: Watched = { pages: [], returns: 0 }
    const watching = await realm.open(watchPages(watched))
    const fetched = async (reader: AsyncIterable<unknown>) => {
      watched.pages.length = 0
      await drain(reader)
      return watched.pages.reduce((sum, length) => sum + length, 0)
    }
    assert.equal(await fetched(watching.read('a', { limit: 3 })), 3)
    assert.equal(await fetched(watching.read('a', { limit: 1, direction: 'backwards' })), 1)
    assert.equal(await fetched(watching.readAll({ limit: 5 })), 5)
  })
}
