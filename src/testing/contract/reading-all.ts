import assert from 'node:assert/strict'
import type { Recorded } from '../../model/event.ts'
import type { EventStore, ReadAllOptions } from '../../store/event-store.ts'
import { drain, everything } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happenings, idsOf, numbersOf, positionsOf, revisionsOf, upTo } from './sample-events.ts'

/** R1 and R3: the order of the store, and reading parts of it. */
export function readingAll(prove: Prove): void {
  prove('R1: the order of all streams agrees with the order of each stream', async (store, realm) => {
    const other = await realm.open()
    await Promise.all(
      upTo(60).map((i) =>
        (i % 2 === 0 ? store : other).append({ stream: `s-${i % 7}`, events: happenings(1 + (i % 4)) }),
      ),
    )
    const log = await everything(store)
    assert.deepEqual(await everything(other), log)
    assert.equal(new Set(idsOf(log)).size, log.length)
    for (const stream of new Set(log.map((event) => event.stream))) {
      const own = log.filter((event) => event.stream === stream)
      assert.deepEqual(revisionsOf(own), upTo(own.length))
      assert.deepEqual(await drain(store.read(stream)), own)
    }
  })

  prove('R1: the events of one append are adjacent in the order of all streams', async (store, realm) => {
    const other = await realm.open()
    const results = await Promise.all(
      upTo(40).map((i) => (i % 2 === 0 ? store : other).append({ stream: `s-${i}`, events: happenings(5) })),
    )
    const log = await everything(store)
    for (const { events } of results) {
      const start = log.findIndex(({ id }) => id === events[0]?.id)
      assert.deepEqual(log.slice(start, start + 5), events)
    }
  })

  prove('R1: positions are strings that compare with < and survive JSON', async (store) => {
    for (const i of upTo(12))
      await store.append({ stream: `s-${i % 2}`, events: happenings(1 + 9 * (i % 2)) })
    const positions = positionsOf(await everything(store))
    for (const [i, position] of positions.entries()) {
      assert.equal(typeof position, 'string')
      if (i > 0) assert.ok(positions[i - 1]! < position, `${positions[i - 1]} < ${position}`)
    }
    const saved = JSON.parse(JSON.stringify(positions[4])) as string
    assert.deepEqual(positionsOf(await drain(store.readAll({ after: saved }))), positions.slice(5))
  })

  prove(
    'R1: reading from a position works in both directions, also after a restart',
    async (store, realm) => {
      for (const i of upTo(10)) await store.append({ stream: `s-${i % 3}`, events: happenings(3) })
      const log = await everything(store)
      const reopened = await realm.restart()
      for (const [i, { position: after }] of log.entries()) {
        assert.deepEqual(await drain(reopened.readAll({ after })), log.slice(i + 1))
        const behind = await drain(reopened.readAll({ after, direction: 'backwards' }))
        assert.deepEqual(behind, log.slice(0, i).reverse())
      }
    },
  )

  prove('R1: all streams are read up to a position, inclusive, in both directions', async (store, realm) => {
    for (const i of upTo(8)) await store.append({ stream: `s-${i % 3}`, events: happenings(3) })
    const log = await everything(store)
    const reopened = await realm.restart()
    for (const [i, { position: to }] of log.entries()) {
      assert.deepEqual(await drain(reopened.readAll({ to })), log.slice(0, i + 1))
      assert.deepEqual(await drain(reopened.readAll({ to, direction: 'backwards' })), log.slice(i).reverse())
    }
    for (const [i, { position: after }] of log.entries()) {
      for (const j of [0, 4, 11, 22, 23]) {
        const to = log[j]!.position
        assert.deepEqual(await drain(reopened.readAll({ after, to })), log.slice(i + 1, j + 1))
        const back = await drain(reopened.readAll({ after, to, direction: 'backwards', limit: 5 }))
        assert.deepEqual(back, log.slice(j, i).reverse().slice(0, 5))
      }
    }
  })

  prove(
    'R1: a reader up to the head of the log gives what was there, whatever is appended',
    async (store) => {
      await store.append({ stream: 'a', events: happenings(600) })
      const to = await store.logHead()
      const reader = store.readAll({ ...(to !== undefined && { to }) })
      await reader.next()
      await store.append({ stream: 'a', events: happenings(600) })
      assert.equal((await drain(reader)).length, 599)
    },
  )

  prove(
    'R5: pages of all streams, with a filter or without, end at the head that they state',
    async (store) => {
      assert.deepEqual(await store.readAllPage(), { events: [], head: undefined, next: undefined })
      for (const i of upTo(8)) await store.append({ stream: `s-${i % 3}`, events: happenings(2) })
      const log = await everything(store)
      const head = log.at(-1)?.position
      for (const direction of ['forwards', 'backwards'] as const) {
        for (const filter of [{}, { streams: ['s-1'] }, { types: ['absent'] }]) {
          const expected = await drain(store.readAll({ direction, ...filter }))
          const whole = await store.readAllPage({ direction, ...filter })
          assert.deepEqual(whole, { events: expected, head, next: undefined })
          const found: Recorded[] = []
          for (let after: string | undefined; ;) {
            const page = await store.readAllPage({ direction, ...filter, limit: 3, ...(after && { after }) })
            assert.equal(page.head, head)
            found.push(...page.events)
            after = page.next
            if (after === undefined) break
          }
          assert.deepEqual(found, expected)
        }
      }
      const to = log[9]!.position
      const upToNine = { events: log.slice(0, 10), head: to, next: undefined }
      assert.deepEqual(await store.readAllPage({ to }), upToNine)
      assert.deepEqual(await store.readAllPage({ after: to, to: log[3]!.position }), {
        events: [],
        head: to,
        next: undefined,
      })
      const seen: Recorded[] = []
      let reached: string | undefined
      for (const end of [log[3]!.position, to, undefined]) {
        const page = await store.readAllPage({ after: reached, to: end })
        seen.push(...page.events)
        reached = page.next ?? page.head
      }
      assert.deepEqual(seen, log)
    },
  )

  prove(
    'R5: a reader of pages that continues from next or head gets each event once',
    async (store, realm) => {
      const other = await realm.open()
      const growing = Promise.all(
        upTo(40).map((i) => other.append({ stream: `s-${i % 4}`, events: happenings(1 + (i % 3), i) })),
      )
      const seen: Recorded[] = []
      let after: string | undefined
      for (let isOver = false; !isOver;) {
        isOver = await Promise.race([
          growing.then(() => true),
          new Promise<false>((go) => setImmediate(go, false)),
        ])
        for (;;) {
          const page = await store.readAllPage({ limit: 7, ...(after !== undefined && { after }) })
          seen.push(...page.events)
          after = page.next ?? page.head
          if (page.next === undefined) break
        }
      }
      assert.deepEqual(seen, await everything(store))
    },
  )

  prove('R1: all streams can be read in parts of any size, from position to position', async (store) => {
    for (const i of upTo(9)) await store.append({ stream: `s-${i % 3}`, events: happenings(13) })
    const log = await everything(store)
    for (const direction of ['forwards', 'backwards'] as const) {
      const whole = direction === 'forwards' ? log : [...log].reverse()
      for (const limit of [1, 7, 13, 39, 200]) {
        assert.deepEqual(idsOf(await inParts(store, { direction, limit })), idsOf(whole))
      }
    }
  })

  prove(
    'R1: reading all streams neither loses nor duplicates an event at the end of a page, with or without a filter',
    async (store) => {
      for (const i of upTo(11)) await store.append({ stream: `s-${i % 2}`, events: happenings(205, i * 205) })
      const log = await everything(store)
      assert.deepEqual(numbersOf(log), upTo(2_255))
      assert.deepEqual(idsOf(await drain(store.readAll({ direction: 'backwards' }))), idsOf(log).reverse())
      const odd = log.filter(({ stream }) => stream === 's-1')
      assert.deepEqual(idsOf(await drain(store.readAll({ streams: ['s-1'] }))), idsOf(odd))
      for (const limit of [255, 256, 257, 511, 512, 513, 1_023, 1_024, 1_025]) {
        assert.deepEqual(idsOf(await drain(store.readAll({ limit }))), idsOf(log).slice(0, limit))
        const back = await drain(store.readAll({ limit, direction: 'backwards', streams: ['s-1'] }))
        assert.deepEqual(idsOf(back), idsOf(odd).reverse().slice(0, limit))
      }
    },
  )

  prove(
    'R3: readAll with streams, categories, types and limits selects what a plain filter selects',
    async (store) => {
      const log = await mixedLog(store)
      const lists = {
        streams: [
          undefined,
          [],
          ['Door-1'],
          ['Door-1', 'Lamp-1', 'absent'],
          ['Door-1', 'Door-1'],
          ['Do%', 'Door_1'],
        ],
        categories: [undefined, [], ['Door'], ['Lamp', 'Do'], ['Door-1'], ['D%'], ['plain', 'Door']],
        types: [undefined, [], ['T.A'], ['T.B', 'T.C'], ['T.', 't.a'], ['T.A', 'T.A', 'absent']],
      }
      for (const streams of lists.streams) {
        for (const categories of lists.categories) {
          for (const types of lists.types) {
            const filter = {
              ...(streams && { streams }),
              ...(categories && { categories }),
              ...(types && { types }),
            }
            await agrees(store, log, filter)
          }
        }
      }
    },
  )

  prove('R3: a filter that rarely matches finds every match', async (store) => {
    for (const i of upTo(6)) {
      await store.append({ stream: 'many', events: happenings(400) })
      await store.append({ stream: `few-${i}`, events: [{ type: 'Rare', data: { i } }] })
    }
    for (const filter of [
      { types: ['Rare'] },
      { categories: ['few'] },
      { types: ['Rare'], categories: ['few'] },
    ]) {
      const found = await drain(store.readAll(filter))
      assert.deepEqual(
        found.map(({ stream }) => stream),
        upTo(6).map((i) => `few-${i}`),
      )
      const last = await drain(store.readAll({ ...filter, direction: 'backwards', limit: 2 }))
      assert.deepEqual(
        last.map(({ stream }) => stream),
        ['few-5', 'few-4'],
      )
    }
  })

  prove('R3: one filter may name many streams, categories and types', async (store) => {
    for (const i of upTo(20)) await store.append({ stream: `c${i}-1`, events: [{ type: `T${i}`, data: {} }] })
    const log = await everything(store)
    const wide = (name: (i: number) => string) => upTo(2_000).map(name)
    const filter = {
      streams: wide((i) => `c${i}-1`),
      categories: wide((i) => `c${i}`),
      types: wide((i) => `T${i}`),
    }
    assert.deepEqual(await drain(store.readAll(filter)), log)
  })
}

/** Events of several streams, categories and types, in turn. */
async function mixedLog(store: EventStore): Promise<Recorded[]> {
  const streams = ['Door-1', 'Door-2', 'Door', 'Do-or', 'Lamp-1', 'plain', 'x-', 'Door-1-2', 'door-1']
  for (const i of upTo(18)) {
    const types = ['T.A', 'T.B', 'T.C'].slice(i % 3, (i % 3) + 2)
    await store.append({
      stream: streams[(i * 5) % 9]!,
      events: types.map((type) => ({ type, data: { i } })),
    })
  }
  return everything(store)
}

async function agrees(store: EventStore, log: readonly Recorded[], filter: ReadAllOptions): Promise<void> {
  const { streams, categories, types } = filter as { [K in 'streams' | 'categories' | 'types']?: string[] }
  const isNamed = (stream: string) =>
    streams?.includes(stream) === true || categories?.includes(stream.split('-', 1)[0]!) === true
  const isOpen = !streams && !categories
  const matching = log.filter(
    ({ stream, type }) => (isOpen || isNamed(stream)) && (!types || types.includes(type)),
  )
  const message = JSON.stringify(filter)
  const ids = idsOf(matching)
  assert.deepEqual(await drain(store.readAll(filter)), matching, message)
  const back = await drain(store.readAll({ ...filter, direction: 'backwards' }))
  assert.deepEqual(idsOf(back), [...ids].reverse(), message)
  assert.deepEqual(idsOf(await drain(store.readAll({ ...filter, limit: 3 }))), ids.slice(0, 3), message)
  const middle = log[11]!.position
  const later = matching.filter(({ position }) => position > middle)
  const earlier = matching.filter(({ position }) => position < middle).reverse()
  assert.deepEqual(
    idsOf(await drain(store.readAll({ ...filter, after: middle, limit: 4 }))),
    idsOf(later.slice(0, 4)),
  )
  const before = await drain(store.readAll({ ...filter, after: middle, direction: 'backwards' }))
  assert.deepEqual(idsOf(before), idsOf(earlier), message)
  const [to, upTo] = [log[14]!.position, matching.filter(({ position }) => position <= log[14]!.position)]
  assert.deepEqual(idsOf(await drain(store.readAll({ ...filter, to }))), idsOf(upTo), message)
  const inside = { ...filter, after: middle, to, limit: 2 }
  const between = upTo.filter(({ position }) => position > middle).slice(0, 2)
  assert.deepEqual(idsOf(await drain(store.readAll(inside))), idsOf(between), message)
  const from = matching.filter(({ position }) => position >= to).reverse()
  const down = await drain(store.readAll({ ...filter, to, direction: 'backwards' }))
  assert.deepEqual(idsOf(down), idsOf(from), message)
}

async function inParts(store: EventStore, options: { direction: 'forwards' | 'backwards'; limit: number }) {
  const all: Recorded[] = []
  for (;;) {
    const after = all.at(-1)?.position
    const part = await drain(store.readAll({ ...options, ...(after !== undefined && { after }) }))
    all.push(...part)
    if (part.length === 0) return all
  }
}
