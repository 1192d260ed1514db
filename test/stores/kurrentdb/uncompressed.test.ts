import { describe, expect, test } from 'vitest'

import { withUncompressedAnswers } from '../../../src/stores/kurrentdb/uncompressed.ts'
import { startH2Proxy } from './h2-proxy.ts'
import { appendOf, happened, opened, rawClient, served, times, unique, until, where } from './rig.ts'

/** Appends by each of the client's calls, reads and subscribes; @returns what was read. */
async function useAll(through: string): Promise<unknown> {
  const adapter = await opened(through)
  const [one, two, large] = [unique('one'), unique('two'), unique('large')]
  await adapter.append(appendOf({ [one]: 'none' }, [happened(one)]))
  await adapter.append(appendOf({ [one]: 0, [two]: 'none' }, [happened(one), happened(two)]))
  const events = times(20, (i) => ({
    ...happened(large),
    data: JSON.stringify({ i, text: 'x'.repeat(50_000) }),
  }))
  await adapter.append(appendOf({ [large]: 'none' }, events))
  const request = { from: undefined, to: undefined, limit: undefined, direction: 'forwards' } as const
  const read: unknown[] = []
  for await (const page of adapter.read({ ...request, stream: large }))
    read.push(...page.map(({ data, id }) => [id, data]))
  expect(read).toEqual(events.map(({ data, id }) => [id, data]))
  const ending = new AbortController()
  const filter = { streams: [one, large], categories: undefined, types: undefined }
  const subscribed: unknown[] = []
  const pages = adapter.subscribe({
    ...filter,
    after: undefined,
    signal: ending.signal,
    interrupted: () => undefined,
  })
  for await (const page of pages) {
    subscribed.push(...page.events.map(({ id }) => id))
    if (page.isCaughtUp && subscribed.length === 22) break
  }
  ending.abort()
  return adapter.logHead()
}

describe(`answers of the server, ${where}`, () => {
  test('are asked for as they are, by every call of the driver that could have them compressed', async () => {
    const { through, calls } = await startH2Proxy(await served())
    await useAll(through)
    // The driver asks what the server can do by a call that nobody can change. Its native part says nothing of compression, so its answers are not compressed.
    const own = calls.filter(({ path }) => path !== 'GetSupportedMethods')
    const packed = own.filter(({ accepts }) => accepts !== undefined && accepts !== 'identity')
    const cameIn = new Set(own.map(({ answersIn = 'identity' }) => answersIn))
    expect([packed, [...cameIn]]).toEqual([[], ['identity']])
    const asked = new Set(calls.filter(({ accepts }) => accepts === 'identity').map(({ path }) => path))
    expect([...asked].sort()).toEqual(expect.arrayContaining(['AppendRecords', 'BatchAppend', 'Read']))
  })

  test('are understood if they come compressed all the same', async () => {
    const { through, calls } = await startH2Proxy(await served(), { compresses: true })
    expect(await useAll(through)).toEqual(expect.any(String))
    expect(calls.length).toBeGreaterThan(5)
  })

  test('of a client that the program made are left as the client asks for them', async () => {
    const { through, calls } = await startH2Proxy(await served())
    await rawClient(through).appendToStream(unique(), [])
    await until(() => calls.length > 0, 'a call was seen')
    expect(calls.every(({ accepts }) => accepts?.includes('gzip'))).toBe(true)
  })

  test('are asked for as ever of a client whose undocumented parts have changed', () => {
    expect(withUncompressedAnswers({})).toEqual({})
    const metadata = { get: () => undefined }
    const { callArguments } = withUncompressedAnswers({
      callArguments: (...given: unknown[]) => [metadata, given],
    })
    expect(callArguments(1, 2)).toEqual([metadata, [1, 2]])
  })
})
