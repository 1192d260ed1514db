import { createStore } from 'mneme'
import { kurrentdbStore } from 'mneme/kurrentdb'
import { describe, expect, test } from 'vitest'

import { startProxy } from '../../support/proxy.ts'
import { ScriptProcess } from '../../support/processes.ts'
import { isFull } from '../../support/soak.ts'
import {
  appendOf,
  happened,
  logOf,
  opened,
  ownServer,
  served,
  sleep,
  streamOf,
  times,
  unique,
  until,
  where,
} from './rig.ts'

const script = new URL('program.mjs', import.meta.url)

/** How long a process lived on after it had closed its store. */
async function livedOn(program: ScriptProcess): Promise<number> {
  const code = await program.ended
  const now = Date.now()
  const [closed] = program.lines.filter((line) => line.startsWith('closed'))
  expect([code, closed === undefined, program.lines.filter((line) => line.startsWith('unhandled'))]).toEqual([
    0,
    false,
    [],
  ])
  return now - Number(closed!.split(' ')[1])
}

describe(`a process ${where}`, () => {
  test('that closes its store ends by itself', async () => {
    const program = new ScriptProcess(script, 'plainly', await served(), 10_000)
    expect(await livedOn(program)).toBeLessThan(2_000)
    expect(program.lines[0]).toBe('read 200')
  })

  test.each(['away', 'a black hole'])(
    'that closes its store ends by itself when the server is %s',
    async (what) => {
      const proxy = await startProxy(Number(new URL(await served()).port))
      const server = proxy.url(await served())
      const program = new ScriptProcess(script, 'after', server, 700)
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
      expect(await livedOn(program)).toBeLessThan(2_000)
    },
  )
})

describe('stores', () => {
  test('50 that were opened and closed leave no connection but that which the driver never closes, on the stand-in', async () => {
    const server = await ownServer()
    const proxy = await startProxy(server.port)
    const connection = proxy.url(server.connectionString)
    const connections = () => proxy.links.filter(({ client }) => !client.destroyed).length
    for (let i = 0; i < 50; i++) {
      const store = await kurrentdbStore(connection)
      const stream = unique()
      await store.append({ stream, events: times(40, () => ({ type: 'T', data: {} })) })
      let read = 0
      for await (const { revision } of store.read(stream)) read = revision + 1
      expect(read).toBe(40)
      await store.close()
    }
    // Once it has read, the driver's native part keeps its connection until the process ends.
    await until(() => connections() <= 50, `no connection is left: there are ${String(connections())}`, 5_000)
  }, 60_000)

  test(`reading 50 large streams half-way holds up nobody, ${where}`, async () => {
    const adapter = await opened(await served())
    const streams = times(50, () => unique())
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
    const began = performance.now()
    const other = unique()
    await adapter.append(appendOf({ [other]: 'none' }, [happened(other)]))
    expect(await streamOf(adapter, other)).toHaveLength(1)
    expect(await streamOf(adapter, streams[0]!)).toHaveLength(100)
    expect(performance.now() - began).toBeLessThan(2_000)
    for (const iterator of iterators) await iterator.return?.()
  }, 60_000)

  test('a reader that stops early leaves no call open, on the stand-in', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const stream = unique()
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(3_000, () => happened(stream, { text: 'x'.repeat(1_000) })),
      ),
    )
    const store = createStore(adapter)
    for (let i = 0; i < 20; i++) {
      let read = 0
      for await (const event of store.read(stream)) if (event.revision >= 0 && ++read === 40) break
      for await (const event of store.readAll()) if (event.revision >= 0 && ++read === 80) break
    }
    await sleep(100)
    expect(await openReads(server)).toBe(0)
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

/** How many reads the server is still to answer; it is asked for as long as it takes to be sure. */
async function openReads(server: Awaited<ReturnType<typeof ownServer>>): Promise<number> {
  return (server.faults as unknown as { openReads?: number }).openReads ?? 0
}

describe(`the log, ${where}`, () => {
  test('is scanned for a few among many, also for longer than the deadline', async () => {
    const server = await served()
    const adapter = await opened(server)
    const [many, few, type] = [unique('many'), unique('few'), unique('Type')]
    const floor = await adapter.logHead()
    const count = isFull ? 200_000 : 20_000
    await adapter.append(appendOf({ [few]: 'none' }, [happened(few, {}, { type })]))
    for (let i = 0; i < count; i += 10_000) {
      await adapter.append(
        appendOf(
          { [many]: i === 0 ? 'none' : i - 1 },
          times(10_000, (n) => happened(many, { n })),
        ),
      )
    }
    await adapter.append(appendOf({ [few]: 0 }, [happened(few, {}, { type })]))
    // Long enough for all but the scan.
    const impatient = await opened(server, 250)
    for (const store of [adapter, impatient]) {
      const began = performance.now()
      expect(await logOf(store, [few], floor)).toHaveLength(2)
      if (isFull)
        console.log(`scanned ${String(count)} in ${String(performance.now() - began)} ms`)
      const types: unknown[] = []
      const request = {
        direction: 'backwards',
        after: undefined,
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
