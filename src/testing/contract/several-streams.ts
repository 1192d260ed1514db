import assert from 'node:assert/strict'
import { ConflictError } from '../../base/errors.ts'
import type { EventStore } from '../../store/event-store.ts'
import { drain, everything, failureOf, nextTurn, nothingWritten, race } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import type { Proof } from './realm.ts'
import { happened, happenings, numbersOf, positionsOf, revisionsOf, upTo } from './sample-events.ts'

const needs: Demands = { needs: ['severalStreams'] }

/** W1, W2, W3 and R1 over several streams in one append, those that are only read included. */
export function severalStreams(prove: Prove): void {
  const proveSeveral = (name: string, proof: Proof): void => prove(name, needs, proof)

  proveSeveral('W1: one append stores the events of two streams', async (store) => {
    const result = await store.append([
      { stream: 'a', events: happenings(2), expected: 'none' },
      { stream: 'b', events: happenings(1, 2), expected: 'none' },
    ])
    assert.deepEqual(
      [...result.revisions],
      [
        ['a', 1],
        ['b', 0],
      ],
    )
    assert.deepEqual(await everything(store), result.events)
    assert.deepEqual([await store.head('a'), await store.head('b')], [1, 0])
  })

  proveSeveral(
    'W1: one stream at an unexpected revision refuses the whole append, whichever stream it is',
    async (store) => {
      for (const stream of ['a', 'b', 'c']) await store.append({ stream, events: happenings(2) })
      await nothingWritten(store, async () => {
        for (const odd of ['a', 'b', 'c']) {
          const writes = ['a', 'b', 'c'].map((stream) => ({
            stream,
            events: [happened(9)],
            expected: stream === odd ? 0 : 1,
          }))
          const { stream, expected, actual } = await failureOf(ConflictError, () => store.append(writes))
          assert.deepEqual([stream, expected, actual], [odd, 0, 1])
        }
      })
    },
  )

  proveSeveral(
    'W2: an append checks every kind of expected revision on streams that it only reads',
    async (store) => {
      await store.append({ stream: 'read', events: happenings(3) })
      const write = { stream: 'written', events: [happened(1)] }
      await nothingWritten(store, async () => {
        for (const expected of ['none', 0, 1, 3] as const) {
          const error = await failureOf(ConflictError, () =>
            store.append([write, { stream: 'read', expected }]),
          )
          assert.deepEqual([error.stream, error.expected, error.actual], ['read', expected, 2])
        }
        for (const expected of ['exists', 0] as const) {
          const error = await failureOf(ConflictError, () =>
            store.append([{ stream: 'absent', expected }, write]),
          )
          assert.deepEqual([error.stream, error.expected, error.actual], ['absent', expected, 'none'])
        }
      })
      for (const expected of ['any', 'exists', 2] as const) {
        const { revisions } = await store.append([write, { stream: 'read', expected }])
        assert.equal(revisions.get('read'), 2)
      }
      assert.deepEqual([await store.head('written'), await store.head('read')], [2, 2])
      await store.append([write, { stream: 'absent', expected: 'none' }])
      assert.equal(await store.head('absent'), 'none')
    },
  )

  proveSeveral('W2: an empty append checks several streams', async (store) => {
    await store.append({ stream: 'a', events: happenings(2) })
    await nothingWritten(store, async () => {
      await store.append([
        { stream: 'a', expected: 1 },
        { stream: 'b', expected: 'none' },
      ])
      const { stream } = await failureOf(ConflictError, () =>
        store.append([
          { stream: 'a', expected: 1 },
          { stream: 'b', expected: 'exists' },
        ]),
      )
      assert.equal(stream, 'b')
    })
  })

  proveSeveral(
    'R1: events interleaved over streams keep their order and are adjacent in the store',
    async (store, realm) => {
      const other = await realm.open()
      const order = ['a', 'b', 'a', 'c', 'b', 'a', 'a', 'c']
      const interleaved = () => store.append(order.map((stream, i) => ({ stream, events: [happened(i)] })))
      const calls = upTo(10).flatMap((i) => [
        interleaved(),
        other.append({ stream: `x-${i}`, events: happenings(3) }),
      ])
      const results = await Promise.all(calls)
      const log = await everything(store)
      for (const { events } of results) {
        const start = log.findIndex(({ id }) => id === events[0]?.id)
        assert.deepEqual(log.slice(start, start + events.length), events)
        if (events.length === order.length)
          assert.deepEqual(
            events.map(({ stream }) => stream),
            order,
          )
      }
      for (const stream of ['a', 'b', 'c']) {
        const own = log.filter((event) => event.stream === stream)
        assert.deepEqual(revisionsOf(own), upTo(own.length))
        assert.deepEqual(await drain(store.read(stream)), own)
      }
    },
  )

  proveSeveral(
    'R1: a stream named twice in one append continues at its next revision, under one expected revision',
    async (store) => {
      await store.append({ stream: 'a', events: [happened(0)] })
      const { events, revisions } = await store.append([
        { stream: 'a', events: [happened(1)], expected: 0 },
        { stream: 'b', events: [happened(2)] },
        { stream: 'a', events: [happened(3)] },
      ])
      assert.deepEqual(revisionsOf(events), [1, 0, 2])
      assert.deepEqual(
        [...revisions],
        [
          ['a', 2],
          ['b', 0],
        ],
      )
    },
  )

  proveSeveral(
    "W3: exactly one of two appends that each read the other's stream wins",
    async (store, realm) => {
      const stores = [store, await realm.open()] as const
      for (const round of upTo(20)) {
        const [a, b] = [`a-${round}`, `b-${round}`]
        await store.append([a, b].map((stream) => ({ stream, events: [happened(0)] })))
        const [first, second] = round % 2 === 0 ? [a, b] : [b, a]
        const { won } = await race([
          onCondition(stores[0], first, second),
          onCondition(stores[1 - (round % 4 < 2 ? 0 : 1)]!, second, first),
        ])
        assert.equal(won.length, 1, `round ${round}`)
      }
    },
  )

  proveSeveral(
    'W3: at most two of three appends win when each reads the stream that the next one writes',
    async (store, realm) => {
      const stores = [store, await realm.open(), store]
      for (const round of upTo(10)) {
        const ring = ['x', 'y', 'z'].map((name) => `${name}-${round}`)
        await store.append(ring.map((stream) => ({ stream, events: [happened(0)] })))
        const { won } = await race(
          ring.map((stream, i) => onCondition(stores[i]!, stream, ring[(i + 1) % 3]!)),
        )
        assert.ok(won.length === 1 || won.length === 2, `round ${round}: ${won.length} won`)
      }
    },
  )

  proveSeveral('W3: an empty append detects a torn read of two streams', async (store, realm) => {
    const other = await realm.open()
    await store.append(['a', 'b'].map((stream) => ({ stream, events: [happened(0)] })))
    const a = await store.head('a')
    await other.append(['a', 'b'].map((stream) => ({ stream, events: [happened(1)] })))
    const b = await store.head('b')
    const verify = (expected: typeof a) =>
      store.append([
        { stream: 'a', expected },
        { stream: 'b', expected: b },
      ])
    const { stream } = await failureOf(ConflictError, () => verify(a))
    assert.equal(stream, 'a')
    await verify(await store.head('a'))
  })

  proveSeveral(
    'W2: concurrent appends over overlapping streams neither lose nor duplicate an event',
    async (store, realm) => {
      const stores = [store, await realm.open()]
      const names = ['a', 'b', 'c', 'd']
      const counted = await Promise.all(
        upTo(8).map(async (worker) => {
          const own = stores[worker % 2]!
          let appended = 0
          for (const i of upTo(6)) {
            const pair = [names[(worker + i) % 4]!, names[(worker * 3 + i + 1) % 4]!]
            const streams = [...new Set(pair)]
            const heads = await Promise.all(streams.map((stream) => own.head(stream)))
            const writes = streams.map((stream, j) => ({
              stream,
              events: [happened(worker)],
              expected: heads[j]!,
            }))
            const { won } = await race([own.append(writes)])
            appended += won.length * streams.length
          }
          return appended
        }),
      )
      const log = await everything(store)
      assert.equal(
        log.length,
        counted.reduce((sum, n) => sum + n),
      )
      assert.deepEqual(positionsOf(log), [...new Set(positionsOf(log))].sort())
      for (const name of names) {
        assert.deepEqual(
          revisionsOf(await drain(store.read(name))),
          upTo(log.filter((e) => e.stream === name).length),
        )
      }
    },
  )

  proveSeveral('W1: a reader never sees half of an append over two streams', async (store, realm) => {
    const other = await realm.open()
    const pairs = (async () => {
      for (const n of upTo(40)) {
        await other.append(['a', 'b'].map((stream) => ({ stream, events: [happened(n)] })))
      }
    })()
    for (let seen = 0; seen < 80;) {
      const log = await everything(store)
      seen = log.length
      assert.deepEqual(
        numbersOf(log),
        upTo(seen).map((i) => Math.floor(i / 2)),
      )
      await nextTurn()
    }
    await pairs
  })
}

/** Appends to one stream, on the condition that another one, only read, stands at revision 0 as it does itself. */
function onCondition(store: EventStore, written: string, read: string): Promise<unknown> {
  return store.append([
    { stream: written, events: [happened(1)], expected: 0 },
    { stream: read, expected: 0 },
  ])
}
