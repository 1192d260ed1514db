import {
  defineAggregate,
  defineCommand,
  event,
  execute,
  type AppendResult,
  type EventStore,
  type ExpectedRevision,
  type StreamWrite,
} from 'mneme'
import type { PostgresOptions } from 'mneme/postgres'
import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, until } from './database.ts'
import { startProxy, type Proxy } from '../../support/proxy.ts'
import { serverProblem } from './server.ts'

/** A store behind a network that fails, and another one that is well. */
async function ghostly(isolation?: string, options: PostgresOptions = {}) {
  const database = await testDatabase()
  if (isolation !== undefined) await database.set(`default_transaction_isolation = '${isolation}'`)
  const well = await database.open()
  const proxy = await startProxy(database.server.port)
  const store = await database.open(options, { connectionString: proxy.url(database.url), max: 8 })
  return { database, well, proxy, store }
}

type Ghostly = Awaited<ReturnType<typeof ghostly>>

/** A first attempt, by what it expects of the stream `s`; of which `given` is there already. */
const attempts: readonly {
  name: string
  given: number
  expected: ExpectedRevision
  more?: readonly StreamWrite[]
  key?: string
  /** How many events it has; 2. */
  count?: number
}[] = [
  { name: 'none, one event', given: 0, expected: 'none', count: 1 },
  { name: 'a revision, one event', given: 2, expected: 1, count: 1 },
  { name: 'any, one event', given: 2, expected: 'any', count: 1 },
  { name: 'exists, one event', given: 2, expected: 'exists', count: 1 },
  { name: 'none', given: 0, expected: 'none' },
  { name: 'a revision', given: 2, expected: 1 },
  { name: 'any', given: 2, expected: 'any' },
  { name: 'any, on a stream that is new', given: 0, expected: 'any' },
  { name: 'exists', given: 2, expected: 'exists' },
  { name: 'any, on two streams', given: 2, expected: 'any', more: [{ stream: 't', events: [happened()] }] },
  {
    name: 'exact, on two streams',
    given: 2,
    expected: 1,
    more: [{ stream: 't', events: [happened()], expected: 'none' }],
  },
  {
    name: 'any, where another is only read',
    given: 2,
    expected: 'any',
    more: [{ stream: 't', expected: 'none' }],
  },
  { name: 'any, with a key', given: 2, expected: 'any', key: 'once' },
  { name: 'exact, with a key', given: 2, expected: 1, key: 'once' },
]

describe.skipIf(serverProblem).each(attempts)(
  'an append whose connection is lost, which expects $name',
  ({ given, expected, more = [], key, count = 2 }) => {
    const mine = Array.from({ length: count }, () => happened(1))
    const theirs = happened(2)

    async function prepare(): Promise<Ghostly> {
      const ghost = await ghostly()
      const events = Array.from({ length: given }, () => happened(0))
      if (given > 0) await ghost.well.append({ stream: 's', events })
      return ghost
    }

    const append = (store: EventStore) =>
      store.append([{ stream: 's', events: mine, expected }, ...more], key === undefined ? {} : { key })

    /** One copy of the append's events, where its caller was told that they are; nothing else but what others wrote. */
    async function expectOneCopy(well: EventStore, result: AppendResult, others: number): Promise<void> {
      const history = await historyOf(well)
      const ids = [...mine, ...more.flatMap(({ events = [] }) => events)].map(({ id }) => id)
      expect(history.filter(({ id }) => ids.includes(id))).toEqual(result.events)
      expect(history).toHaveLength(given + ids.length + others)
      expect(result.events.map(({ id }) => id)).toEqual(ids)
    }

    test('a first attempt that holds the lock is waited for by the attempt that settles it', async () => {
      const { database, well, proxy, store } = await prepare()
      const holder = await database.hold('s')
      const appended = append(store)
      await database.waiting(1)
      // Another one comes between the first attempt and the one that settles it.
      const between = well.append({ stream: 's', events: [theirs] })
      await database.waiting(2)
      proxy.cut()
      await database.waiting(3)
      await holder.release()
      const result = await appended
      expect(result.events[0]!.revision).toBe(given)
      expect((await between).events[0]!.revision).toBe(given + count)
      await expectOneCopy(well, result, 1)
    })

    test('a first attempt that reaches the server after it was settled writes nothing', async () => {
      const { well, proxy, store } = await prepare()
      const held = proxy.hold()
      const appended = append(store)
      await until(() => held.some((link) => link.held.length > 0), 'the attempt was sent')
      proxy.cut(held)
      const result = await appended
      await well.append({ stream: 's', events: [theirs] })
      await proxy.letGo(held)
      await expectOneCopy(well, result, 1)
    })

    test('a first attempt that is committed, and whose answer was lost, is not repeated', async () => {
      const { well, proxy, store } = await prepare()
      await muteAndCut(
        proxy,
        () => well.head('s').then((head) => head === given + count - 1),
        async () => {
          const result = await append(store)
          await expectOneCopy(well, result, 1)
        },
        () => well.append({ stream: 's', events: [theirs] }),
      )
    })
  },
)

/** Runs `work` while answers are lost; when `isDone`, cuts. */
async function muteAndCut(
  proxy: Proxy,
  isDone: () => Promise<boolean>,
  work: () => Promise<void>,
  between: () => Promise<unknown>,
): Promise<void> {
  for (const link of proxy.links) link.isMute = true
  const links = [...proxy.links]
  const working = work()
  await until(isDone, 'the first attempt is committed')
  await between()
  proxy.cut(links)
  await working
}

describe.skipIf(serverProblem)('appends whose connection is lost', () => {
  test.each(['settled first', 'done first'])(
    'a batch of all kinds of appends whose connection is lost has one copy of each; %s',
    async (order) => {
      const { well, proxy, store } = await ghostly()
      await well.append({ stream: 'old', events: [happened()] })
      const held = order === 'settled first' ? proxy.hold() : [...proxy.links]
      if (order === 'done first') for (const link of held) link.isMute = true
      const guarded = happened(7)
      const appends = [
        store.append({ stream: 'a', events: [happened(1)] }),
        store.append({ stream: 'b', events: [happened(2)], expected: 'none' }),
        store.append({ stream: 'old', events: [happened(3)], expected: 'exists' }),
        store.append({ stream: 'c', events: [happened(4)] }, { key: 'c' }),
        store.append([
          { stream: 'd', events: [happened(5)] },
          { stream: 'e', events: [happened(6)], expected: 'none' },
        ]),
        store.append({ stream: 'f', events: [guarded], expected: 'none' }),
        store.append({ stream: 'missing', events: [happened(8)], expected: 'exists' }),
        store.append({ stream: 'a', events: [happened(9)] }),
      ]
      const results = Promise.allSettled(appends)
      if (order === 'settled first')
        await until(() => held.some((link) => link.held.length > 0), 'it was sent')
      else await until(async () => (await well.head('b')) === 0, 'it is committed')
      proxy.cut(held)
      const settled = await results
      await well.append({ stream: 'a', events: [happened(10)] })
      await proxy.letGo(held)
      expect(settled.map(({ status }) => status)).toEqual(
        Array.from({ length: 8 }, (_, i) => (i === 6 ? 'rejected' : 'fulfilled')),
      )
      expect(settled[6]).toMatchObject({ reason: { code: 'CONFLICT', actual: 'none' } })
      const history = await historyOf(well)
      expect(history).toHaveLength(1 + 8 + 1)
      const told = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value.events : []))
      const byId = new Map(history.map((event) => [event.id, event]))
      for (const event of told) expect(byId.get(event.id)).toEqual(event)
      expect(
        history.filter(({ stream }) => stream === 'a').map(({ data }) => (data as { n: number }).n),
      ).toEqual([1, 9, 10])
    },
  )

  test('commands on one stream whose connection is lost are carried out once each, with a key or without', async () => {
    const { well, proxy, store } = await ghostly()
    const Counter = defineAggregate({
      name: 'Counter',
      events: { Counted: event<{ by: string }>() },
      initial: () => ({ count: 0 }),
      apply: { Counted: ({ count }) => ({ count: count + 1 }) },
    })
    const count = defineCommand({
      reads: (_input: { by: string }) => Counter('1'),
      handle: (_, { by }) => Counter.events.Counted({ by }),
    })
    await execute(store, count({ by: 'first' }))
    await muteAndCut(
      proxy,
      async () => (await well.head('Counter-1')) === 2,
      async () => {
        const [keyed, plain] = await Promise.all([
          execute(store, count({ by: 'keyed' }), { key: 'k' }),
          execute(store, count({ by: 'plain' })),
        ])
        expect([keyed.state.count, plain.state.count]).toEqual([2, 3])
      },
      () => well.append({ stream: 'other', events: [happened()] }),
    )
    const history = await historyOf(well)
    const counted = history.filter(({ stream }) => stream === 'Counter-1')
    expect(counted.map(({ data }) => data)).toEqual([{ by: 'first' }, { by: 'keyed' }, { by: 'plain' }])
  })

  test('an append of a process that is gone is settled by the next append with the same ids', async () => {
    const { database, well, proxy, store } = await ghostly(undefined, { connectTimeout: 500 })
    const holder = await database.hold('s')
    const made = happened(1)
    const first = store.append({ stream: 's', events: [made], expected: 'none' }).catch(() => undefined)
    await database.waiting(1)
    const again = well.append({ stream: 's', events: [made], expected: 'none' })
    await database.waiting(2)
    proxy.isDead = true
    proxy.cut()
    await holder.release()
    expect(await again).toMatchObject({ repeated: true, events: [{ revision: 0 }] })
    proxy.isDead = false
    proxy.cut()
    await first
    expect(await historyOf(well)).toHaveLength(1)
  })

  test.each(['repeatable read', 'serializable'])(
    'an append whose COMMIT gets no answer is settled if the default isolation is %s',
    async (isolation) => {
      const { well, proxy, store } = await ghostly(isolation)
      await store.append({ stream: 's', events: [happened(0)] })
      for (let round = 0; round < 6; round++) {
        // After nothing, BEGIN, the append, COMMIT.
        let answers = 0
        const events = [happened(round + 1)]
        const links = [...proxy.links]
        for (const { server } of links) {
          server.on('data', () => {
            if (answers++ === round % 3) proxy.cut(links)
          })
        }
        const result = await store.append({ stream: 's', events })
        expect(result.events[0]!.revision).toBe(round + 1)
        await well.append({ stream: 't', events: [happened()] })
      }
      const history = await historyOf(well)
      expect(history.filter(({ stream }) => stream === 's')).toHaveLength(7)
    },
  )
})
