import { createHash } from 'node:crypto'
import { createStore } from 'mneme'
import { describe, expect, test } from 'vitest'

import {
  appendOf,
  happened,
  logOf,
  opened,
  rawClient,
  served,
  streamOf,
  times,
  unique,
  where,
} from './rig.ts'
import { RawClient, type RawEvent } from './stand-in/raw-client.ts'

const addressOf = (connectionString: string) => new URL(connectionString).host
const base64 = (bytes: Uint8Array | string) =>
  JSON.stringify({ $base64: Buffer.from(bytes).toString('base64') })
const octets = 'application/octet-stream'

/** What others write, and what is read of it. */
const written: Readonly<
  Record<string, { readonly event: RawEvent; readonly data: string; readonly metadata: object }>
> = {
  'an object': { event: { data: '{"a":1,"b":{"c":null}}' }, data: '{"a":1,"b":{"c":null}}', metadata: {} },
  'an array': { event: { data: '[1,2]' }, data: '{"$value":[1,2]}', metadata: {} },
  'a number': { event: { data: '17' }, data: '{"$value":17}', metadata: {} },
  null: { event: { data: 'null' }, data: '{"$value":null}', metadata: {} },
  'a text': { event: { data: '"é"' }, data: '{"$value":"é"}', metadata: {} },
  bytes: {
    event: { contentType: octets, data: new Uint8Array([0, 255, 128, 10]) },
    ...{ data: base64(new Uint8Array([0, 255, 128, 10])), metadata: {} },
  },
  'bytes that look like JSON': {
    event: { contentType: octets, data: '{"a":1}' },
    data: base64('{"a":1}'),
    metadata: {},
  },
  'no bytes': { event: { contentType: octets, data: '' }, data: base64(''), metadata: {} },
  'what claims to be JSON': { event: { data: '{"a":' }, data: base64('{"a":'), metadata: {} },
  'what claims to be JSON, and is no text': {
    event: { data: new Uint8Array([0xff, 0xfe]) },
    ...{ data: base64(new Uint8Array([0xff, 0xfe])), metadata: {} },
  },
  'nothing that claims to be JSON': { event: { data: '' }, data: base64(''), metadata: {} },
  'metadata that are no JSON': { event: { metadata: '<xml/>' }, data: '{}', metadata: {} },
  'metadata that are an array': { event: { metadata: '[1]' }, data: '{}', metadata: {} },
  'metadata that are null': { event: { metadata: 'null' }, data: '{}', metadata: {} },
  'metadata of other kinds': {
    event: { metadata: '{"a":1,"b":true,"c":null,"d":{"e":[2]},"f":"g"}' },
    ...{ data: '{}', metadata: { a: '1', b: 'true', c: 'null', d: '{"e":[2]}', f: 'g' } },
  },
  'metadata that the server knows': {
    event: { metadata: '{"$correlationId":"c1","$causationId":"c2","$other":"x","user":"u"}' },
    ...{ data: '{}', metadata: { correlation: 'c1', causation: 'c2', user: 'u' } },
  },
  "a time in the store's own metadata that is none": {
    event: { data: '17', metadata: '{"$mneme.time":"tomorrow"}' },
    ...{ data: '{"$value":17}', metadata: {} },
  },
  "a time in the store's own metadata, with data that the store does not write": {
    event: { data: '[1]', metadata: '{"$mneme.time":"2020-01-01T00:00:00.000Z"}' },
    ...{ data: '{"$value":[1]}', metadata: {} },
  },
  "a time in the store's own metadata, with bytes": {
    event: { contentType: octets, data: '{"a":1}', metadata: '{"$mneme.time":"2020-01-01T00:00:00.000Z"}' },
    ...{ data: base64('{"a":1}'), metadata: {} },
  },
  'metadata with odd names': {
    event: { metadata: '{"":"empty","__proto__":"p","constructor":"c"}' },
    ...{ data: '{}', metadata: { constructor: 'c' } },
  },
}

describe(`what others wrote, ${where}`, () => {
  test.each(Object.entries(written))('%s', async (_, { event, data, metadata }) => {
    const server = await served()
    const [adapter, raw, stream] = [await opened(server), new RawClient(addressOf(server)), unique()]
    const id = crypto.randomUUID()
    expect(await raw.append(stream, 'any', [{ id, type: 'Other', ...event }])).toHaveProperty('answer')
    raw.close()
    // Read by either of the driver's parts, and by the public face.
    const [few] = await streamOf(adapter, stream)
    expect(few).toMatchObject({ stream, id, type: 'Other', version: 1, data, revision: 0 })
    expect(JSON.parse(few!.metadata)).toEqual(metadata)
    expect(few!.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(Math.abs(Date.parse(few!.time) - Date.now())).toBeLessThan(60_000)
    await adapter.append(
      appendOf(
        { [stream]: 'any' },
        times(80, () => happened(stream)),
      ),
    )
    const page: unknown[] = []
    const request = { stream, direction: 'backwards', from: undefined, to: undefined, limit: 100 } as const
    for await (const events of adapter.read(request)) page.push(...events)
    expect(page.at(-1)).toEqual(few)
    const read: unknown[] = []
    for await (const { data: decoded } of createStore(adapter).read(stream, { limit: 1 })) read.push(decoded)
    expect(read).toEqual([JSON.parse(data)])
  })

  test('as deep as it may be, comes live', async () => {
    const server = await served()
    const [store, raw, stream] = [
      createStore(await opened(server)),
      new RawClient(addressOf(server)),
      unique(),
    ]
    const deep = 20_000
    const data = `{"a":${'['.repeat(deep)}${']'.repeat(deep)}}`
    const events = ['{}', data, '{}'].map((each) => ({ id: crypto.randomUUID(), type: 'Other', data: each }))
    const subscription = store.subscribe({ streams: [stream] })
    expect(await raw.append(stream, 'any', events)).toHaveProperty('answer')
    raw.close()
    for (const { id } of events) expect((await subscription.next()).value?.id).toBe(id)
    await subscription.return?.()
  })

  test('with ids as the driver makes them, and types of any kind', async () => {
    const server = await served()
    const [adapter, client, stream] = [await opened(server), rawClient(server), unique()]
    const types = ['a b', 'ünï', 'x'.repeat(300), 'lower-case']
    const events = types.map((type) => ({
      ...{
        id: crypto.randomUUID(),
        type,
        contentType: 'application/json',
        data: { n: 1 },
        metadata: { who: 'x' },
      },
    }))
    await client.appendToStream(stream, events as never)
    expect((await streamOf(adapter, stream)).map(({ id, type, metadata }) => [id, type, metadata])).toEqual(
      events.map(({ id, type }) => [id, type, '{"who":"x"}']),
    )
  })
})

describe(`what we write is found by others, ${where}`, () => {
  const metadata = JSON.stringify({ correlation: 'corr-1', causation: 'cause-1', actor: 'änn', __proto: 'x' })

  test('as JSON, with the names that the server knows, alike by either call', async () => {
    const server = await served()
    const [adapter, client] = [await opened(server), rawClient(server)]
    const [one, two, three] = [unique('one'), unique('two'), unique('three')]
    const event = (stream: string) =>
      happened(stream, { 'ä "quoted"': [1.5, null, '😀\u0000'] }, { metadata, version: 3 })
    const [first, second] = [event(one), event(two)]
    await adapter.append(appendOf({ [one]: 'none' }, [first]))
    await adapter.append(appendOf({ [two]: 'none', [three]: 'none' }, [second, event(three)]))
    const read = async (stream: string) => {
      for await (const { event: found } of client.readStream(stream)) return found!
      throw new Error('it is not there')
    }
    const [a, b] = [await read(one), await read(two)]
    for (const [found, given] of [
      [a, first],
      [b, second],
    ] as const) {
      expect(found).toMatchObject({
        id: given.id,
        type: 'Happened',
        isJson: true,
        data: JSON.parse(given.data) as object,
      })
      expect(found.metadata).toMatchObject({
        ...{ $correlationId: 'corr-1', $causationId: 'cause-1', actor: 'änn', '$mneme.version': '3' },
      })
    }
    const names = (found: typeof a) =>
      Object.keys(found.metadata as object).filter((name) => !name.startsWith('$schema.'))
    expect(names(b).sort()).toEqual(names(a).sort())
    expect(names(a)).not.toContain('correlation')
    // And by us the same way.
    for (const [stream, given] of [
      [one, first],
      [two, second],
    ] as const) {
      const [found] = await streamOf(adapter, stream)
      expect(found).toMatchObject({ id: given.id, version: 3, data: given.data })
      expect(JSON.parse(found!.metadata)).toEqual(JSON.parse(metadata))
    }
  })

  test('a key of it leaves one event in a stream apart', async () => {
    const server = await served()
    const [adapter, client, stream] = [await opened(server), rawClient(server), unique()]
    const key = unique('key')
    await adapter.append(
      appendOf({ [stream]: 'none' }, [happened(stream)], {
        keys: [{ key, fingerprint: 'f', first: 0, count: 1 }],
      }),
    )
    const kept = `mneme:key-${createHash('sha256').update(key).digest('hex')}`
    const found: unknown[] = []
    for await (const { event } of client.readStream(kept))
      found.push([event?.streamId, event?.type, event?.isJson])
    expect(found).toEqual([[kept, 'mneme:Key', true]])
    expect(await logOf(adapter, [kept])).toEqual([])
  })
})
