import type { AppendVerdict } from 'mneme/adapter'
import { describe, expect, test } from 'vitest'

import type { AppendRequest } from '../../../src/adapter/store-adapter.ts'
import { appendOf, happened, opened, ownServer, times, unique } from './rig.ts'

/** An append of some events under some keys, each of which covers one of them. */
function keyed(stream: string, keys: readonly string[], text = ''): AppendRequest {
  const events = keys.map((key) => happened(stream, { key, text }))
  return appendOf({ [stream]: 'any' }, events, {
    keys: keys.map((key, first) => ({ key, fingerprint: key, first, count: 1 })),
  })
}

describe('idempotency keys on the stand-in', () => {
  const shapes: Record<string, { readonly keys: number; readonly text: string }> = {
    'one key an append': { keys: 1, text: '' },
    'three keys an append': { keys: 3, text: '' },
    'large events': { keys: 1, text: 'x'.repeat(100_000) },
  }
  test.each(Object.entries(shapes))(
    'repeats in their first order, or in any other, get the first answers: %s',
    async (_, { keys, text }) => {
      const server = await ownServer()
      const [adapter, other] = [await opened(server.connectionString), await opened(server.connectionString)]
      const requests = times(40, (i) => {
        const name = unique()
        return keyed(
          `s${String(i % 3)}`,
          times(keys, (n) => `${name}.${String(n)}`),
          text,
        )
      })
      const first: AppendVerdict[] = []
      for (const [i, request] of requests.entries()) {
        first.push(await adapter.append(request))
        // What others write between them is no answer to any.
        if (i % 4 === 0) await adapter.append(appendOf({ others: 'any' }, [happened('others')]))
      }
      const end = server.log.end
      for (const order of [requests, requests.toReversed()]) {
        for (const request of order) {
          const { events, keys } = request
          const verdict = await other.append(request)
          expect(verdict).toMatchObject({
            kind: 'used',
            uses: keys.map(({ key, first }) => ({
              key,
              fingerprint: key,
              events: [{ id: events[first]!.id }],
            })),
          })
        }
      }
      // All at once as well.
      const verdicts = await Promise.all(requests.map((request) => other.append(request)))
      expect(verdicts.map(({ kind }) => kind)).toEqual(requests.map(() => 'used'))
      expect(server.log.end).toBe(end)
      expect(first.map(({ kind }) => kind)).toEqual(requests.map(() => 'appended'))
    },
  )

  test('repeats in their first order take less than half of the calls to the server that the first ones took', async () => {
    const server = await ownServer()
    const [adapter, other] = [await opened(server.connectionString), await opened(server.connectionString)]
    const requests = times(64, (i) => keyed(`s${String(i % 5)}`, [unique()]))
    const callsOf = async (appending: () => Promise<unknown>) => {
      const before = server.faults.reads + server.faults.writes
      await appending()
      return server.faults.reads + server.faults.writes - before
    }
    const calls = await callsOf(async () => {
      for (const request of requests) await adapter.append(request)
    })
    const repeats = await callsOf(async () => {
      for (const request of requests) await other.append(request)
    })
    expect(calls).toBeGreaterThanOrEqual(64)
    expect(repeats).toBeLessThan(calls / 2)
    // Of new keys afterwards one is looked up in vain, then none.
    await other.append(keyed('s', [unique()]))
    const anew = await callsOf(async () => {
      for (let i = 0; i < 10; i++) await other.append(keyed('s', [unique()]))
    })
    expect(anew).toBe(10)
  })
})
