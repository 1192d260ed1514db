import {
  BACKWARDS,
  END,
  KurrentDBClient,
  STREAM_STATE,
  jsonEvent,
  streamNameFilter,
} from '@kurrent/kurrentdb-client'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { isFull } from '../../support/soak.ts'
import { streamsV2 } from './stand-in/generated.ts'
import { comparable, randomCalls } from './stand-in/random-calls.ts'
import { RawClient, type RawEvent, type RawRead } from './stand-in/raw-client.ts'
import type { Outcome, PlainEvent } from './stand-in/raw-outcome.ts'
import { standIn, type StandIn, type StandInOptions } from './stand-in/server.ts'

/** A server of the tests, which others may use, too: each test has streams of its own. */
interface Served {
  readonly connectionString: string
  stop(): Promise<void>
}

const real = process.env.MNEME_TEST_KURRENTDB
const servers: readonly (readonly [name: string, start: () => Promise<Served>])[] = [
  ['the stand-in', () => standIn()],
  ...(real
    ? [['the real server', async () => ({ connectionString: real, stop: async () => {} })] as const]
    : []),
]

let streams = 0
const run = Date.now().toString(36)
const aStream = () => `s${run}${String(streams++).padStart(4, '0')}`
const ids = (count: number) => Array.from({ length: count }, () => crypto.randomUUID())
const withIds = (...their: string[]): RawEvent[] => their.map((id) => ({ id }))
const addressOf = (connectionString: string) => /\/\/([^/?]+)/.exec(connectionString)![1]!

const success = (outcome: Outcome) =>
  (outcome as { answer: { success?: { currentRevision: string; position?: { commitPosition: string } } } })
    .answer.success
const positionOf = (outcome: Outcome) => BigInt(success(outcome)!.position!.commitPosition)
const eventsOf = (outcome: Outcome) =>
  (outcome as { answer: readonly { event?: PlainEvent; link?: PlainEvent }[] }).answer.filter(
    (item) => item.event ?? item.link,
  )
const revisionsOf = (outcome: Outcome) => eventsOf(outcome).map(({ event }) => Number(event!.revision))
const exceptionOf = (outcome: Outcome) => ('trailers' in outcome ? outcome.trailers.exception : undefined)
const containing = (text: string): unknown => expect.stringContaining(text)
/** What the client says of a call that failed; `done`: it did not. */
const errorTypeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'done',
    (error: unknown) => (error as { readonly type: unknown }).type,
  )
const { SCHEMA_FORMAT_BYTES } = streamsV2.SchemaFormat

describe.each(servers)('on %s', (_, start) => {
  let server: Served
  let raw: RawClient
  let client: KurrentDBClient
  beforeAll(async () => {
    server = await start()
    raw = new RawClient(addressOf(server.connectionString))
    client = KurrentDBClient.connectionString(server.connectionString)
  })
  afterAll(async () => {
    raw.close()
    await client.dispose()
    await server.stop()
  })

  describe('positions', () => {
    test('count the bytes of the log, and an append stands at its last record', async () => {
      const stream = aStream()
      const first = positionOf(await raw.append(stream, 'no-stream', [{}]))
      const second = positionOf(
        await raw.append(stream, 0n, [{ type: 'Type', data: '{"a":1}', metadata: '{}' }, {}]),
      )
      const size = (type: string, bytes: number) => BigInt(88 + 1 + stream.length + 1 + type.length + bytes)
      expect(second - first).toBe(size('T', 2) + size('Type', 9))
      const read = eventsOf(await raw.read(stream))
      expect(read.map(({ event }) => event!.position)).toEqual(
        [first, first + size('T', 2), second].map(String),
      )
    })

    test('of an append of nothing: it takes room, and is no event', async () => {
      const stream = aStream()
      const before = positionOf(await raw.append(stream, 'no-stream', [{}]))
      expect(success(await raw.append(stream, 0n, []))).toMatchObject({ currentRevision: '0' })
      const after = positionOf(await raw.append(stream, 'any', [{}]))
      const names = 2 * (1 + stream.length)
      expect(after - before).toBe(BigInt(names + 88 + 2 + 2 + 88 + 1))
      expect(
        eventsOf(await raw.readAll({ from: before, filter: { by: 'stream', prefixes: [stream] } })),
      ).toHaveLength(2)
    })

    test('reading all takes only those that records have; beyond the end there is nothing', async () => {
      const at = positionOf(await raw.append(aStream(), 'any', [{}]))
      await raw.append(aStream(), 'any', [{}])
      expect(await raw.readAll({ from: at + 10n })).toMatchObject({
        code: 2,
        details: containing('InvalidPosition'),
      })
      const far = at + 10n ** 12n
      expect(await raw.readAll({ from: far })).toEqual({ answer: [] })
      expect(await raw.readAll({ from: far, isBackwards: true })).toMatchObject({ code: 2 })
    })
  })

  describe('expectations', () => {
    test.each(['append', 'batchAppend'] as const)('%s answers how the stream stands', async (how) => {
      const stream = aStream()
      expect(success(await raw[how](stream, 'no-stream', [{}, {}]))).toMatchObject({ currentRevision: '1' })
      for (const expected of ['no-stream', 0n, 5n] as const) {
        const outcome = JSON.stringify(await raw[how](stream, expected, [{}]))
        expect(outcome).toMatch(how === 'append' ? '"currentRevision":"1"' : 'WrongExpectedVersion')
      }
      expect(success(await raw[how](stream, 'exists', [{}]))).toMatchObject({ currentRevision: '2' })
      expect(success(await raw[how](aStream(), 'exists', [{}]))).toBeUndefined()
      expect(success(await raw[how](stream, 2n, []))).toMatchObject({ currentRevision: '2' })
      expect(success(await raw[how](stream, 1n, []))).toBeUndefined()
    })

    test('appendRecords says each stream that is not as it is expected to be', async () => {
      const [there, missing, deleted, gone] = [aStream(), aStream(), aStream(), aStream()]
      for (const stream of [there, deleted, gone]) await raw.append(stream, 'any', [{}, {}])
      await raw.delete(deleted, 'any')
      await raw.tombstone(gone, 'any')
      const check = (stream: string, expectedState: bigint | 'no_stream' | 'stream_exists') =>
        ({ type: STREAM_STATE, streamName: stream, expectedState }) as const
      const violated = (...checks: ReturnType<typeof check>[]) =>
        client
          .appendRecords([{ streamName: aStream(), record: jsonEvent({ type: 'T', data: {} }) }], checks)
          .then(
            () => [],
            (error: unknown) =>
              (error as { violations: { actualState: unknown }[] }).violations.map(
                ({ actualState }) => actualState,
              ),
          )
      expect(
        await violated(
          check(there, 7n),
          check(missing, 'stream_exists'),
          check(deleted, 'stream_exists'),
          check(gone, 0n),
        ),
      ).toEqual([1n, 'no_stream', -5n, -6n])
      expect(await violated(check(there, 1n), check(missing, 'no_stream'), check(gone, 'no_stream'))).toEqual(
        [],
      )
      expect(await violated(check(there, 'no_stream'))).toEqual([1n])
      expect(await violated(check(deleted, 'no_stream'))).toEqual([])
      expect(
        await raw.appendRecords([{ stream: aStream() }], { [deleted]: -5n, [gone]: -6n }),
      ).toHaveProperty('answer')
      // What the matrix in the server's source says of these two is not what it does.
      expect(await violated(check(deleted, 9n))).toEqual([1n])
      expect(await raw.appendRecords([{ stream: aStream() }], { [deleted]: -6n })).toMatchObject({
        details: containing('expected state -6, actual state 1'),
      })
      expect(await raw.appendRecords([{ stream: gone }])).toMatchObject({ code: 9 })
    })

    test('appendRecords takes streams whose names differ only in case for one', async () => {
      const stream = aStream()
      const outcome = await raw.appendRecords([{ stream: `${stream}X` }, { stream: `${stream}x` }])
      expect(outcome).toMatchObject({ answer: { revisionsList: [{ stream: `${stream}X`, revision: '1' }] } })
      expect(await raw.read(`${stream}x`)).toEqual({ answer: [{ notFound: `${stream}x` }] })
    })
  })

  describe('what is sent again', () => {
    test.each(['append', 'batchAppend'] as const)(
      '%s: an exact expectation finds it in its place',
      async (how) => {
        const stream = aStream()
        const [a, b, c] = ids(3) as [string, string, string]
        const first = await raw[how](stream, 'no-stream', withIds(a, b))
        await raw[how](stream, 1n, withIds(c))
        expect(await raw[how](stream, 'no-stream', withIds(a, b))).toEqual(first)
        expect(await raw[how](stream, 'no-stream', [{ id: a, data: '{"other":1}' }, { id: b }])).toEqual(
          first,
        )
        expect(success(await raw[how](stream, 'no-stream', withIds(a)))).toMatchObject({
          currentRevision: '0',
        })
        expect(success(await raw[how](stream, 'no-stream', withIds(a, c)))).toBeUndefined()
        expect(success(await raw[how](stream, 0n, withIds(a)))).toBeUndefined()
        expect(revisionsOf(await raw.read(stream))).toEqual([0, 1, 2])
      },
    )

    test('any and exists find it as long as the server remembers the ids, each in one stream', async () => {
      const [stream, other] = [aStream(), aStream()]
      const [a, b] = ids(2) as [string, string]
      const first = await raw.append(stream, 'any', withIds(a))
      expect(await raw.append(stream, 'any', withIds(a))).toEqual(first)
      expect(await raw.append(stream, 'exists', withIds(a))).toEqual(first)
      expect(success(await raw.append(stream, 'any', withIds(a, b)))).toBeUndefined()
      expect(success(await raw.append(stream, 'any', withIds(b, a)))).toMatchObject({ currentRevision: '2' })
      // Known by another stream, an id is not known here, however often it comes.
      await raw.append(other, 'any', withIds(a))
      await raw.append(other, 'any', withIds(a))
      expect(revisionsOf(await raw.read(other))).toEqual([0, 1])
    })

    test('appendRecords: all streams or none, whatever its checks say by now', async () => {
      const [one, two, checked] = [aStream(), aStream(), aStream()]
      const [a, b] = ids(2) as [string, string]
      const records = [
        { stream: one, id: a },
        { stream: two, id: b },
      ]
      const checks = { [one]: -1n, [two]: -1n, [checked]: -1n }
      const first = await raw.appendRecords(records, checks)
      await raw.append(checked, 'any', [{}])
      expect(await raw.appendRecords(records, checks)).toEqual(first)
      const mixed = await raw.appendRecords([records[0]!, { stream: two }], { [one]: -1n })
      expect(mixed).toMatchObject({ code: 9, details: containing(one) })
    })

    test('its position is lost where the event is not read any more', async () => {
      const stream = aStream()
      const [a] = ids(1) as [string]
      await raw.append(stream, 'no-stream', withIds(a))
      await raw.append(stream, 0n, [{}])
      await raw.setMetadata(stream, '{"$tb":1}')
      expect(success(await raw.append(stream, 'no-stream', withIds(a)))).toEqual({
        currentRevision: '0',
        noStream: undefined,
        position: undefined,
        noPosition: {},
      })
      const outcome = await raw.appendRecords([{ stream, id: a }], { [stream]: -1n })
      expect(outcome).toMatchObject({ answer: { position: '-1' } })
    })
  })

  describe('limits', () => {
    const data = new Uint8Array(16 * 1024 * 1024)

    test('v1 takes messages of 16 MiB less 10 kB, and says it in a way that the client does not know', async () => {
      const event = jsonEvent({ type: 'T', data: 'x'.repeat(17 * 1024 * 1024) })
      await expect(client.appendToStream(aStream(), [event])).rejects.toMatchObject({ type: 'unknown' })
      expect(await raw.append(aStream(), 'any', [{ data }])).toMatchObject({ code: 8 })
      expect(await raw.append(aStream(), 'any', [{ data: data.subarray(11_000) }])).toHaveProperty(
        'answer.success',
      )
    })

    test('v2 takes records of 16 MiB, and fails over those that only nearly are', async () => {
      const stream = aStream()
      expect(await raw.appendRecords([{ stream, data }])).toMatchObject({ code: 3 })
      expect(await raw.appendRecords([{ stream, data: data.subarray(1000) }])).toMatchObject({ code: 2 })
      expect(await raw.appendRecords([{ stream, data: data.subarray(11_000) }])).toHaveProperty('answer')
    })

    test.each([
      ['no records', [], {}, 'must contain at least one record'],
      ['an expectation of anything', [{}], { s: -2n }, 'Any (-2) is not allowed'],
      ['a type with a space', [{ type: 'A b' }], {}, 'Schema name can only contain'],
      ['a type with a letter outside the basic plane', [{ type: '𝒜' }], {}, 'Schema name can only contain'],
      ['a type that is not composed', [{ type: 'e\u0301' }], {}, 'Unicode NFC'],
      ['an id that is none', [{ id: 'x' }], {}, 'Record ID must be'],
      ['an empty key of a property', [{ properties: { '': 'x' } }], {}, 'Property keys must not be empty'],
      ['a stream checked twice but for its case', [{}], { s: 0n, S: 0n }, 'only appear once'],
    ] as const)('appendRecords refuses %s', async (__, records, checks, details) => {
      const outcome = await raw.appendRecords(
        records.map((record) => ({ stream: aStream(), ...record })),
        checks,
      )
      expect(outcome).toMatchObject({ code: 3, details: containing(details) })
    })

    test('v1 takes types of any text', async () => {
      const stream = aStream()
      await raw.append(stream, 'any', [{ type: 'A b\n' }])
      expect(eventsOf(await raw.read(stream))[0]?.event).toMatchObject({ type: 'A b\n' })
    })
  })

  describe('deleting', () => {
    test('a stream that was deleted goes on where it was, and one of a tombstone never', async () => {
      const stream = aStream()
      await raw.append(stream, 'any', [{}, {}])
      await raw.delete(stream, 'any')
      expect(await raw.read(stream)).toEqual({ answer: [{ notFound: stream }] })
      expect(exceptionOf(await raw.append(stream, 'exists', [{}]))).toBe('stream-deleted')
      expect(success(await raw.append(stream, 'no-stream', [{}]))).toMatchObject({ currentRevision: '2' })
      expect(revisionsOf(await raw.read(stream))).toEqual([2])
      const metadata = eventsOf(await raw.read(`$$${stream}`)).map(({ event }) => event!.data)
      expect(metadata).toEqual(['{"$tb":2}'])

      await raw.tombstone(stream, 'any')
      for (const outcome of [await raw.read(stream), await raw.append(stream, 'any', [{}])]) {
        expect(outcome).toMatchObject({
          code: 9,
          trailers: { exception: 'stream-deleted', 'stream-name': stream },
        })
      }
      expect(JSON.stringify(await raw.batchAppend(stream, 'any', [{}]))).toMatch('StreamDeleted')
      expect(await raw.appendSession([{ stream, records: [{ stream: '' }] }])).toMatchObject({
        code: 9,
        details: containing('tombstoned'),
      })
    })

    test('an append of nothing brings a deleted stream back, as empty as it is', async () => {
      const stream = aStream()
      await raw.append(stream, 'any', [{}])
      await raw.delete(stream, 'any')
      await raw.append(stream, 0n, [])
      expect(await raw.read(stream)).toEqual({ answer: [{ first: '1' }, { last: '0' }] })
    })

    test('a stream that never was cannot be deleted; a tombstone needs none', async () => {
      expect(exceptionOf(await raw.delete(aStream(), 'any'))).toBe('wrong-expected-version')
      expect(await raw.tombstone(aStream(), 'any')).toHaveProperty('answer')
    })

    test('the name of a stream beyond ASCII makes an error of it that says nothing', async () => {
      const stream = `${aStream()}é`
      await raw.tombstone(stream, 'any')
      expect(await raw.read(stream)).toMatchObject({ code: 2, details: 'Received HTTP status code 500' })
      expect(JSON.stringify(await raw.batchAppend(stream, 'any', [{}]))).toMatch('StreamDeleted')
      await expect(client.readStream(stream).next()).rejects.toThrow()
    })
  })

  describe('reading', () => {
    const read = async (stream: string, options?: RawRead) => revisionsOf(await raw.read(stream, options))

    test('a stream, in both directions, from anywhere', async () => {
      const stream = aStream()
      await raw.append(
        stream,
        'any',
        Array.from({ length: 70 }, () => ({})),
      )
      expect(await read(stream, { from: 60n, count: 3 })).toEqual([60, 61, 62])
      expect(await read(stream, { from: 60n, count: 3, isBackwards: true })).toEqual([60, 59, 58])
      expect(await read(stream, { from: 'end', count: 2, isBackwards: true })).toEqual([69, 68])
      expect(await read(stream, { from: 500n, count: 2, isBackwards: true })).toEqual([69, 68])
      expect(await raw.read(stream, { from: 500n })).toEqual({ answer: [{ first: '70' }, { last: '69' }] })
      await raw.setMetadata(stream, '{"$maxCount":5}')
      expect(await read(stream, { count: 2 })).toEqual([65, 66])
      await raw.setMetadata(stream, '{"$maxCount":5,"$tb":68}')
      expect(await read(stream)).toEqual([68, 69])
      await raw.setMetadata(stream, '{"$maxAge":1000}')
      expect(await read(stream, { count: 1 })).toEqual([0])
    })

    test('all, with filters by prefix or regex, without what the cluster keeps for itself', async () => {
      const stream = aStream()
      const from = positionOf(await raw.append(`${stream}-1`, 'any', [{ type: 'A' }, { type: 'B.x' }]))
      await raw.append(`$${stream}`, 'any', [{ type: '$A' }])
      await raw.append(`${stream}-2`, 'any', [{ type: 'A' }])
      await raw.setMetadata(stream, '{}')
      const found = async (filter: NonNullable<RawRead['filter']>) => {
        const events = eventsOf(await raw.readAll({ from, filter, count: 100 }))
        return events
          .map(({ event }) => event!)
          .filter((event) => event.stream.includes(stream))
          .map(({ type }) => type)
      }
      expect(await found({ by: 'stream', prefixes: [stream] })).toEqual(['B.x', 'A'])
      expect(await found({ by: 'stream', prefixes: ['$$', `$${stream}`] })).toEqual(['$A', '$metadata'])
      expect(await found({ by: 'stream', regex: `^${stream}-(1|3)$` })).toEqual(['B.x'])
      expect(await found({ by: 'type', prefixes: ['$', 'B'] })).toEqual(['B.x', '$A', '$metadata'])
      expect(await found({ by: 'type', regex: '^(?:A|B\\.x)$' })).toEqual(['B.x', 'A'])
      expect(await found({ by: 'type' })).toEqual([])
      const systems = eventsOf(await raw.readAll({ count: 10 })).filter(({ event }) =>
        event!.stream.startsWith('$'),
      )
      expect(systems[0]?.event).toMatchObject({ stream: '$$$scavenges', type: '$metadata' })
      expect(systems.some(({ event }) => event!.stream === '$epoch-information')).toBe(false)
    })

    test('all by a prefix finds names that only look like it, too; by a regex it does not', async () => {
      const stream = aStream()
      const names = ['ab', 'a\u00adb', 'a\u200bb', 'a\u0000b', 'é', 'e\u0301', 'e'].map(
        (name) => stream + name,
      )
      const from = positionOf(await raw.append(stream, 'any', [{}]))
      for (const name of names) await raw.append(name, 'any', [{}])
      const found = async (filter: Omit<NonNullable<RawRead['filter']>, 'by'>) => {
        const events = eventsOf(await raw.readAll({ from, filter: { by: 'stream', ...filter } }))
        return events.map(({ event }) => event!.stream)
      }
      expect(await found({ prefixes: [`${stream}ab`] })).toEqual(names.slice(0, 4))
      expect(await found({ prefixes: [`${stream}é`] })).toEqual(names.slice(4, 6))
      expect(await found({ regex: `^${stream}(ab|é)` })).toEqual([names[0], names[4]])
    })

    test('metadata, of v2 with what the server knows of the schema', async () => {
      const stream = aStream()
      await raw.append(stream, 'any', [{ metadata: 'not json' }])
      await raw.appendRecords([
        { stream, properties: { b: '<é"😀', a: '' } },
        { stream, format: SCHEMA_FORMAT_BYTES, data: 'x' },
        { stream, properties: { '$schema.name': 'mine' } },
      ])
      const events = eventsOf(await raw.read(stream)).map(({ event }) => [
        event!.contentType,
        event!.metadata,
      ])
      const [json, binary] = ['application/json', 'application/octet-stream']
      expect(events).toEqual([
        [json, 'not json'],
        [
          json,
          '{ "a": "", "b": "\\u003cé\\"\\ud83d\\ude00", "$schema.name": "T", "$schema.format": "Json" }',
        ],
        [binary, '{ "$schema.format": "Bytes", "$schema.name": "T" }'],
        [json, '{ "$schema.name": "T", "$schema.format": "Json" }'],
      ])
    })

    test('links, also those that lead nowhere', async () => {
      const [target, links] = [aStream(), aStream()]
      await raw.append(target, 'any', [{ data: '{"here":1}' }])
      const link = (data: string): RawEvent => ({ type: '$>', data, contentType: 'application/octet-stream' })
      await raw.append(links, 'any', [link(`0@${target}`), link(`1@${target}`), link('nowhere')])
      const resolved = eventsOf(await raw.read(links, { resolvesLinks: true }))
      expect(resolved.map(({ event, link: its }) => [event?.data, its?.data])).toEqual([
        ['{"here":1}', `0@${target}`],
        [undefined, `1@${target}`],
        ['nowhere', undefined],
      ])
      expect(eventsOf(await raw.read(links)).every(({ event, link: its }) => event && !its)).toBe(true)
    })

    test('by the client, whose other half reads', async () => {
      const stream = aStream()
      await client.appendToStream(
        stream,
        [1, 2, 3].map((n) => jsonEvent({ type: 'T', data: { n } })),
      )
      const numbers = async (events: AsyncIterable<{ event?: { data: unknown } }>) => {
        const found: unknown[] = []
        for await (const { event } of events) found.push((event!.data as { n: number }).n)
        return found
      }
      expect(await numbers(client.readStream(stream))).toEqual([1, 2, 3])
      const filter = streamNameFilter({ prefixes: [stream] })
      expect(
        await numbers(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 2, filter })),
      ).toEqual([3, 2])
      await expect(client.readStream(aStream()).next()).rejects.toMatchObject({ type: 'stream-not-found' })
    })
  })

  test('a subscription tells of events, of how far it is, and when it has come to the end', async () => {
    const [wanted, other] = [aStream(), aStream()]
    const first = positionOf(await raw.append(other, 'any', withIds(...ids(1))))
    const labels = new Map([[first, 'first']])
    const write = async (stream: string, name: string, count: number) => {
      for (let i = 0; i < count; i++) {
        labels.set(positionOf(await raw.append(stream, 'any', withIds(...ids(1)))), `${name}${String(i)}`)
      }
    }
    await write(other, 'other', 40)
    await write(wanted, 'wanted', 3)
    await write(other, 'more', 5)
    const subscription = raw.follow(first, `^${wanted}$`, 16)
    onTestFinished(() => subscription.close())
    const told = () =>
      subscription.told.map(({ kind, position }) => `${kind} ${labels.get(position ?? -1n) ?? '-'}`)
    await expect.poll(told).toContain('caught-up more4')
    await write(wanted, 'live', 2)
    await write(other, 'late', 20)
    await expect.poll(told).toContain('checkpoint late13')
    expect(told()).toEqual([
      'confirmed -',
      // Each page is told of by where it began, or by the last event that was found in it.
      'checkpoint first',
      'checkpoint other15',
      'event wanted0',
      'event wanted1',
      'event wanted2',
      'checkpoint wanted2',
      'checkpoint more4',
      'caught-up more4',
      'event live0',
      'event live1',
      'checkpoint late13',
    ])
  })
})

describe.runIf(real)('alike', () => {
  test('both servers give the same answers to the same calls', { timeout: 600_000 }, async () => {
    const server = await standIn()
    onTestFinished(() => server.stop())
    const clients = [server.connectionString, real!].map((text) => new RawClient(addressOf(text)))
    let runs = 0
    await fc.assert(
      fc.asyncProperty(randomCalls, async (calls) => {
        const prefix = `d${run}${(runs++).toString(16).padStart(5, '0')}-`
        const marker = withIds(...ids(1))
        const bases = await Promise.all(
          clients.map(async (client) => positionOf(await client.append(`${prefix}marker`, 'any', marker))),
        )
        const outcomes: (readonly [text: string, model: unknown, original: unknown])[] = []
        const compare = async (
          text: string,
          send: (client: RawClient, i: number) => Promise<Outcome>,
        ): Promise<void> => {
          const both = clients.map(async (client, i) => comparable(await send(client, i), bases[i]!))
          const [model, original] = await Promise.all(both)
          outcomes.push([text, model, original])
        }
        for (const call of calls) await compare(call.text, (client) => call.send(client, prefix))
        await compare('read all', (client, i) => client.readAll({ from: bases[i]! }))
        // If others wrote to the server meanwhile, its positions tell nothing, and the calls are not counted.
        const log = eventsOf(await clients[1]!.readAll({ from: bases[1]! }))
        fc.pre(log.every(({ event, link = event }) => link!.stream.replace(/^\$\$/, '').startsWith(prefix)))
        for (const [text, model, original] of outcomes) expect(model, text).toEqual(original)
      }),
      { numRuns: isFull ? 2_000 : 200 },
    )
  })
})

describe('the stand-in', () => {
  const start = async (
    options?: StandInOptions,
  ): Promise<{ server: StandIn; raw: RawClient; client: KurrentDBClient }> => {
    const server = await standIn(options)
    const raw = new RawClient(`127.0.0.1:${server.port}`)
    const client = KurrentDBClient.connectionString(server.connectionString)
    onTestFinished(async () => {
      raw.close()
      await client.dispose()
      await server.stop()
    })
    return { server, raw, client }
  }
  /** Another connection: one that was cut says so once. */
  const connect = (server: StandIn) => {
    const raw = new RawClient(`127.0.0.1:${server.port}`)
    onTestFinished(() => raw.close())
    return raw
  }
  const event = () => jsonEvent({ type: 'T', data: {} })

  test('is found by discovery', async () => {
    const { server } = await start()
    const client = KurrentDBClient.connectionString(server.discoveryString)
    await client.appendToStream('s', event())
    expect((await client.readStream('s').next()).done).toBe(false)
    await client.dispose()
  })

  test.each([
    ['26.1.0', true, true],
    ['25.1.0', true, false],
    ['24.10.0', false, false],
    ['21.2.0', false, false],
  ])('as version %s', async (version, hasSessions, hasRecords) => {
    const { client } = await start({ version })
    expect((await client.appendToStream('s', [event()])).nextExpectedRevision).toBe(0n)
    const session = client.multiStreamAppend([{ streamName: 'a', expectedState: 'any', events: [event()] }])
    expect(await errorTypeOf(session)).toBe(hasSessions ? 'done' : 'unsupported')
    const records = client.appendRecords([{ streamName: 'b', record: event() }])
    expect(await errorTypeOf(records)).toBe(hasRecords ? 'done' : 'unsupported')
    expect((await client.readStream('s').next()).done).toBe(false)
  })

  test('keeps its log over a restart, and forgets the ids', async () => {
    const { server, raw } = await start()
    const events = withIds(...ids(2))
    const first = await raw.append('s', 'no-stream', events)
    await server.restart()
    const again = connect(server)
    expect(await again.append('s', 'no-stream', events)).toEqual(first)
    expect(success(await again.append('s', 'any', events))).toMatchObject({ currentRevision: '3' })
  })

  test('goes back to a backup', async () => {
    const { server, raw } = await start()
    await raw.append('s', 'any', [{}])
    const backup = server.backUp()
    await raw.append('s', 'any', [{}])
    await raw.tombstone('t', 'any')
    await server.restore(backup)
    const again = connect(server)
    expect(revisionsOf(await again.read('s'))).toEqual([0])
    expect(positionOf(await again.append('t', 'no-stream', [{}]))).toBe(backup + 642n)
  })

  test('limits what is appended, as configured', async () => {
    const { raw } = await start({ maxEventSize: 100, maxAppendSize: 150 })
    const data = 'x'.repeat(90)
    expect(exceptionOf(await raw.append('s', 'any', [{ data: data + data }]))).toBe(
      'maximum-append-event-size-exceeded',
    )
    expect(exceptionOf(await raw.append('s', 'any', [{ data }, { data }]))).toBe(
      'maximum-append-size-exceeded',
    )
    expect(JSON.stringify(await raw.batchAppend('s', 'any', [{ data }, { data }]))).toMatch(
      'MaximumAppendSizeExceeded',
    )
    const record = { stream: 's', data }
    expect(await raw.appendRecords([record, record])).toMatchObject({
      code: 10,
      details: containing('after 2 record(s)'),
    })
  })

  test.each([
    ['not-leader', 'not-leader', 'not-leader', 'unknown'],
    ['not-ready', 'unavailable', 'unknown', 'unavailable'],
    ['too-busy', 'unavailable', 'unknown', 'unavailable'],
    ['access-denied', 'access-denied', 'access-denied', 'unknown'],
  ] as const)('refuses a write: %s', async (kind, ofDelete, ofBatch, ofRecords) => {
    const { server, client } = await start()
    await client.appendToStream('s', event())
    const refusal = kind === 'not-leader' ? { kind, host: '127.0.0.1', port: server.port } : { kind }
    const refused = async (call: () => Promise<unknown>) => {
      server.faults.nextWrite(refusal)
      return errorTypeOf(call())
    }
    expect(await refused(() => client.deleteStream('s'))).toBe(ofDelete)
    expect(await refused(() => client.appendToStream('s', event()))).toBe(ofBatch)
    expect(await refused(() => client.appendRecords([{ streamName: 's', record: event() }]))).toBe(ofRecords)
    expect((await client.appendToStream('s', event())).nextExpectedRevision).toBe(1n)
  })

  test.each([true, false])('breaks off a write, committed: %s', async (isCommitted) => {
    const { server, raw } = await start()
    for (const kind of ['cut', 'timeout'] as const) {
      server.faults.nextWrite({ kind, isCommitted })
      expect(await raw.append(kind, 'any', [{}])).toMatchObject({ code: kind === 'cut' ? 14 : 10 })
      expect(eventsOf(await raw.read(kind))).toHaveLength(isCommitted ? 1 : 0)
    }
    server.faults.nextWrite({ kind: 'silence', isCommitted })
    const unanswered = raw.append('silence', 'any', [{}])
    await expect(
      Promise.race([unanswered, new Promise((done) => setTimeout(done, 50, 'nothing'))]),
    ).resolves.toBe('nothing')
    expect(eventsOf(await raw.read('silence'))).toHaveLength(isCommitted ? 1 : 0)
    server.cut()
    expect(await unanswered).toMatchObject({ code: 14 })
  })

  test.each(['before', 'after'] as const)('holds a write: %s', async (when) => {
    const { server, raw } = await start()
    const held = server.faults.holdNextWrite(when)
    const append = raw.append('s', 'any', [{}])
    await held.arrived
    expect(eventsOf(await raw.read('s'))).toHaveLength(when === 'after' ? 1 : 0)
    held.release()
    expect(success(await append)).toMatchObject({ currentRevision: '0' })
  })

  test('breaks off a read, after some events', async () => {
    const { server, client } = await start()
    await client.appendToStream('s', Array.from({ length: 200 }, event))
    server.faults.nextRead({ kind: 'cut', after: 100 })
    let count = 0
    const readAll = async () => {
      for await (const __ of client.readStream('s')) count++
    }
    await expect(readAll()).rejects.toMatchObject({ type: 'unavailable' })
    expect(count).toBeLessThanOrEqual(100)
    server.faults.nextRead({ kind: 'not-ready' })
    await expect(readAll()).rejects.toMatchObject({ type: 'unavailable' })
  })

  test('leaves nothing behind that keeps the process', async () => {
    const held = () =>
      process
        .getActiveResourcesInfo()
        .filter((kind) => /TCP|Timeout|Immediate/.test(kind))
        .sort()
    const before = held().length
    const server = await standIn()
    const raw = new RawClient(`127.0.0.1:${server.port}`)
    await raw.append('s', 'any', [{}])
    await raw.batchAppend('s', 'any', [{}])
    server.faults.nextWrite({ kind: 'silence', isCommitted: false })
    void raw.append('s', 'any', [{}])
    raw.close()
    await server.stop()
    await expect.poll(() => held().length).toBeLessThanOrEqual(before)
  })
})
