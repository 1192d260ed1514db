import { createStore, execute } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'

import { BankAccount, deposit, Deposited, open, Opened } from '../../support/bank.ts'
import { kurrentdbAdapter } from '../../../src/stores/kurrentdb/adapter.ts'
import { makeClient } from '../../../src/stores/kurrentdb/driver.ts'
import { readConnection } from '../../../src/stores/kurrentdb/options.ts'
import { FAR_DEADLINE_MS } from './jumping-clock.ts'
import {
  appendOf,
  fateOf,
  happened,
  headOf,
  logOf,
  opened,
  ownServer,
  rawClient,
  served,
  sleep,
  streamOf,
  times,
  unique,
  where,
} from './rig.ts'
import { realServer } from './server.ts'
import { passTime } from './stand-in/log.ts'

/** Lets what is there grow older by so many milliseconds. */
async function age(milliseconds: number): Promise<void> {
  if (realServer === undefined) passTime(milliseconds)
  else await sleep(milliseconds)
}

/** A stream of so many events, a store, and the driver's own client to cut it with. */
async function cutting(count = 5) {
  const server = await served()
  // A call that is retried in vain never ends.
  const adapter = await opened(server, FAR_DEADLINE_MS)
  const stream = unique()
  if (count > 0)
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(count, (n) => happened(stream, { n })),
      ),
    )
  return { adapter, stream, client: rawClient(server) }
}

const revisionsOf = (events: readonly { readonly revision: number }[]) =>
  events.map(({ revision }) => revision)

describe(`a stream whose beginning is gone, ${where}`, () => {
  const ways = {
    $maxCount: { metadata: { maxCount: 2 }, left: [3, 4] },
    $tb: { metadata: { truncateBefore: 2 }, left: [2, 3, 4] },
    '$tb behind its end': { metadata: { truncateBefore: 10 }, left: [] },
  }

  test.each(Object.entries(ways))(
    '%s: is read from what is left, and stands where it stood',
    async (_, { metadata, left }) => {
      const { adapter, stream, client } = await cutting()
      await client.setStreamMetadata(stream, metadata)
      expect(revisionsOf(await streamOf(adapter, stream))).toEqual(left)
      const backwards: number[] = []
      const all = {
        stream,
        direction: 'backwards',
        from: undefined,
        to: undefined,
        limit: undefined,
      } as const
      for await (const page of adapter.read(all)) backwards.push(...revisionsOf(page))
      expect(backwards).toEqual(left.toReversed())
      expect(await headOf(adapter, stream)).toBe(4)

      // Read from its beginning, it is told from one that never was.
      const pages: number[] = []
      for await (const page of adapter.read({ ...all, direction: 'forwards' })) pages.push(page.length)
      expect(pages.length).toBeGreaterThan(0)
      const none: number[] = []
      for await (const page of adapter.read({ ...all, stream: unique(), direction: 'forwards' }))
        none.push(page.length)
      expect(none).toEqual([])

      expect(await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))).toMatchObject({
        ...{ kind: 'conflict', actual: 4 },
      })
      expect(await adapter.append(appendOf({ [stream]: 'exists' }, [happened(stream)]))).toMatchObject({
        ...{ kind: 'appended', revisions: [5] },
      })
      expect(await adapter.append(appendOf({ [stream]: 5 }, [happened(stream)]))).toMatchObject({
        ...{ kind: 'appended', revisions: [6] },
      })
      expect(await adapter.append(appendOf({ [stream]: 6 }, []))).toMatchObject({
        kind: 'appended',
        heads: [6],
      })
    },
  )

  test('$maxAge: the same', async () => {
    const { adapter, stream, client } = await cutting(3)
    await client.setStreamMetadata(stream, { maxAge: 1 })
    await age(2_100)
    await adapter.append(appendOf({ [stream]: 2 }, [happened(stream)]))
    expect(revisionsOf(await streamOf(adapter, stream))).toEqual([3])
    expect(await headOf(adapter, stream)).toBe(3)
    await age(2_100)
    expect(await streamOf(adapter, stream)).toEqual([])
    expect(await headOf(adapter, stream)).toBe(3)
    expect(await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))).toMatchObject({
      ...{ kind: 'conflict', actual: 3 },
    })
    expect(await adapter.append(appendOf({ [stream]: 3 }, [happened(stream)]))).toMatchObject({
      kind: 'appended',
    })
  })

  test.each([
    ['$maxCount', { maxCount: 1 }, 1],
    ['$tb', { truncateBefore: 1 }, 1],
    ['$tb behind its end', { truncateBefore: 10 }, undefined],
  ])('%s: a command is refused, as STREAM_TRUNCATED', async (_, metadata, firstRevision) => {
    const server = await served()
    const store = createStore(await opened(server))
    const account = unique()
    const { stream } = BankAccount(account)
    await store.append({ stream, events: [Opened({ owner: 'a' }), Deposited({ amount: 1 })] })
    await rawClient(server).setStreamMetadata(stream, metadata)
    const other = createStore(await opened(server))
    for (const command of [
      () => execute(other, deposit({ account, amount: 1 })),
      () => execute(other, open(account)),
    ]) {
      const { error } = await fateOf<unknown>(command())
      expect(error).toMatchObject({ code: 'STREAM_TRUNCATED', stream, firstRevision })
    }
    expect(await other.head(stream)).toBe(1)
  })

  test('one that is cut while it is read goes on with what is left', async () => {
    const { adapter, stream, client } = await cutting(0)
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(200, (n) => happened(stream, { n })),
      ),
    )
    const seen: number[] = []
    for await (const page of adapter.read({
      stream,
      direction: 'forwards',
      from: undefined,
      to: undefined,
      limit: undefined,
    })) {
      seen.push(...revisionsOf(page))
      if (seen.length === page.length) await client.setStreamMetadata(stream, { truncateBefore: 150 })
    }
    // In order, and nothing twice; what is missing in between the public face sees by the revisions.
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
    expect(seen.at(-1)).toBe(199)
  })
})

describe('a decision without events (on the stand-in)', () => {
  test('is verified without a byte in the log', async () => {
    const server = await ownServer()
    const adapter = await opened(server.connectionString)
    const [a, b] = [unique('a'), unique('b')]
    await adapter.append(appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b)]))
    const { end } = server.log
    for (const expected of [0, 'none', 'any', 'exists'] as const) {
      await adapter.append(appendOf({ [a]: expected }, []))
      await adapter.append(appendOf({ [a]: expected, [b]: 0 }, []))
    }
    expect(server.log.end).toBe(end)
  })

  test('is verified by the leader if reads may go to another node', async () => {
    const server = await ownServer()
    const connect = () => makeClient(readConnection(server.connectionString, FAR_DEADLINE_MS).text)
    const client = await connect()
    const adapter = await kurrentdbAdapter(
      client,
      { deadline: FAR_DEADLINE_MS, requiresLeader: false },
      connect,
    )
    onTestFinished(() => adapter.close())
    const a = unique()
    await adapter.append(appendOf({ [a]: 'none' }, [happened(a)]))
    const { end } = server.log
    expect(await adapter.append(appendOf({ [a]: 0 }, []))).toMatchObject({ kind: 'appended', heads: [0] })
    // Only a leader takes an append, and the server keeps that it was made.
    expect(server.log.end).toBeGreaterThan(end)
  })
})

describe(`a deleted stream, ${where}`, () => {
  test('that can begin again: stands at none, reads as one whose beginning is gone, and goes on', async () => {
    const { adapter, stream, client } = await cutting(3)
    await client.deleteStream(stream)
    expect(await headOf(adapter, stream)).toBe('none')
    expect(await streamOf(adapter, stream)).toEqual([])
    expect(await adapter.append(appendOf({ [stream]: 1 }, [happened(stream)]))).toMatchObject({
      // Where it stood before: the server does not say that it was deleted.
      ...{ kind: 'conflict', expected: 1, actual: 2 },
    })
    expect(await adapter.append(appendOf({ [stream]: 'exists' }, [happened(stream)]))).toMatchObject({
      ...{ kind: 'conflict', expected: 'exists', actual: 'none' },
    })
    expect(await adapter.append(appendOf({ [stream]: 'none' }, []))).toMatchObject({
      kind: 'appended',
      heads: ['none'],
    })
    const appended = await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))
    expect(appended).toMatchObject({ kind: 'appended', revisions: [3] })
    expect(await headOf(adapter, stream)).toBe(3)
    expect(revisionsOf(await streamOf(adapter, stream))).toEqual([3])
    expect(await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))).toMatchObject({
      ...{ kind: 'conflict', actual: 3 },
    })
    expect(await adapter.append(appendOf({ [stream]: 3 }, [happened(stream)]))).toMatchObject({
      revisions: [4],
    })
  })

  test('that can begin again: who still knows where it stood goes on there, for the server takes that for no change', async () => {
    for (const isSeveral of [false, true]) {
      const { adapter, stream, client } = await cutting(3)
      const other = unique('o')
      await client.deleteStream(stream)
      const request = isSeveral
        ? appendOf({ [stream]: 2, [other]: 'none' }, [happened(stream), happened(other)])
        : appendOf({ [stream]: 2 }, [happened(stream)])
      const verdict = await adapter.append(request)
      expect(verdict).toMatchObject({ kind: 'appended' })
      expect(verdict).toMatchObject({ revisions: isSeveral ? [3, 0] : [3] })
      expect(revisionsOf(await streamOf(adapter, stream))).toEqual([3])
    }
  })

  test('that can begin again: so it does in an append of several streams', async () => {
    const { adapter, stream, client } = await cutting(3)
    const other = unique('o')
    await client.deleteStream(stream)
    const both = (expected: 'none' | 1) =>
      appendOf({ [other]: 'none', [stream]: expected }, [happened(stream), happened(other)])
    expect(await adapter.append(both(1))).toMatchObject({ kind: 'conflict', stream, actual: 2 })
    expect(await adapter.append(both('none'))).toMatchObject({
      kind: 'appended',
      revisions: [3, 0],
      heads: [0, 3],
    })
    expect(revisionsOf(await streamOf(adapter, stream))).toEqual([3])
  })

  test('that can begin again: a command on what began again is STREAM_TRUNCATED', async () => {
    const server = await served()
    const store = createStore(await opened(server))
    const account = unique()
    const { stream } = BankAccount(account)
    await store.append({ stream, events: [Opened({ owner: 'a' })] })
    await rawClient(server).deleteStream(stream)
    const fresh = createStore(await opened(server))
    expect(await fateOf(execute(fresh, deposit({ account, amount: 1 })))).toMatchObject({
      code: 'STREAM_TRUNCATED',
    })
    await fresh.append({ stream, events: [Opened({ owner: 'b' })] })
    expect(await fateOf(execute(fresh, deposit({ account, amount: 1 })))).toMatchObject({
      code: 'STREAM_TRUNCATED',
    })
  })

  test('that can begin again stays deleted when a decision on it is verified', async () => {
    const { adapter, stream, client } = await cutting(3)
    const other = unique('o')
    await client.deleteStream(stream)
    const metadata = async () => (await client.getStreamMetadata(stream)).metadata
    const before = await metadata()
    const conflict = { kind: 'conflict', stream, expected: 2, actual: 'none' }
    expect(await adapter.append(appendOf({ [stream]: 2 }, []))).toEqual(conflict)
    expect(await adapter.append(appendOf({ [other]: 'none', [stream]: 2 }, []))).toEqual(conflict)
    expect(await adapter.append(appendOf({ [stream]: 'none' }, []))).toMatchObject({ kind: 'appended' })
    expect([await headOf(adapter, stream), await metadata()]).toEqual(['none', before])
    expect(await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))).toMatchObject({
      kind: 'appended',
    })
  })

  test('that can begin again is not brought back by a command that is rejected on a cached state', async () => {
    const server = await served()
    const store = createStore(await opened(server))
    const account = unique()
    const { stream } = BankAccount(account)
    await execute(store, open(account))
    await rawClient(server).deleteStream(stream)
    expect(await fateOf(execute(store, open(account)))).toMatchObject({ code: 'STREAM_TRUNCATED' })
    expect(await store.head(stream)).toBe('none')
  })

  test('for good: STREAM_DELETED, whatever is asked of it', async () => {
    const { adapter, stream, client } = await cutting(3)
    const other = unique('o')
    await client.tombstoneStream(stream)
    const both = (expected: 'none' | 'any' | 'exists' | 2) =>
      appendOf({ [other]: 'none', [stream]: expected }, [happened(stream), happened(other)])
    const calls = {
      head: () => headOf(adapter, stream),
      read: () => streamOf(adapter, stream),
      ...Object.fromEntries(
        (['none', 'any', 'exists', 2] as const).flatMap((expected) => [
          [
            `append ${String(expected)}`,
            () => adapter.append(appendOf({ [stream]: expected }, [happened(stream)])),
          ],
          [`several ${String(expected)}`, () => adapter.append(both(expected))],
          [`verify ${String(expected)}`, () => adapter.append(appendOf({ [stream]: expected }, []))],
        ]),
      ),
      'only read': () => adapter.append(appendOf({ [stream]: 2, [other]: 'none' }, [happened(other)])),
      'given ids': () => adapter.append(appendOf({ [stream]: 'any' }, [happened(stream)], { ids: 'given' })),
    }
    for (const [name, call] of Object.entries(calls)) {
      const { error } = await fateOf<unknown>(call())
      expect([name, error]).toMatchObject([name, { code: 'STREAM_DELETED', stream }])
    }
    expect(await headOf(adapter, other)).toBe('none')
    // And those that it goes with are not affected.
    const callers = [...times(8, (i) => `${other}.${String(i)}`), stream]
    const fates = await Promise.all(
      callers.map((name) => fateOf(adapter.append(appendOf({ [name]: 'any' }, [happened(name)])))),
    )
    expect(fates.map(({ code }) => code)).toEqual([...times(8, () => undefined), 'STREAM_DELETED'])
  })

  test('of which there is only metadata: stands at none, is not there, and begins at 0', async () => {
    const { adapter, stream, client } = await cutting(0)
    await client.setStreamMetadata(stream, { maxCount: 100 })
    expect(await headOf(adapter, stream)).toBe('none')
    expect(await streamOf(adapter, stream)).toEqual([])
    for (const events of [[happened(stream)], []]) {
      expect(await adapter.append(appendOf({ [stream]: 'exists' }, events))).toMatchObject({
        ...{ kind: 'conflict', expected: 'exists', actual: 'none' },
      })
    }
    const other = unique('o')
    expect(
      await adapter.append(
        appendOf({ [other]: 'none', [stream]: 'exists' }, [happened(other), happened(stream)]),
      ),
    ).toMatchObject({ kind: 'conflict', stream, expected: 'exists', actual: 'none' })
    expect(await adapter.append(appendOf({ [stream]: 'none' }, [happened(stream)]))).toMatchObject({
      revisions: [0],
    })
  })
})

describe(`links, ${where}`, () => {
  test('are read as what they are, whether what they lead to is there or not; never among all events', async () => {
    const { adapter, stream, client } = await cutting(2)
    const links = unique('links')
    const gone = unique('gone')
    await adapter.append(appendOf({ [gone]: 'none' }, [happened(gone)]))
    const link = (to: string) =>
      ({
        id: crypto.randomUUID(),
        type: '$>',
        contentType: 'application/octet-stream',
        data: Buffer.from(to),
      }) as const
    const floor = await adapter.logHead()
    await client.appendToStream(links, [link(`0@${stream}`), link(`0@${gone}`), link(`7@${stream}`)] as never)
    await client.deleteStream(gone)
    const read = await streamOf(adapter, links)
    expect(read.map(({ type, data }) => [type, data])).toEqual(
      [`0@${stream}`, `0@${gone}`, `7@${stream}`].map((to) => [
        '$>',
        JSON.stringify({ $base64: Buffer.from(to).toString('base64') }),
      ]),
    )
    expect(read.map(({ stream: of }) => of)).toEqual([links, links, links])
    await adapter.append(appendOf({ [stream]: 1 }, [happened(stream)]))
    expect((await logOf(adapter, undefined, floor)).filter(({ stream: of }) => of === links)).toEqual([])
    expect(await logOf(adapter, [links])).toEqual([])
    expect(await headOf(adapter, links)).toBe(2)
  })
})
