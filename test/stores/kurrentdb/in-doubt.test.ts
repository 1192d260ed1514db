import { describe, expect, test } from 'vitest'

import {
  appendOf,
  behindProxy,
  fateOf,
  happened,
  logOf,
  opened,
  ownServer,
  sleep,
  streamOf,
  times,
  uncaught,
  unique,
  until,
  where,
} from './rig.ts'

const DEADLINE = 700
const LONGEST = 2 * DEADLINE + 800

describe('on the stand-in', () => {
  test('a first attempt that is still on its way in the server: one copy, and the retry is right', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString, DEADLINE)
    for (const several of [false, true]) {
      const [a, b] = [unique('a'), unique('b')]
      const held = server.faults.holdNextWrite('before')
      const request = several
        ? appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)])
        : appendOf({ [a]: 'none' }, [happened(a)])
      const appending = fateOf(adapter.append(request))
      await held.arrived
      const { value, took } = await appending
      held.release()
      await sleep(50)
      expect(took).toBeGreaterThan(DEADLINE * 0.9)
      expect(took).toBeLessThan(LONGEST)
      const log = await logOf(adapter, [a, b])
      expect(log.map(({ id }) => id)).toEqual(request.events.map(({ id }) => id))
      expect(value).toMatchObject({ kind: 'appended', positions: log.map(({ position }) => position) })
    }
  })

  test('a first attempt that comes after another took its place: a conflict, and nothing of it', async () => {
    const server = await ownServer()
    const [adapter, other] = [
      await opened(server.connectionString, DEADLINE),
      await opened(server.connectionString),
    ]
    const a = unique()
    const held = server.faults.holdNextWrite('before')
    const appending = fateOf(adapter.append(appendOf({ [a]: 'none' }, [happened(a)])))
    await held.arrived
    const winner = happened(a)
    await other.append(appendOf({ [a]: 'none' }, [winner]))
    const { value } = await appending
    held.release()
    await sleep(50)
    expect(value).toEqual({ kind: 'conflict', stream: a, expected: 'none', actual: 0 })
    expect((await streamOf(other, a)).map(({ id }) => id)).toEqual([winner.id])
  })

  test('a first attempt that was made, and whose stream has moved on: it is found', async () => {
    const server = await ownServer()
    const [adapter, other] = [
      await opened(server.connectionString, DEADLINE),
      await opened(server.connectionString),
    ]
    const [a, b] = [unique('a'), unique('b')]
    for (const events of [[happened(a)], times(3, () => happened(a)), [happened(a), happened(b)]]) {
      const [head, second] = [await other.head(a), await other.head(b)]
      const held = server.faults.holdNextWrite('after')
      const conditions = { [a]: head, ...(events.some(({ stream }) => stream === b) && { [b]: second }) }
      const appending = fateOf(adapter.append(appendOf(conditions, events)))
      await held.arrived
      await other.append(appendOf({ [a]: 'any' }, [happened(a)]))
      // The server forgets the ids that it was given.
      server.writer.memory.forget()
      const { value, error } = await appending
      held.release()
      expect(error).toBe(undefined)
      const log = (await logOf(other, [a, b])).filter(({ id }) => events.some((event) => event.id === id))
      expect(log.map(({ id }) => id)).toEqual(events.map(({ id }) => id))
      expect(value).toMatchObject({
        kind: 'appended',
        revisions: log.map(({ revision }) => revision),
        positions: log.map(({ position }) => position),
      })
    }
  })

  test.each(['timeout', 'cut', 'silence'] as const)(
    '%s, committed or not: settled where expected exactly',
    async (kind) => {
      const server = await ownServer()
      const adapter = await opened(server.connectionString, DEADLINE)
      for (const isCommitted of [true, false]) {
        for (const several of [false, true]) {
          const [a, b] = [unique('a'), unique('b')]
          const request = several
            ? appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)])
            : appendOf({ [a]: 'none' }, [happened(a)])
          server.faults.nextWrite({ kind, isCommitted })
          const { value, took } = await fateOf(adapter.append(request))
          expect(value).toMatchObject({ kind: 'appended' })
          expect(took).toBeLessThan(LONGEST)
          expect(await logOf(adapter, [a, b])).toHaveLength(request.events.length)

          server.faults.nextWrite({ kind, isCommitted })
          const loose = happened(a)
          const fate = await fateOf(adapter.append(appendOf({ [a]: 'any' }, [loose])))
          expect(fate.code).toBe('OUTCOME_UNKNOWN')
          const there = (await streamOf(adapter, a)).filter(({ id }) => id === loose.id)
          expect(there).toHaveLength(isCommitted ? 1 : 0)
        }
      }
    },
  )

  test.each(['not-ready', 'too-busy', 'no-leader'] as const)(
    '%s: is tried again, and says so if it lasts',
    async (kind) => {
      const server = await ownServer()
      const adapter = await opened(server.connectionString, DEADLINE)
      const [a, b] = [unique('a'), unique('b')]
      for (const expected of ['none', 'any'] as const) {
        server.faults.nextWrite({ kind }, 2)
        expect(await adapter.append(appendOf({ [a]: expected }, [happened(a)]))).toMatchObject({
          kind: 'appended',
        })
        // The server fails over a leader that it does not know, without saying whether it did something.
        if (kind !== 'no-leader' || expected !== 'any') server.faults.nextWrite({ kind }, 2)
        const both = appendOf({ [b]: expected, [a]: 'any' }, [happened(a), happened(b)])
        expect(await adapter.append(both)).toMatchObject({ kind: 'appended' })
      }
      server.faults.nextRead({ kind }, 2)
      expect(await adapter.head(a)).toBe(3)
      server.faults.nextRead({ kind }, 2)
      expect(await logOf(adapter, [a])).toHaveLength(4)

      server.faults.nextWrite({ kind }, 1_000)
      const { code, took } = await fateOf(adapter.append(appendOf({ [a]: 'any' }, [happened(a)])))
      expect(code).toBe('STORE_UNAVAILABLE')
      expect(took).toBeLessThan(LONGEST)
      server.faults.clear()
      server.faults.nextRead({ kind }, 1_000)
      expect(await fateOf(streamOf(adapter, a))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      server.faults.clear()
      expect(await streamOf(adapter, a)).toHaveLength(4)
    },
  )

  test('not the leader: goes to the leader', async () => {
    const [leader, follower] = [await ownServer(), await ownServer()]
    const adapter = await opened(follower.connectionString, DEADLINE)
    const a = unique()
    const leaderAt = { kind: 'not-leader', host: '127.0.0.1', port: leader.port } as const
    follower.faults.nextWrite(leaderAt, 1)
    expect(await fateOf(adapter.append(appendOf({ [a]: 'none' }, [happened(a)])))).toMatchObject({
      value: { kind: 'appended' },
    })
  })

  test('access denied: says so, and nothing is tried again', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString, DEADLINE)
    const a = unique()
    server.faults.nextWrite({ kind: 'access-denied' })
    const { error } = await fateOf(adapter.append(appendOf({ [a]: 'none' }, [happened(a)])))
    expect(error).toMatchObject({ code: 'CANNOT_OPEN', reason: 'access-denied' })
    server.faults.nextRead({ kind: 'access-denied' })
    expect(await fateOf(streamOf(adapter, a))).toMatchObject({ code: 'CANNOT_OPEN' })
    expect(await adapter.head(a)).toBe('none')
  })

  test('a server that is away: what did not arrive waits for it, or is STORE_UNAVAILABLE in time', async () => {
    const missed = uncaught()
    const server = await ownServer()
    const adapter = await opened(server.connectionString, 2_000)
    const [a, b] = [unique('a'), unique('b')]
    await adapter.append(appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)]))
    await server.stop()
    await sleep(50)
    const calls = [
      fateOf(adapter.append(appendOf({ [a]: 0 }, [happened(a)]))),
      fateOf(adapter.append(appendOf({ [b]: 'any' }, [happened(b)]))),
      fateOf(streamOf(adapter, a)),
      fateOf(logOf(adapter)),
      fateOf(adapter.head(a)),
      fateOf(adapter.append(appendOf({ [a]: 0 }, []))),
    ]
    await sleep(400)
    await server.start()
    for (const { error, took } of await Promise.all(calls)) {
      expect(error).toBe(undefined)
      expect(took).toBeLessThan(2_000)
    }
    expect(await logOf(adapter)).toHaveLength(4)
    // Both of the driver's parts read again: few events and many.
    const many = unique()
    await adapter.append(
      appendOf(
        { [many]: 'none' },
        times(200, () => happened(many)),
      ),
    )
    expect(await streamOf(adapter, many)).toHaveLength(200)
    await server.restart()
    expect(await streamOf(adapter, many)).toHaveLength(200)

    await server.stop()
    await sleep(50)
    for (const call of [
      () => adapter.append(appendOf({ [a]: 1 }, [happened(a)])),
      () => adapter.append(appendOf({ [a]: 'any' }, [happened(a)])),
      () => streamOf(adapter, many),
      () => logOf(adapter),
      () => adapter.append(appendOf({ [a]: 1 }, [])),
    ]) {
      const { code, took } = await fateOf<unknown>(call())
      expect(code).toMatch(/^STORE_UNAVAILABLE$/)
      expect(took).toBeLessThan(2_000 + 500)
    }
    await server.start()
    expect(await logOf(adapter)).toHaveLength(204)
    expect(missed).toEqual([])
  }, 60_000)

  test('64 callers that wait for a server that is away are told in time, each of them', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString, DEADLINE)
    await server.stop()
    await sleep(50)
    // Of some the ids were given, so that they go by themselves.
    for (const ids of ['made', 'given'] as const) {
      const appends = times(64, () => unique()).map((stream) =>
        fateOf(adapter.append(appendOf({ [stream]: 'any' }, [happened(stream)], { ids }))),
      )
      const fates = await Promise.all(appends)
      expect(new Set(fates.map(({ code }) => code))).toEqual(new Set(['STORE_UNAVAILABLE']))
      expect(Math.max(...fates.map(({ took }) => took))).toBeLessThan(LONGEST)
    }
  })
})

describe(`64 callers ${where}`, () => {
  const ways = {
    'a cut': (proxy: { cut(): void }) => proxy.cut(),
    'a reset': (proxy: { reset(): void }) => proxy.reset(),
  }

  test.each(Object.entries(ways))('are settled after %s', async (_, end) => {
    const missed = uncaught()
    const { proxy, adapter, direct } = await behindProxy(2_000)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    for (let round = 0; round < 3; round++) {
      const appends = callers.map((stream) =>
        fateOf(adapter.append(appendOf({ [stream]: round === 0 ? 'none' : round - 1 }, [happened(stream)]))),
      )
      await sleep(round * 3)
      proxy.mute()
      await sleep(100)
      end(proxy)
      for (const { error, took } of await Promise.all(appends)) {
        expect(error).toBe(undefined)
        expect(took).toBeLessThan(2 * 2_000 + 800)
      }
    }
    expect(await logOf(direct, callers)).toHaveLength(3 * 64)
    expect(missed).toEqual([])
  })

  test.each(Object.entries(ways))(
    'with large events, too, after %s',
    async (_, end) => {
      const missed = uncaught()
      const { proxy, adapter, direct } = await behindProxy(8_000)
      const prefix = unique()
      const callers = times(16, (i) => `${prefix}.${i}`)
      proxy.hold()
      const text = 'x'.repeat(3_500_000)
      const appends = callers.map((stream) =>
        fateOf(
          adapter.append(
            appendOf(
              { [stream]: 'none' },
              times(2, () => happened(stream, { text })),
            ),
          ),
        ),
      )
      await sleep(1_000)
      end(proxy)
      for (const { error } of await Promise.all(appends)) expect(error).toBe(undefined)
      for (const stream of callers) expect(await direct.head(stream)).toBe(1)
      await sleep(50)
      expect(missed).toEqual([])
    },
    120_000,
  )

  test.each(Object.entries(ways))(
    'that only verify are answered after %s, and nothing is left uncaught',
    async (_, end) => {
      const missed = uncaught()
      const { proxy, adapter } = await behindProxy(2_000)
      const prefix = unique()
      const callers = times(64, (i) => `${prefix}.${i}`)
      await Promise.all(
        callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
      )
      proxy.hold()
      proxy.mute()
      const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
      await sleep(300)
      end(proxy)
      for (const { error, value } of await Promise.all(verifications)) {
        expect(error).toBe(undefined)
        expect(value).toMatchObject({ kind: 'appended' })
      }
      await sleep(50)
      expect(missed).toEqual([])
    },
  )

  test('that only verify, behind a large append that is stuck, leave nothing uncaught when it is cut', async () => {
    const missed = uncaught()
    const { proxy, adapter } = await behindProxy(4_000)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    proxy.hold()
    const [large] = [unique()]
    const text = 'x'.repeat(3_500_000)
    const append = fateOf(adapter.append(appendOf({ [large]: 'none' }, [happened(large, { text })])))
    await sleep(200)
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    await sleep(200)
    proxy.cut()
    for (const { error } of await Promise.all([append, ...verifications])) expect(error).toBe(undefined)
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('that only verify get an answer in time where nothing comes through', async () => {
    const missed = uncaught()
    const { proxy, adapter } = await behindProxy(DEADLINE)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    proxy.hold()
    proxy.mute()
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    for (const { took } of await Promise.all(verifications)) expect(took).toBeLessThan(LONGEST)
    // Another connection is looked for.
    await until(
      async () => (await fateOf(adapter.append(appendOf({ [callers[0]!]: 0 }, [])))).value !== undefined,
      'it goes on',
      LONGEST,
    )
    await adapter.close()
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('that only verify while the connection is made leave nothing uncaught when that fails', async () => {
    const missed = uncaught()
    const { proxy, adapter } = await behindProxy(2_000)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    const unanswered = proxy.suspend()
    await sleep(20)
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    await sleep(500)
    unanswered()
    for (const { error } of await Promise.all(verifications)) expect(error).toBe(undefined)
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('readers get on after a connection that gives nothing any more', async () => {
    const { proxy, adapter } = await behindProxy(DEADLINE)
    const stream = unique()
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(100, () => happened(stream)),
      ),
    )
    for (const read of [() => adapter.head(stream), () => streamOf(adapter, stream)]) {
      await read()
      proxy.hold()
      proxy.mute()
      const { code, took } = await fateOf<unknown>(read())
      if (code !== undefined) expect(code).toBe('STORE_TIMEOUT')
      expect(took).toBeLessThan(LONGEST)
      const again = await fateOf<unknown>(read())
      expect(again.error).toBe(undefined)
    }
  })
})
