import { describe, expect, onTestFinished, test } from 'vitest'

import { kurrentdbAdapter } from '../../../src/stores/kurrentdb/adapter.ts'
import { readConnection } from '../../../src/stores/kurrentdb/options.ts'
import { makeClient } from '../../../src/stores/kurrentdb/driver.ts'
import type { AppendRequest, StoreAdapter } from '../../../src/adapter/store-adapter.ts'
import type { Proxy } from '../../support/proxy.ts'
import { FAR_DEADLINE_MS, JumpingClock } from './jumping-clock.ts'
import {
  appendOf,
  behindProxy,
  fateOf,
  happened,
  headOf,
  logOf,
  times,
  uncaught,
  unique,
  until,
  where,
} from './rig.ts'

/** It passes when a mishap says so, once: what it takes to settle an append is less than another. */
const DEADLINE = FAR_DEADLINE_MS

type Expected = 'none' | 'any' | 'exists'

/** What an append is made of, by the streams that it has. */
const kinds: Readonly<Record<string, (a: string, b: string, expected: Expected) => AppendRequest>> = {
  'one event': (a, _, expected) => appendOf({ [a]: expected }, [happened(a)]),
  'several events': (a, _, expected) =>
    appendOf(
      { [a]: expected },
      times(3, (n) => happened(a, { n })),
    ),
  'several streams': (a, b, expected) =>
    appendOf({ [a]: expected, [b]: expected }, [happened(a), happened(b), happened(a)]),
  'one event with a key': (a, _, expected) =>
    appendOf({ [a]: expected }, [happened(a)], {
      keys: [{ key: unique('key'), fingerprint: 'f', first: 0, count: 1 }],
    }),
}

/** What befalls an append: as it is sent, and once it was. */
interface Mishap {
  strike(proxy: Proxy): void
  then(proxy: Proxy, isThere: () => Promise<boolean>, clock: JumpingClock): Promise<unknown>
}

const whenThere = (end: (proxy: Proxy) => void): Mishap => ({
  strike: (proxy) => proxy.mute(),
  then: async (proxy, isThere) => {
    await until(isThere, 'it is there')
    end(proxy)
  },
})

function answeredLate(): Mishap {
  let answer: () => void = () => undefined
  return {
    strike: (proxy) => {
      proxy.answersAfter = new Promise((resolve) => (answer = resolve))
    },
    then: async (proxy, isThere, clock) => {
      await until(isThere, 'it is there')
      clock.jump(DEADLINE)
      proxy.answersAfter = undefined
      answer()
    },
  }
}

const mishaps: Readonly<Record<string, Mishap>> = {
  'the connection is cut before it reaches the server': {
    strike: (proxy) => void proxy.hold(),
    then: async (proxy) => {
      await until(() => proxy.links.some(({ held }) => held.length > 0), 'something is held')
      proxy.cut()
    },
  },
  'the connection is cut before its answer comes': whenThere((proxy) => proxy.cut()),
  'the connection is reset before its answer comes': whenThere((proxy) => proxy.reset()),
  'its answer comes after the deadline': answeredLate(),
  'nothing comes through any more on its connection': {
    strike: (proxy) => {
      proxy.hold()
      proxy.mute()
    },
    then: async (proxy, _, clock) => {
      await until(() => proxy.links.some(({ held }) => held.length > 0), 'something is held')
      clock.jump(DEADLINE)
    },
  },
}

/** A store whose next append has a mishap, and a look past it. */
async function struckBy({ strike, then }: Mishap, isThere: (direct: StoreAdapter) => Promise<boolean>) {
  const clock = new JumpingClock()
  const behind = await behindProxy(DEADLINE)
  const { proxy, through, direct } = behind
  let isStruck = false
  const connect = () => makeClient(readConnection(through, DEADLINE).text)
  const client = await connect()
  const { appendToStream, appendRecords } = client
  let end: Promise<unknown> | undefined
  const befall = () => {
    if (isStruck) return
    isStruck = true
    strike(proxy)
    end = then(proxy, () => isThere(direct), clock)
  }
  const settings = { deadline: DEADLINE, requiresLeader: true, clock }
  const adapter = await kurrentdbAdapter(client, settings, connect)
  client.appendToStream = (...args) => {
    befall()
    return appendToStream.apply(client, args)
  }
  client.appendRecords = (...args) => {
    befall()
    return appendRecords.apply(client, args)
  }
  onTestFinished(() => adapter.close())
  return { ...behind, adapter, ended: () => end }
}

describe(`an append ${where}`, () => {
  describe.each(Object.keys(kinds))('of %s', (kind) => {
    describe.each(Object.keys(mishaps))('when %s', (mishap) => {
      test('expected exactly where it was: is settled, and one copy is there', async () => {
        const missed = uncaught()
        const [a, b] = [unique('a'), unique('b')]
        const struck = await struckBy(
          mishaps[mishap]!,
          async (direct) => (await headOf(direct, a)) !== 'none',
        )
        const { adapter, direct, ended } = struck
        const request = kinds[kind]!(a, b, 'none')
        const { value, error } = await fateOf(adapter.append(request))
        await ended()
        expect(error).toBe(undefined)
        const log = await logOf(direct, [a, b])
        expect(log.filter(({ stream }) => stream === a || stream === b).map(({ id }) => id)).toEqual(
          request.events.map(({ id }) => id),
        )
        expect(value).toMatchObject({
          kind: 'appended',
          revisions: log.map(({ revision }) => revision),
          positions: log.map(({ position }) => position),
        })
        // And it goes on.
        const next = appendOf({ [a]: await headOf(direct, a) }, [happened(a)])
        expect(await adapter.append(next)).toMatchObject({ kind: 'appended' })
        expect(missed).toEqual([])
      })

      test.each(['any', 'exists'] as const)(
        'with %j: is OUTCOME_UNKNOWN unless a key settles it, and never there twice',
        async (expected) => {
          const missed = uncaught()
          const [a, b] = [unique('a'), unique('b')]
          const struck = await struckBy(mishaps[mishap]!, async (direct) => (await headOf(direct, a)) !== 0)
          const { adapter, direct, ended } = struck
          await direct.append(appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)]))
          const request = kinds[kind]!(a, b, expected)
          const { code } = await fateOf(adapter.append(request))
          await ended()
          // The stream that keeps a key is expected not to be there, which settles it.
          expect(code).toBe(request.keys.length > 0 ? undefined : 'OUTCOME_UNKNOWN')
          const ids = (await logOf(direct, [a, b])).map(({ id }) => id)
          expect(ids.length).toBe(new Set(ids).size)
          expect([2, 2 + request.events.length]).toContain(ids.length)
          expect(missed).toEqual([])
        },
      )
    })
  })
})
