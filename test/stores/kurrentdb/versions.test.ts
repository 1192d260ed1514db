import { createStore } from 'mneme'
import { describe, expect, test } from 'vitest'

import { fateOf, happened, opened, ownServer, appendOf, streamOf, unique } from './rig.ts'

const event = { type: 'T', data: {} }

describe.each(['24.10.0', '22.10.0'])('a server of version %s, on the stand-in', (version) => {
  test('takes one stream, and refuses several and keys by the version that is needed, writing nothing', async () => {
    const server = await ownServer({ version })
    const store = createStore(await opened(server.connectionString))
    expect(store.capabilities).toMatchObject({
      severalStreams: false,
      keys: false,
      settlesAny: false,
      truncation: true,
      erasesAtOnce: false,
      listsStreams: false,
      imports: true,
    })
    const [a, b] = [unique('a'), unique('b')]
    const end = server.log.end
    const calls = {
      'several streams': () =>
        store.append([
          { stream: a, events: [event] },
          { stream: b, events: [event] },
        ]),
      'a stream that is only read': () =>
        store.append([
          { stream: a, events: [event] },
          { stream: b, expected: 'none', events: [] },
        ]),
      'a key': () => store.append({ stream: a, events: [event] }, { key: 'k' }),
    }
    for (const [name, call] of Object.entries(calls)) {
      const { error } = await fateOf(call())
      expect([name, error]).toMatchObject([name, { code: 'UNSUPPORTED' }])
      expect(error?.message).toContain('26.1')
    }
    expect(server.log.end).toBe(end)
    await store.append({ stream: a, expected: 'none', events: [event, event] })
    await expect(store.append({ stream: a, expected: 'none', events: [event] })).rejects.toMatchObject({
      code: 'CONFLICT',
      actual: 1,
    })
  })

  test('answers with the positions that are read', async () => {
    const server = await ownServer({ version })
    const adapter = await opened(server.connectionString)
    const stream = unique()
    for (const expected of ['none', 2] as const) {
      const verdict = await adapter.append(
        appendOf({ [stream]: expected }, [happened(stream), happened(stream), happened(stream)]),
      )
      const there = (await streamOf(adapter, stream)).slice(-3)
      expect(verdict).toMatchObject({ positions: there.map(({ position }) => position) })
    }
  })
})

describe('a server that gives the messages of an append little time, on the stand-in', () => {
  test('a large append does not depend on how long its parts are under way', async () => {
    const server = await ownServer({ writeTimeout: 1 })
    const adapter = await opened(server.connectionString)
    const stream = unique()
    const text = 'x'.repeat(2_000_000)
    const append = appendOf(
      { [stream]: 'any' },
      [0, 1, 2].map(() => happened(stream, { text })),
    )
    expect(await adapter.append(append)).toMatchObject({ kind: 'appended', revisions: [0, 1, 2] })
  })
})

describe('the limits of a server, on the stand-in', () => {
  test.each([
    ['an event', { maxEventSize: 2_000 }],
    ['an append', { maxAppendSize: 3_000 }],
  ])('of %s: a clear error, and nothing is written, by either call', async (_, options) => {
    const server = await ownServer(options)
    const adapter = await opened(server.connectionString)
    const [a, b] = [unique('a'), unique('b')]
    const end = server.log.end
    const large = { text: 'x'.repeat(3_500) }
    for (const request of [
      appendOf({ [a]: 'none' }, [happened(a, large)]),
      appendOf({ [a]: 'none', [b]: 'none' }, [happened(a, large), happened(b)]),
      appendOf({ [a]: 'any' }, [happened(a, large)]),
    ]) {
      const { error } = await fateOf(adapter.append(request))
      expect(error).toMatchObject({
        code: 'LIMIT_EXCEEDED',
        isRetryable: false,
        message: expect.stringContaining('this server') as string,
      })
    }
    expect(server.log.end).toBe(end)
    // Those that it goes with are not affected.
    const streams = [unique(), unique(), unique()]
    const fates = await Promise.all(
      streams.map((stream, i) =>
        fateOf(adapter.append(appendOf({ [stream]: 'none' }, [happened(stream, i === 1 ? large : {})]))),
      ),
    )
    expect(fates.map(({ code }) => code)).toEqual([undefined, 'LIMIT_EXCEEDED', undefined])
  })
})
