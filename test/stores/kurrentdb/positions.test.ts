import { describe, expect, onTestFinished, test } from 'vitest'

import { kurrentdbAdapter } from '../../../src/stores/kurrentdb/adapter.ts'
import { readConnection } from '../../../src/stores/kurrentdb/options.ts'
import { makeClient } from '../../../src/stores/kurrentdb/driver.ts'
import type { Appended, NewEvent, StoreAdapter } from '../../../src/adapter/store-adapter.ts'
import { appendOf, happened, logOf, opened, served, streamOf, times, unique, where } from './rig.ts'

const long = `${'ä'.repeat(100)}-${'x'.repeat(130)}`

/** Events of many sizes: each length has its own number of bytes. */
const odd: Readonly<Record<string, (stream: string) => NewEvent[]>> = {
  'plain ones': (stream) => times(3, (n) => happened(stream, { n })),
  'long types': (stream) => times(3, (n) => happened(stream, {}, { type: 't'.repeat(126 + n) })),
  'data of many sizes': (stream) =>
    [0, 1, 100, 16_000, 16_384, 20_000, 300_000].map((size) => happened(stream, { text: 'ü'.repeat(size) })),
  'odd metadata': (stream) =>
    [
      {},
      { a: '' },
      { correlation: 'c', causation: 'd' },
      { 'ä😀': 'é\n\u0000"\\', ['k'.repeat(200)]: 'v'.repeat(20_000) },
      Object.fromEntries(times(50, (n) => [`k${String(n)}`, 'v'.repeat(n * 9)])),
      { half: '\ud800' },
    ].map((metadata) => happened(stream, {}, { metadata: JSON.stringify(metadata) })),
  versions: (stream) => times(3, (n) => happened(stream, {}, { version: n * 1_000 + 1 })),
  'data with numbers and texts written otherwise': (stream) =>
    [
      { a: 1e21, b: 1e-7 },
      { c: '\u2028\ud800\u007f', d: [[]] },
      { 10: 'x', 2: '/' },
    ].map((data) => happened(stream, data)),
  'more than a page': (stream) => times(600, (n) => happened(stream, { n, text: 'x'.repeat(n) })),
}

async function check(
  adapter: StoreAdapter,
  streams: readonly string[],
  verdict: Appended,
  events: readonly NewEvent[],
) {
  const log = await logOf(adapter, streams)
  const stored = new Map(log.map((event) => [event.id, event]))
  expect(log.length).toBe(events.length)
  expect(events.map(({ id }) => stored.get(id)?.position)).toEqual(verdict.positions)
  expect(events.map(({ id }) => stored.get(id)?.revision)).toEqual(verdict.revisions)
  expect(events.map(({ id }) => stored.get(id)?.data)).toEqual(events.map(({ data }) => data))
  expect(events.map(({ id }) => JSON.parse(stored.get(id)!.metadata) as unknown)).toEqual(
    events.map(({ metadata }) => JSON.parse(metadata) as unknown),
  )
  for (const stream of streams) {
    expect(await streamOf(adapter, stream)).toEqual(log.filter((event) => event.stream === stream))
  }
}

/** An adapter, and how many reads its client made. */
async function counting(shift: { by: bigint }) {
  const server = await served()
  const connect = () => makeClient(readConnection(server, 10_000).text)
  const client = await connect()
  const { appendToStream, appendRecords } = client
  client.appendToStream = async (...args) => {
    const result = await appendToStream.apply(client, args)
    const { position } = result
    return {
      ...result,
      position: position && { commit: position.commit + shift.by, prepare: position.prepare + shift.by },
    }
  }
  client.appendRecords = async (...args) => {
    const result = await appendRecords.apply(client, args)
    return { ...result, position: result.position + shift.by }
  }
  let reads = 0
  const execute = (client as unknown as { execute: (...args: unknown[]) => unknown }).execute
  ;(client as unknown as { execute: (...args: unknown[]) => unknown }).execute = (...args) => {
    if (args[1] === 'read') reads++
    return execute(...args)
  }
  const adapter = await kurrentdbAdapter(client, { deadline: 10_000, requiresLeader: true }, connect)
  onTestFinished(() => adapter.close())
  return { adapter, reads: () => reads }
}

describe(`what an append answers is what is read, ${where}`, () => {
  test.each(Object.entries(odd))('%s', async (_, make) => {
    const adapter = await opened(await served())
    // The first of each call is looked up, the second computed.
    for (let round = 0; round < 2; round++) {
      const [one, two, three] = [unique(`one${long}`), unique('two'), unique('three')]
      const single = make(one)
      await check(
        adapter,
        [one],
        (await adapter.append(appendOf({ [one]: 'none' }, single))) as Appended,
        single,
      )
      const several = [...make(two), ...make(three), ...make(two)]
      const verdict = await adapter.append(appendOf({ [two]: 'none', [three]: 'none' }, several))
      await check(adapter, [two, three], verdict as Appended, several)
    }
  })

  test('and with keys, whose own events lie between', async () => {
    const adapter = await opened(await served())
    for (let round = 0; round < 2; round++) {
      const streams = times(10, () => unique())
      const verdicts = await Promise.all(
        streams.map(async (stream) => {
          const events = [happened(stream), happened(stream)]
          const keys = [{ key: unique(long), fingerprint: 'f', first: 0, count: 2 }]
          return [events, await adapter.append(appendOf({ [stream]: 'none' }, events, { keys }))] as const
        }),
      )
      for (const [i, [events, verdict]] of verdicts.entries()) {
        await check(adapter, [streams[i]!], verdict as Appended, events)
      }
    }
  })

  test('it is computed once it was seen to be right, without reading', async () => {
    const { adapter, reads } = await counting({ by: 0n })
    const [a, b] = [unique('a'), unique('b')]
    const append = (expected: 'none' | number, several: boolean) =>
      several
        ? adapter.append(appendOf({ [b]: expected, [`${b}!`]: 'any' }, [happened(b), happened(`${b}!`)]))
        : adapter.append(appendOf({ [a]: expected }, [happened(a), happened(a)]))
    await append('none', false)
    await append('none', true)
    const before = reads()
    for (let i = 0; i < 5; i++) {
      await append(2 * i + 1, false)
      await append(i, true)
    }
    expect(reads()).toBe(before)
  })

  test('where records lie otherwise than thought, positions are read', async () => {
    const shift = { by: 0n }
    const { adapter, reads } = await counting(shift)
    shift.by = 1_000n
    for (let round = 0; round < 3; round++) {
      const before = reads()
      const [one, two, three] = [unique('one'), unique('two'), unique('three')]
      const single = times(3, () => happened(one))
      await check(
        adapter,
        [one],
        (await adapter.append(appendOf({ [one]: 'none' }, single))) as Appended,
        single,
      )
      const several = [happened(two), happened(three), happened(two)]
      const verdict = await adapter.append(appendOf({ [two]: 'none', [three]: 'none' }, several))
      await check(adapter, [two, three], verdict as Appended, several)
      expect(reads()).toBeGreaterThan(before)
    }
  })
})
