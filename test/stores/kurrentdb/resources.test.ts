import { createStore } from 'mneme'
import { kurrentdbStore } from 'mneme/kurrentdb'
import { describe, expect, test } from 'vitest'

import { startProxy } from '../../support/proxy.ts'
import { ScriptProcess } from '../../support/processes.ts'
import { isFull } from '../../support/soak.ts'
import { FAR_DEADLINE_MS, JumpingClock } from './jumping-clock.ts'
import {
  appendOf,
  happened,
  headOf,
  logOf,
  opened,
  ownServer,
  served,
  streamOf,
  times,
  unique,
  until,
  where,
} from './rig.ts'

const script = new URL('program.mjs', import.meta.url)

/** That a process ends by itself, once its store is closed: no connection and no timer keeps it. */
async function endsByItself(program: ScriptProcess): Promise<void> {
  const code = await program.ended
  const told = program.lines.filter((line) => /^(?:closed|unhandled)/.test(line))
  expect([code, told]).toEqual([0, ['closed']])
}

describe(`a process ${where}`, () => {
  test('that closes its store ends by itself', async () => {
    const program = new ScriptProcess(script, 'plainly', await served(), 10_000)
    await endsByItself(program)
    expect(program.lines[0]).toBe('read 200')
  })

  test.each(['away', 'a black hole'])(
    'that closes its store ends by itself when the server is %s',
    async (what) => {
      const proxy = await startProxy(Number(new URL(await served()).port))
      const server = proxy.url(await served())
      const program = new ScriptProcess(script, 'after', server, 3_000)
      await program.said('read 200')
      if (what === 'away') proxy.suspend()
      else {
        proxy.isDead = true
        proxy.hold()
        proxy.mute()
      }
      if (what === 'away') proxy.target = 1
      if (what === 'away') proxy.isDead = false
      program.say('on')
      await endsByItself(program)
    },
  )
})

describe('stores', () => {
  test('that were opened and closed leave no connection but that which the driver never closes, on the stand-in', async () => {
    const server = await ownServer()
    const proxy = await startProxy(server.port)
    const connection = proxy.url(server.connectionString)
    const connections = () => proxy.links.filter(({ client }) => !client.destroyed).length
    for (let i = 0; i < OPENED_STORES; i++) {
      const store = await kurrentdbStore(connection)
      const stream = unique()
      await store.append({ stream, events: times(40, () => ({ type: 'T', data: {} })) })
      let read = 0
      for await (const { revision } of store.read(stream)) read = revision + 1
      expect(read).toBe(40)
      await store.close()
    }
    // Once it has read, the driver's native part keeps its connection until the process ends.
    await until(() => connections() <= OPENED_STORES, 'one connection for each store is left')
  }, 60_000)

  test(`that read large streams half-way hold up nobody, ${where}`, async () => {
    const adapter = await opened(await served())
    const streams = times(HALF_READ_STREAMS, () => unique())
    const text = 'x'.repeat(20_000)
    for (const stream of streams) {
      await adapter.append(
        appendOf(
          { [stream]: 'none' },
          times(100, () => happened(stream, { text })),
        ),
      )
    }
    const store = createStore(adapter)
    const iterators = streams.map((stream) => store.read(stream)[Symbol.asyncIterator]())
    for (const iterator of iterators) for (let i = 0; i < 50; i++) await iterator.next()
    // If the readers held up the connection, these would have no answer within the deadline.
    const other = unique()
    await adapter.append(appendOf({ [other]: 'none' }, [happened(other)]))
    expect(await streamOf(adapter, other)).toHaveLength(1)
    expect(await streamOf(adapter, streams[0]!)).toHaveLength(100)
    for (const iterator of iterators) await iterator.return?.()
  }, 60_000)

  test('a reader that stops early leaves no call open, on the stand-in', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const stream = unique()
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(600, () => happened(stream, { text: 'x'.repeat(1_000) })),
      ),
    )
    const store = createStore(adapter)
    for (let i = 0; i < 5; i++) {
      let read = 0
      for await (const event of store.read(stream)) if (event.revision >= 0 && ++read === 40) break
      for await (const event of store.readAll()) if (event.revision >= 0 && ++read === 80) break
    }
    await until(() => server.faults.openReads === 0, 'the server has no read left to answer')
  })

  test('a reader that pauses has one page read ahead, and none once it has stopped (on the stand-in)', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const stream = unique()
    const large = () => times(150, () => happened(stream, { text: 'x'.repeat(64 * 1024) }))
    await adapter.append(appendOf({ [stream]: 'none' }, large()))
    await adapter.append(appendOf({ [stream]: 149 }, large()))
    const store = createStore(adapter)
    for (const read of [() => store.read(stream), () => store.readAll()]) {
      const before = server.faults.reads
      const reader = read()
      // The first page holds 32 events, the others as many as are 4 MiB.
      for (let i = 0; i < 40; i++) await reader.next()
      await until(() => server.faults.reads - before === 3, 'the page after the one at hand is read')
      let heads = 0
      for (; heads < 20; heads++) await headOf(adapter, stream)
      expect(server.faults.reads - before - heads).toBe(3)
      for (let i = 0; i < 64; i++) await reader.next()
      await until(() => server.faults.reads - before - heads === 4, 'the next page is read')
      await reader.return?.()
      for (; heads < 40; heads++) await headOf(adapter, stream)
      expect(server.faults.reads - before - heads).toBe(4)
    }
  })

  test('a read up to a limit makes one call, and the answer to a used key two (on the stand-in)', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const stream = unique()
    const request = () =>
      appendOf({ [stream]: 'none' }, [happened(stream), happened(stream)], {
        keys: [{ key: 'k', fingerprint: 'f', first: 0, count: 2 }],
      })
    await adapter.append(request())
    const readsOf = async (call: () => Promise<unknown>) => {
      const before = server.faults.reads
      await call()
      // What is asked for beyond the answer would come now.
      await headOf(adapter, stream)
      return server.faults.reads - before - 1
    }
    const all = { direction: 'forwards', to: undefined, limit: 2, after: undefined } as const
    const filter = { streams: undefined, categories: undefined, types: undefined }
    const drain = async (pages: AsyncIterable<unknown>) => {
      for await (const page of pages) expect(page).toBeDefined()
    }
    expect([
      await readsOf(() => drain(adapter.readAll({ ...all, ...filter }))),
      await readsOf(() => drain(adapter.read({ ...all, stream, from: 0 }))),
      await readsOf(() => adapter.append(request())),
    ]).toEqual([1, 1, 2])
  })

  test('an abort ends a reader at once', async () => {
    const store = createStore(await opened(await served()))
    const stream = unique()
    await store.append({ stream, events: times(2_000, () => ({ type: 'T', data: {} })) })
    const stop = new AbortController()
    let read = 0
    const reading = (async () => {
      for await (const event of store.read(stream, { signal: stop.signal })) {
        if (event.revision >= 0 && ++read === 10) stop.abort(new Error('enough'))
      }
    })()
    await expect(reading).rejects.toThrow('enough')
    expect(read).toBe(10)
  })
})

/** As many as show what each of them leaves; far more of them, in `npm run test:soak`. */
const OPENED_STORES = process.env.MNEME_LONGER === undefined ? 12 : 50
const HALF_READ_STREAMS = process.env.MNEME_LONGER === undefined ? 12 : 50

describe(`the log, ${where}`, () => {
  test('is scanned for a few among many, also for longer than the deadline', async () => {
    const server = await served()
    const adapter = await opened(server)
    const [many, few, type] = [unique('many'), unique('few'), unique('Type')]
    const floor = await adapter.logHead()
    const count = isFull ? 200_000 : 4_000
    await adapter.append(appendOf({ [few]: 'none' }, [happened(few, {}, { type })]))
    const each = Math.min(count, 10_000)
    for (let i = 0; i < count; i += each) {
      await adapter.append(
        appendOf(
          { [many]: i === 0 ? 'none' : i - 1 },
          times(each, (n) => happened(many, { n })),
        ),
      )
    }
    await adapter.append(appendOf({ [few]: 0 }, [happened(few, {}, { type })]))
    const clock = new JumpingClock()
    const impatient = await opened(server, FAR_DEADLINE_MS, clock)
    for (const store of [adapter, impatient]) {
      const scan = logOf(store, [few], floor)
      // The server answers when it is asked whether it is there.
      if (store === impatient) clock.jump(FAR_DEADLINE_MS)
      expect(await scan).toHaveLength(2)
      const types: unknown[] = []
      const request = {
        direction: 'backwards',
        after: undefined,
        to: undefined,
        limit: 2,
        streams: undefined,
        categories: undefined,
        types: [type],
      } as const
      for await (const page of store.readAll(request)) types.push(...page)
      expect(types).toHaveLength(2)
    }
  }, 120_000)
})
