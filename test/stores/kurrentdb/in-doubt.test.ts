import type { StoreAdapter } from 'mneme/adapter'
import { describe, expect, test } from 'vitest'

import type { Proxy } from '../../support/proxy.ts'
import { FAR_DEADLINE_MS, JumpingClock } from './jumping-clock.ts'
import {
  appendOf,
  behindProxy,
  fateOf,
  happened,
  headOf,
  isPending,
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

const DEADLINE = FAR_DEADLINE_MS

describe('on the stand-in', () => {
  test('a first attempt that is still on its way in the server: one copy, and the retry is right', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    const adapter = await opened(server.connectionString, DEADLINE, clock)
    for (const several of [false, true]) {
      const [a, b] = [unique('a'), unique('b')]
      const held = server.faults.holdNextWrite('before')
      const request = several
        ? appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)])
        : appendOf({ [a]: 'none' }, [happened(a)])
      const appending = fateOf(adapter.append(request))
      await held.arrived
      expect(await isPending(appending)).toBe(true)
      clock.jump(DEADLINE)
      const { value } = await appending
      held.release()
      await held.over
      const log = await logOf(adapter, [a, b])
      expect(log.map(({ id }) => id)).toEqual(request.events.map(({ id }) => id))
      expect(value).toMatchObject({ kind: 'appended', positions: log.map(({ position }) => position) })
    }
  })

  test('a first attempt that comes after another took its place: a conflict, and nothing of it', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    const [adapter, other] = [
      await opened(server.connectionString, DEADLINE, clock),
      await opened(server.connectionString),
    ]
    const a = unique()
    const held = server.faults.holdNextWrite('before')
    const appending = fateOf(adapter.append(appendOf({ [a]: 'none' }, [happened(a)])))
    await held.arrived
    const winner = happened(a)
    await other.append(appendOf({ [a]: 'none' }, [winner]))
    clock.jump(DEADLINE)
    const { value } = await appending
    held.release()
    await held.over
    expect(value).toEqual({ kind: 'conflict', stream: a, expected: 'none', actual: 0 })
    expect((await streamOf(other, a)).map(({ id }) => id)).toEqual([winner.id])
  })

  test('a first attempt that was made, and whose stream has moved on: it is found', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    const [adapter, other] = [
      await opened(server.connectionString, DEADLINE, clock),
      await opened(server.connectionString),
    ]
    const [a, b] = [unique('a'), unique('b')]
    for (const events of [[happened(a)], times(3, () => happened(a)), [happened(a), happened(b)]]) {
      const [head, second] = [await headOf(other, a), await headOf(other, b)]
      const held = server.faults.holdNextWrite('after')
      const conditions = { [a]: head, ...(events.some(({ stream }) => stream === b) && { [b]: second }) }
      const appending = fateOf(adapter.append(appendOf(conditions, events)))
      await held.arrived
      await other.append(appendOf({ [a]: 'any' }, [happened(a)]))
      // The server forgets the ids that it was given.
      server.writer.memory.forget()
      clock.jump(DEADLINE)
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
      const clock = new JumpingClock()
      const adapter = await opened(server.connectionString, DEADLINE, clock)
      // The server answers to all but silence.
      const pass = async (met: number) => {
        await until(() => server.faults.met === met, 'the server has met the fault')
        if (kind === 'silence') clock.jump(DEADLINE)
      }
      for (const isCommitted of [true, false]) {
        for (const several of [false, true]) {
          const [a, b] = [unique('a'), unique('b')]
          const request = several
            ? appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)])
            : appendOf({ [a]: 'none' }, [happened(a)])
          const { met } = server.faults
          server.faults.nextWrite({ kind, isCommitted })
          const appending = fateOf(adapter.append(request))
          await pass(met + 1)
          expect((await appending).value).toMatchObject({ kind: 'appended' })
          expect(await logOf(adapter, [a, b])).toHaveLength(request.events.length)

          server.faults.nextWrite({ kind, isCommitted })
          const loose = happened(a)
          const loosely = fateOf(adapter.append(appendOf({ [a]: 'any' }, [loose])))
          await pass(met + 2)
          expect((await loosely).code).toBe('OUTCOME_UNKNOWN')
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
      const clock = new JumpingClock()
      const adapter = await opened(server.connectionString, DEADLINE, clock)
      /** What becomes of a call that is refused until the deadline has passed; once it has, it is tried no more. */
      const lasting = async (call: () => Promise<unknown>) => {
        const { met } = server.faults
        const calling = fateOf(call())
        await until(() => server.faults.met >= met + 3, 'it was tried three times')
        clock.holdsRetries = true
        await until(() => clock.held === 1, 'it waits to be retried')
        const tried = server.faults.met
        clock.jump(DEADLINE)
        const fate = await calling
        clock.holdsRetries = false
        expect(server.faults.met - tried).toBeLessThanOrEqual(1)
        return fate
      }
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
      expect(await headOf(adapter, a)).toBe(3)
      server.faults.nextRead({ kind }, 2)
      expect(await logOf(adapter, [a])).toHaveLength(4)

      server.faults.nextWrite({ kind }, 1_000)
      const { code } = await lasting(() => adapter.append(appendOf({ [a]: 'any' }, [happened(a)])))
      expect(code).toBe('STORE_UNAVAILABLE')
      server.faults.clear()
      server.faults.nextRead({ kind }, 1_000)
      expect(await lasting(() => streamOf(adapter, a))).toMatchObject({ code: 'STORE_UNAVAILABLE' })
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
    expect(await headOf(adapter, a)).toBe('none')
  })

  test('a server that is away: what did not arrive waits for it, or is STORE_UNAVAILABLE in time', async () => {
    const missed = uncaught()
    const server = await ownServer()
    const clock = new JumpingClock()
    const adapter = await opened(server.connectionString, DEADLINE, clock)
    const [a, b] = [unique('a'), unique('b')]
    await adapter.append(appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)]))
    await server.stop()
    // The driver has noticed by the time that a call is retried.
    const [first, known] = [fateOf(headOf(adapter, a)), clock.retries]
    await until(() => clock.retries > known, 'the driver has noticed')
    const calls = [
      first,
      fateOf(adapter.append(appendOf({ [a]: 0 }, [happened(a)]))),
      fateOf(adapter.append(appendOf({ [b]: 'any' }, [happened(b)]))),
      fateOf(streamOf(adapter, a)),
      fateOf(logOf(adapter)),
      fateOf(headOf(adapter, a)),
      fateOf(adapter.append(appendOf({ [a]: 0 }, []))),
    ]
    const before = clock.retries
    await until(() => clock.retries >= before + 12, 'they are retried')
    for (const call of calls) expect(await isPending(call)).toBe(true)
    await server.start()
    for (const { error } of await Promise.all(calls)) expect(error).toBe(undefined)
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
    const [second, noticed] = [fateOf<unknown>(headOf(adapter, a)), clock.retries]
    await until(() => clock.retries > noticed, 'the driver has noticed')
    const vain = [
      () => adapter.append(appendOf({ [a]: 1 }, [happened(a)])),
      () => adapter.append(appendOf({ [b]: 'any' }, [happened(b)])),
      () => streamOf(adapter, many),
      () => logOf(adapter),
      () => adapter.append(appendOf({ [a]: 1 }, [])),
    ].map((call) => fateOf<unknown>(call()))
    vain.push(second)
    const retried = clock.retries
    await until(() => clock.retries >= retried + 12, 'they are retried')
    clock.holdsRetries = true
    await until(() => clock.held === 5, 'they wait to be retried, the appends as one')
    for (const call of vain) expect(await isPending(call)).toBe(true)
    clock.jump(DEADLINE)
    for (const { code } of await Promise.all(vain)) expect(code).toBe('STORE_UNAVAILABLE')
    clock.holdsRetries = false
    await server.start()
    expect(await logOf(adapter)).toHaveLength(204)
    expect(missed).toEqual([])
  }, 60_000)

  test('64 callers that wait for a server that is away are told in time, each of them', async () => {
    const server = await ownServer()
    const clock = new JumpingClock()
    const adapter = await opened(server.connectionString, DEADLINE, clock)
    await server.stop()
    const [first, known] = [fateOf(headOf(adapter, unique())), clock.retries]
    await until(() => clock.retries > known, 'the driver has noticed')
    // Of some the ids were given, so that they go by themselves.
    for (const ids of ['made', 'given'] as const) {
      const appends = times(64, () => unique()).map((stream) =>
        fateOf(adapter.append(appendOf({ [stream]: 'any' }, [happened(stream)], { ids }))),
      )
      const before = clock.retries
      await until(() => clock.retries >= before + 12, 'they are retried')
      for (const append of appends) expect(await isPending(append)).toBe(true)
      clock.holdsRetries = true
      await until(() => clock.held >= (ids === 'made' ? 1 : 8), 'they wait to be retried')
      clock.jump(DEADLINE)
      // Those that wait behind others get an answer when those do.
      const fates = await Promise.all(appends)
      clock.holdsRetries = false
      expect(await first).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(new Set(fates.map(({ code }) => code))).toEqual(new Set(['STORE_UNAVAILABLE']))
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
    const { proxy, adapter, direct } = await behindProxy(DEADLINE)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    for (let round = 0; round < 3; round++) {
      const appends = callers.map((stream) =>
        fateOf(adapter.append(appendOf({ [stream]: round === 0 ? 'none' : round - 1 }, [happened(stream)]))),
      )
      await sleep(round * 3)
      proxy.mute()
      await sleep(20)
      end(proxy)
      // Without waiting for a deadline, which is far away.
      for (const { error } of await Promise.all(appends)) expect(error).toBe(undefined)
    }
    expect(await logOf(direct, callers)).toHaveLength(3 * 64)
    expect(missed).toEqual([])
  })

  test.each(Object.entries(ways))('with large events, too, after %s', async (_, end) => {
    const missed = uncaught()
    const { proxy, adapter, direct } = await behindProxy(DEADLINE)
    const { appends, streams } = await largeAppends(proxy, adapter)
    end(proxy)
    for (const { error } of await Promise.all(appends)) expect(error).toBe(undefined)
    for (const stream of streams) expect(await headOf(direct, stream)).toBe(0)
    expect(missed).toEqual([])
  })

  test.each(Object.entries(ways))(
    'with large events on a stand-in of an older server, which gets them in messages, after %s',
    async (_, end) => {
      const missed = uncaught()
      const clock = new JumpingClock()
      const server = await ownServer({ version: '24.10.0', writeTimeout: FAR_DEADLINE_MS })
      const { proxy, adapter, direct } = await behindProxy(DEADLINE, clock, server.connectionString)
      const { appends, streams } = await largeAppends(proxy, adapter)
      await sleep(100)
      clock.jump(DEADLINE / 2)
      end(proxy)
      // The driver never settles some of them; their deadline passes, which began before that of the others' retries.
      await sleep(20)
      clock.jump(DEADLINE / 2)
      for (const { error } of await Promise.all(appends)) expect(error).toBe(undefined)
      for (const stream of streams) expect(await headOf(direct, stream)).toBe(0)
      await sleep(50)
      expect(missed).toEqual([])
    },
  )

  /** Appends to streams of their own, of more bytes than a connection takes that is not read, which are on their way. */
  async function largeAppends(proxy: Proxy, adapter: StoreAdapter) {
    const prefix = unique()
    const streams = times(10, (i) => `${prefix}.${i}`)
    proxy.hold()
    const text = 'x'.repeat(400_000)
    const appends = streams.map((stream) =>
      fateOf(adapter.append(appendOf({ [stream]: 'none' }, [happened(stream, { text })]))),
    )
    await until(() => proxy.links.some(({ held }) => held.length > 0), 'a part of it is on its way')
    return { appends, streams }
  }

  test.each(Object.entries(ways))(
    'that only verify are answered after %s, and nothing is left uncaught',
    async (_, end) => {
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
      await until(() => proxy.links.some(({ held }) => held.length > 0), 'some are on their way')
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
    const clock = new JumpingClock()
    const { proxy, adapter } = await behindProxy(DEADLINE, clock)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    proxy.hold()
    const [large] = [unique()]
    const text = 'x'.repeat(3_500_000)
    const append = fateOf(adapter.append(appendOf({ [large]: 'none' }, [happened(large, { text })])))
    await until(() => proxy.links.some(({ held }) => held.length > 0), 'a part of it is on its way')
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    await sleep(20)
    proxy.cut()
    for (const { error } of await Promise.all([append, ...verifications])) expect(error).toBe(undefined)
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('that only verify get an answer in time where nothing comes through', async () => {
    const missed = uncaught()
    const clock = new JumpingClock()
    const { proxy, adapter } = await behindProxy(DEADLINE, clock)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    proxy.hold()
    proxy.mute()
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    await until(() => proxy.links.some(({ held }) => held.length > 0), 'some are on their way')
    expect(await isPending(verifications[0]!)).toBe(true)
    // Some wait until others have an answer, and may be sent before there is another connection.
    const asked = () => proxy.links.flatMap(({ held }) => held).length
    let isOver = false
    const settling = Promise.all(verifications).finally(() => (isOver = true))
    for (let deadlines = 0; !isOver && deadlines < 2; deadlines++) {
      const before = asked()
      clock.jump(DEADLINE)
      await until(() => isOver || asked() > before, 'others are on their way')
    }
    await settling
    // It has looked for another connection.
    expect((await fateOf(adapter.append(appendOf({ [callers[0]!]: 0 }, [])))).error).toBe(undefined)
    await adapter.close()
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('that only verify while the connection is made leave nothing uncaught when that fails', async () => {
    const missed = uncaught()
    const { proxy, adapter } = await behindProxy(DEADLINE)
    const prefix = unique()
    const callers = times(64, (i) => `${prefix}.${i}`)
    await Promise.all(
      callers.map((stream) => adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))),
    )
    const unanswered = proxy.suspend()
    await sleep(20)
    const verifications = callers.map((stream) => fateOf(adapter.append(appendOf({ [stream]: 0 }, []))))
    await until(() => proxy.unanswered.length > 0, 'the driver tries to connect')
    unanswered()
    for (const { error } of await Promise.all(verifications)) expect(error).toBe(undefined)
    await sleep(50)
    expect(missed).toEqual([])
  })

  test('readers get on after a connection that gives nothing any more', async () => {
    const clock = new JumpingClock()
    const { proxy, adapter } = await behindProxy(DEADLINE, clock)
    const stream = unique()
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(100, () => happened(stream)),
      ),
    )
    for (const read of [() => headOf(adapter, stream), () => streamOf(adapter, stream)]) {
      await read()
      const links = proxy.hold()
      proxy.mute()
      const reading = fateOf<unknown>(read())
      await until(() => links.some(({ held }) => held.length > 0), 'it is on its way')
      clock.jump(DEADLINE)
      const { code } = await reading
      if (code !== undefined) expect(code).toBe('STORE_TIMEOUT')
      const again = await fateOf<unknown>(read())
      expect(again.error).toBe(undefined)
    }
  })
})
