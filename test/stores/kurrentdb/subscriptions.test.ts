import { createStore } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'

import type { LogPlace, StoreAdapter, StoredEvent } from '../../../src/adapter/store-adapter.ts'
import { Follower } from './follower.ts'
import { FAR_DEADLINE_MS, JumpingClock } from './jumping-clock.ts'
import {
  appendOf,
  behindProxy,
  happened,
  logOf,
  opened,
  ownServer,
  served,
  sleep,
  times,
  uncaught,
  unique,
  until,
  where,
} from './rig.ts'
import { adapterOf } from './server.ts'

/** Appends events to a stream, some at a time. */
async function write(adapter: StoreAdapter, stream: string, count: number, each = 1): Promise<void> {
  for (let i = 0; i < count; i++) {
    const events = times(each, (n) => happened(stream, { n: i * each + n }))
    await adapter.append(appendOf({ [stream]: 'any' }, events))
  }
}

/** Where the log ends. */
async function endOf(adapter: StoreAdapter): Promise<LogPlace | undefined> {
  const position = await adapter.logHead()
  return position === undefined ? undefined : { position, id: (await adapter.idAt(position))! }
}

describe(`a subscription, ${where}`, () => {
  test('passes from what was there to what comes without a seam, whoever writes', async () => {
    const server = await served()
    const [reader, ...writers] = await Promise.all(times(3, () => opened(server)))
    const after = await endOf(reader!)
    const streams = times(8, () => unique('seam'))
    let isOver = false
    const writing = streams.map(async (stream, i) => {
      while (!isOver) await write(writers[i % 2]!, stream, 1, 1 + (i % 3))
    })
    const followers: Follower[] = []
    for (let i = 0; i < 20; i++) {
      followers.push(new Follower(reader!, { after, streams: i % 2 === 0 ? undefined : streams }))
      await sleep(25)
    }
    isOver = true
    await Promise.all(writing)
    const log = (await logOf(reader!, streams, after?.position)).map(({ id }) => id)
    const own = new Set(log)
    for (const follower of followers) {
      await until(
        () => follower.ids.filter((id) => own.has(id)).length >= log.length,
        `${String(log.length)} events have come`,
      )
      expect(follower.ids.filter((id) => own.has(id))).toEqual(log)
    }
  }, 60_000)

  test('that asks for little says how far it is, and does not look through it again', async () => {
    const clock = new JumpingClock()
    const adapter = await opened(await served(), undefined, clock)
    const [few, many] = [unique('few'), unique('many')]
    const after = await endOf(adapter)
    await write(adapter, few, 1)
    await write(adapter, many, 3, 1_200)
    const before = await endOf(adapter)
    const [{ position: nearEnd }] = (await logOf(adapter, [many], after?.position)).slice(-1_100) as [
      StoredEvent,
    ]
    const follower = new Follower(adapter, { after, streams: [few] })
    await follower.isLive()
    // The server tells where it began to look for the last time.
    expect(follower.places.at(-1)!.position >= nearEnd).toBe(true)
    await write(adapter, many, 1, 1_200)
    // It looks up how far it is every second at most.
    clock.jump(1_100)
    await write(adapter, many, 2, 1_200)
    await until(
      () => follower.places.at(-1)!.position > before!.position,
      'it has passed what came and was not asked for',
    )
    await write(adapter, few, 1)
    expect((await follower.first(2)).map(({ stream }) => stream)).toEqual([few, few])
    const place = follower.places.at(-1)!
    expect(await adapter.idAt(place.position)).toBe(place.id)
  }, 60_000)

  test('that has caught up is given each event by the server, and asks for nothing (on the stand-in)', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    // How far it has looked without finding anything, it looks up now and then: not while time stands still.
    clock.now = () => 0
    const adapter = await opened(server.connectionString, FAR_DEADLINE_MS, clock)
    const writer = await opened(server.connectionString)
    const stream = unique()
    const follower = new Follower(adapter, { streams: [stream] })
    await follower.isLive()
    await until(() => server.log.followers.size === 1, 'it is live')
    await write(writer, stream, 1)
    await follower.first(1)
    const { reads } = server.faults
    const { retries } = clock
    for (let i = 1; i < 60; i++) {
      await write(writer, stream, 1)
      await follower.first(i + 1)
    }
    expect([server.faults.reads, clock.retries]).toEqual([reads, retries])
  })

  test('from a place that is none is refused at once', async () => {
    const adapter = await opened(await served())
    await write(adapter, unique(), 1)
    const end = (await endOf(adapter))!
    const beyond = { ...end, position: String(BigInt(end.position) + 1_000_000n).padStart(19, '0') }
    for (const after of [beyond, { ...end, id: crypto.randomUUID() }]) {
      const follower = new Follower(adapter, { after, streams: ['nothing'] })
      await follower.over
      expect(follower.error).toMatchObject({ code: 'HISTORY_REWOUND' })
    }
  })
})

describe('a subscription to streams that were scavenged, on the stand-in', () => {
  test('goes on if it was running, because the notice of the erasure comes behind what was erased', async () => {
    const server = await ownServer()
    const { proxy, adapter, direct } = await behindProxy(2_000, undefined, server.connectionString)
    const store = createStore(direct)
    const [gone, kept] = [unique('gone'), unique('kept')]
    await write(direct, kept, 1)
    const follower = new Follower(adapter, { after: undefined, streams: undefined })
    await follower.first(1)
    await write(direct, gone, 3)
    await follower.first(4)
    await store.delete(gone)
    await follower.first(5)
    server.log.scavenge(gone)
    proxy.cut()
    await write(direct, kept, 2)
    expect((await follower.first(7)).map(({ stream }) => stream).slice(5)).toEqual([kept, kept])
    expect(follower.error).toBeUndefined()
  })

  test('does not begin on an event that is gone: nothing proves that it was there', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const [gone, kept] = [unique('gone'), unique('kept')]
    await write(adapter, kept, 1)
    await write(adapter, gone, 3)
    const after = (await endOf(adapter))!
    await write(adapter, kept, 1)
    server.log.scavenge(gone)
    expect(await adapter.idAt(after.position)).toBeUndefined()
    const follower = new Follower(adapter, { after, streams: [kept] })
    await follower.over
    expect(follower.error).toMatchObject({
      code: 'HISTORY_REWOUND',
      message: expect.stringContaining('a scavenge of the server removed it') as string,
    })
  })
})

describe(`a subscription whose connection breaks, ${where}`, () => {
  test('again and again, sees the log of writers that it does not trouble', async () => {
    const missed = uncaught()
    const { proxy, adapter, direct } = await behindProxy(2_000)
    const [stream, other] = [unique('cut'), unique('other')]
    const after = await endOf(direct)
    const followers = [
      new Follower(adapter, { after, streams: [stream] }),
      new Follower(adapter, { after, types: ['Happened'] }),
    ]
    let isOver = false
    const writing = [stream, other].map(async (name) => {
      while (!isOver) {
        await write(direct, name, 1, 3)
        await sleep(2)
      }
    })
    for (let i = 0; i < 6; i++) {
      const seen = followers.map(({ events }) => events.length)
      await until(
        () => followers.every(({ events, error }, n) => error !== undefined || events.length > seen[n]!),
        'both have seen more',
      )
      proxy.cut()
    }
    isOver = true
    await Promise.all(writing)
    const log = (await logOf(direct, [stream], after?.position)).map(({ id }) => id)
    for (const follower of followers) {
      const own = () => follower.events.filter((event) => event.stream === stream).map(({ id }) => id)
      await until(() => own().length >= log.length || follower.error !== undefined, 'all has come', 20_000)
      expect(follower.error).toBeUndefined()
      expect(own()).toEqual(log)
      expect(new Set(follower.interruptions)).toEqual(new Set(['STORE_UNAVAILABLE']))
    }
    expect(missed).toEqual([])
  }, 60_000)

  test('goes on where others have come to it meanwhile, from between two of its events', async () => {
    const { proxy, adapter, direct } = await behindProxy(2_000)
    const [few, many] = [unique('few'), unique('many')]
    let written = 0
    const both = async () => {
      await write(direct, many, 1)
      await write(direct, few, 1)
      written++
    }
    const followers = [new Follower(adapter, { streams: [few] })]
    await followers[0]!.isLive()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) {
        followers.push(new Follower(adapter, { streams: [few] }))
        for (let n = 0; n < 6; n++) await both()
      }
      await Promise.all(followers.map((follower) => follower.first(written)))
      const interrupted = followers.map(({ interruptions }) => interruptions.length)
      proxy.cut()
      // One that was just on its way to the others has no call that could break.
      await until(
        () => followers.some(({ interruptions }, n) => interruptions.length > interrupted[n]!),
        'the break is noticed',
      )
      await both()
      await Promise.all(followers.map((follower) => follower.first(written)))
    }
    const log = (await logOf(direct, [few])).map(({ id }) => id)
    for (const { ids } of followers) expect(ids).toEqual(log)
  }, 60_000)

  test('without a word notices within twice the deadline', async () => {
    const clock = new JumpingClock()
    const { proxy, adapter, direct } = await behindProxy(FAR_DEADLINE_MS, clock)
    const stream = unique('mute')
    const follower = new Follower(adapter, { after: await endOf(direct), streams: [stream] })
    await follower.isLive()
    await write(adapter, stream, 1)
    await follower.first(1)
    proxy.mute()
    const answers = () => proxy.links.reduce((sum, link) => sum + link.answers, 0)
    const heard = answers()
    await write(direct, stream, 1)
    await until(() => answers() > heard, 'the server has sent it')
    // When the first deadline has passed, it asks whether the server is there; when the second has, it is not.
    for (let deadlines = 0; deadlines < 2; deadlines++) {
      const before = answers()
      clock.jump(FAR_DEADLINE_MS)
      if (deadlines === 0) await until(() => answers() > before, 'it has asked')
    }
    await follower.first(2)
    expect(follower.interruptions.length).toBeGreaterThan(0)
  }, 30_000)
})

describe('subscriptions, on the stand-in', () => {
  test('that have caught up share a subscription of the server, and hold up nobody', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const writer = await opened(server.connectionString)
    const streams = times(45, () => unique())
    const followers = streams.map((stream, i) => {
      const request = [{ streams: [stream] }, { types: ['Happened'] }, {}][i % 3]!
      return new Follower(adapter, request)
    })
    await Promise.all(followers.map((follower) => follower.isLive()))
    await until(() => server.log.followers.size === 3, 'one is left for each way to filter')
    await write(adapter, streams[0]!, 1)
    for (const stream of streams.slice(1)) await write(writer, stream, 1)
    for (const [i, follower] of followers.entries()) {
      const wanted = i % 3 === 0 ? 1 : streams.length
      expect(await follower.first(wanted)).toHaveLength(wanted)
    }
    await Promise.all(followers.map((follower) => follower.stop()))
    await until(() => server.log.followers.size === 0, 'nothing is left on the server')
  }, 60_000)

  test('leave nothing on the server, however they end', async () => {
    const server = await ownServer()
    for (const how of ['abort', 'return', 'close'] as const) {
      for (const streams of [undefined, ['a'], []]) {
        const adapter = await opened(server.connectionString)
        await write(adapter, 'a', 1, 100)
        const ending = new AbortController()
        const pages = adapter.subscribe({
          ...{ after: undefined, streams, categories: undefined, types: undefined },
          ...{ signal: ending.signal, interrupted: () => undefined },
        })
        const iterator = pages[Symbol.asyncIterator]()
        for (let page = await iterator.next(); !page.done && !page.value.isCaughtUp;) {
          page = await iterator.next()
        }
        const next = iterator.next()
        if (how !== 'return') {
          ending.abort()
          expect(await next).toEqual({ done: true, value: undefined })
        } else {
          ending.abort()
          await iterator.return?.()
        }
        await until(() => server.log.followers.size === 0, 'nothing is left on the server')
      }
    }
  })

  test('outlive a server that stops and starts again', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString, 1_000)
    const followers = [new Follower(adapter), new Follower(adapter, { streams: ['a'] })]
    await Promise.all(followers.map((follower) => follower.isLive()))
    for (let round = 0; round < 3; round++) {
      // As another process would, which knows of no connection that was lost.
      await write(await opened(server.connectionString), 'a', 5, 2)
      const interrupted = followers.map(({ interruptions }) => interruptions.length)
      await server.stop()
      await until(
        () => followers.every(({ interruptions }, n) => interruptions.length > interrupted[n]!),
        'they are interrupted',
      )
      await sleep(round * 50)
      await server.start()
      await write(await opened(server.connectionString), 'b', 2)
    }
    const log = (await logOf(adapter)).map(({ id }) => id)
    const ofA = (await logOf(adapter, ['a'])).map(({ id }) => id)
    await followers[0]!.first(log.length)
    await followers[1]!.first(ofA.length)
    expect(followers.map(({ ids }) => ids)).toEqual([log, ofA])
    for (const { interruptions } of followers) expect(interruptions.length).toBeGreaterThan(0)
  }, 60_000)

  test('that begin while the server is away wait for it, past the deadline, and tell of it', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    const store = createStore(await adapterOf(server.connectionString, FAR_DEADLINE_MS, clock))
    onTestFinished(() => store.close())
    await store.append({ stream: 'a', events: [{ type: 'T', data: { n: 0 } }] })
    await server.stop()
    const interruptions: string[] = []
    const events = store.subscribe({ onInterrupted: ({ code }) => void interruptions.push(code) })
    const next = events.next()
    for (let deadlines = 1; deadlines <= 2; deadlines++) {
      const { retries } = clock
      await until(() => clock.retries > retries, 'the server is looked for')
      clock.jump(FAR_DEADLINE_MS)
      await until(() => interruptions.length >= deadlines, 'it tells of it')
    }
    await server.start()
    expect((await next).value).toMatchObject({ data: { n: 0 } })
    expect(new Set(interruptions)).toEqual(new Set(['STORE_UNAVAILABLE']))
  })

  test('end with an error where the server was restored to an earlier point', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    await write(adapter, 'a', 5)
    const backup = server.backUp()
    await write(adapter, 'a', 5)
    const followers = [new Follower(adapter), new Follower(adapter, { types: ['Happened'] })]
    await Promise.all(followers.map((follower) => follower.isLive()))
    await server.restore(backup)
    for (const follower of followers) {
      await follower.over
      expect(follower.error).toMatchObject({ code: 'HISTORY_REWOUND' })
    }
  })
})
