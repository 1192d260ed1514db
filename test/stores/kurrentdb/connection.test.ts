import { inspect } from 'node:util'
import { openStore } from 'mneme'
import { kurrentdbStore } from 'mneme/kurrentdb'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'

import { environmentConnection, readConnection } from '../../../src/stores/kurrentdb/options.ts'
import { FAR_DEADLINE_MS, JumpingClock } from './jumping-clock.ts'
import { fateOf, isPending, rawClient, served, storeOf, unique, until, where } from './rig.ts'
import { adapterOf } from './server.ts'

const SECRET = 'pa55w0rd'
const text = (connection: string) => readConnection(connection, 10_000).text
const spies = () =>
  (['log', 'warn', 'error', 'info', 'debug'] as const).map((name) => vi.spyOn(console, name))
afterEach(() => void vi.restoreAllMocks())

/** All that an error says, however deep. */
function allOf(error: unknown): string {
  const seen = [inspect(error, { depth: Infinity, showHidden: true }), JSON.stringify(error)]
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    seen.push(at.message, at.stack ?? '', String(at))
  return seen.join('\n')
}

function thrownBy(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('a connection string', () => {
  test.each(['kurrentdb', 'kurrent', 'kdb', 'esdb'])('may begin with %s', (scheme) => {
    expect(text(`${scheme}://a:2113?tls=false`)).toMatch(/^kurrentdb:\/\/a:2113\?tls=false&/)
    expect(text(`${scheme}+discover://a,b:1?tls=false`)).toMatch(/^kurrentdb\+discover:\/\/a,b:1\?tls=false&/)
  })

  test.each(
    [
      [
        '',
        'KurrentDB://a',
        'http://a',
        'kurrentdb:a',
        'kurrentdb://',
        'kurrentdb://?tls=false',
        'postgres://a',
      ],
      [
        'kurrentdb://a:0',
        'kurrentdb://a:65536',
        'kurrentdb://a:x',
        'kurrentdb://a:1:2',
        'kurrentdb://a,,b',
        'kurrentdb://a b',
      ],
      ['kurrentdb://a/path', 'kurrentdb://a?tls=no', 'kurrentdb://a?tls', 'kurrentdb://a?nodePreference=me'],
      [
        'kurrentdb://a?defaultDeadline=0',
        'kurrentdb://a?keepAliveInterval=x',
        'kurrentdb://a?connectionName=',
      ],
      [
        'kurrentdb://user@a',
        'kurrentdb://user:@a',
        'kurrentdb://:p@a',
        'kurrentdb://u:p:q@a',
        'kurrentdb://u:%@a',
        'kurrentdb://@a',
      ],
    ].flat(),
  )('is refused: %j', (connection) => {
    expect(thrownBy(() => text(connection))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('has the names of its parameters in any case, and is given a deadline where it has none', () => {
    expect(text('kurrentdb://a?TLS=false&NODEPREFERENCE=Follower')).toMatch(
      /^kurrentdb:\/\/a\?tls=false&nodePreference=Follower&defaultDeadline=10000/,
    )
    expect(text('kurrentdb://a?tls=false&defaultDeadline=7')).toMatch(
      /^kurrentdb:\/\/a\?tls=false&defaultDeadline=7(?!\d)/,
    )
    expect(text('kurrentdb://a?tls=false&throwOnAppendFailure=false')).not.toContain('throwOnAppendFailure')
  })

  test('prefers the leader, unless it says otherwise', () => {
    const isLeader = (query: string) => readConnection(`kurrentdb://a${query}`, 1).requiresLeader
    expect(['', '?nodePreference=leader', '?nodepreference=LEADER'].map(isLeader)).toEqual([true, true, true])
    const others = ['follower', 'random', 'readOnlyReplica'].map((node) => `?nodePreference=${node}`)
    expect(others.map(isLeader)).toEqual([false, false, false])
  })

  test('a password is kept as it is written, and refused where it would not be sent', () => {
    const odd = encodeURIComponent('ä:/?#[]@!$&\'()*+,;=% "\\')
    expect(text(`kurrentdb://us%40er:${odd}@a:1`)).toMatch(`kurrentdb://us%40er:${odd}@a:1?`)
    expect(thrownBy(() => text(`kurrentdb://admin:${SECRET}@a?tls=false`))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('tls') as string,
    })
    expect(thrownBy(() => text(`kurrentdb://admin:${SECRET}@a?TLS=false`))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

describe('a password is in no message and nowhere printed', () => {
  const bad = [
    `kurrentdb://admin:${SECRET}@a?tls=false`,
    `kurrentdb://admin:${SECRET}@a?tlsVerifyCerts=false`,
    `kurrentdb://admin:${SECRET}@a?unknown=1`,
    `kurrentdb://admin:${SECRET}@a?tls=maybe`,
    `kurrentdb://admin:${SECRET}@a:port`,
    `kurrentdb://admin:${SECRET}@`,
    `kurrentdb://admin:${SECRET}%@a`,
    `kurrentdb://admin:${SECRET}/@a`,
    `kurrentdb://admin:x:${SECRET}@a`,
    `kurrentdb:/admin:${SECRET}@a`,
    `kurrentdb://${SECRET}@a`,
    `kurrentdb://admin:x@${SECRET}@a`,
    `kurrentdb://admin:${SECRET}?x@a`,
    `kurrentdb://admin:${SECRET}@a/b/c`,
    `kurrentdb://admin:${SECRET}@a b`,
    `kurrentdb+discover://admin:${SECRET}@a:1:2`,
    `kurrentdb://admin:${SECRET}@a?tlsCAFile=/no/such/file.crt`,
    `kurrentdb://admin:${SECRET}@a?userCertFile=/no/such`,
    `kurrentdb://admin:${SECRET}@a?keepAliveInterval=-7`,
    `kurrentdb://admin:${SECRET}@127.0.0.1:1?tlsVerifyCert=false`,
    `kurrentdb+discover://admin:${SECRET}@127.0.0.1:1?maxDiscoverAttempts=1&discoveryInterval=10`,
    `kurrentdb://admin:${SECRET}@127.0.0.1:1,127.0.0.1:2?maxDiscoverAttempts=1`,
  ]

  test.each(bad)(
    '%s',
    async (connection) => {
      const printed = spies()
      const write = vi.spyOn(process.stderr, 'write')
      const { error } = await fateOf(kurrentdbStore(connection, { deadline: 200 }))
      expect(error).toBeInstanceOf(Error)
      expect((error as { code?: string }).code).toMatch(
        /^INVALID_ARGUMENT$|^CANNOT_OPEN$|^STORE_UNAVAILABLE$|^STORE_TIMEOUT$/,
      )
      expect(allOf(error)).not.toContain(SECRET)
      expect(JSON.stringify([...printed, write].flatMap(({ mock }) => mock.calls))).not.toContain(SECRET)
      // Without an option, one that cannot be reached would take ten seconds.
      if ((error as { code?: string }).code === 'INVALID_ARGUMENT') {
        const opening = await fateOf(openStore(connection))
        expect(allOf(opening.error)).not.toContain(SECRET)
      }
    },
    60_000,
  )
})

describe('the environment', () => {
  test('describes a connection', () => {
    expect(environmentConnection({})).toBe('kurrentdb://localhost:2113?tls=false')
    const all = { KURRENT_HOST: 'db', KURRENT_PORT: '1', KURRENT_TLS: 'true', KURRENT_USERNAME: 'a@b' }
    expect(environmentConnection(all)).toBe('kurrentdb://db:1?tls=true')
    expect(environmentConnection({ ...all, KURRENT_PASSWORD: 'p:@/' })).toBe(
      'kurrentdb://a%40b:p%3A%40%2F@db:1?tls=true',
    )
    expect(environmentConnection({ KURRENT_PASSWORD: 'p', KURRENT_TLS: 'true' })).toBe(
      'kurrentdb://admin:p@localhost:2113?tls=true',
    )
    expect(environmentConnection({ KURRENT_HOST: '' })).toBe('kurrentdb://localhost:2113?tls=false')
    for (const environment of [{}, all, { ...all, KURRENT_PASSWORD: 'p:@/%' }])
      text(environmentConnection(environment))
  })

  test.each([
    ['KURRENT_HOST', { KURRENT_HOST: `${SECRET}@x` }],
    ['KURRENT_PORT', { KURRENT_PORT: 'x' }],
    ['KURRENT_TLS', { KURRENT_TLS: 'yes' }],
    ['KURRENT_TLS', { KURRENT_PASSWORD: SECRET }],
  ])('is refused for %s', (name, environment) => {
    const error = thrownBy(() => environmentConnection(environment))
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(name) as string,
    })
    expect(allOf(error)).not.toContain(SECRET)
  })

  test(`is what a store without a connection takes, ${where}`, async () => {
    const { hostname, port } = new URL(await served())
    vi.stubEnv('KURRENT_HOST', hostname)
    vi.stubEnv('KURRENT_PORT', port)
    onTestFinished(() => void vi.unstubAllEnvs())
    const store = await kurrentdbStore()
    await store.append({ stream: unique(), events: [{ type: 'T', data: {} }] })
    await store.close()
  })
})

describe(`a store ${where}`, () => {
  test('is opened by each scheme', async () => {
    const host = new URL(await served()).host
    for (const scheme of ['kurrentdb', 'esdb', 'kdb', 'kurrent', 'kurrentdb+discover', 'esdb+discover']) {
      const store = await openStore(`${scheme}://${host}?tls=false`)
      const stream = unique()
      await store.append({ stream, events: [{ type: 'T', data: {} }] })
      expect(await store.head(stream)).toBe(0)
      await store.close()
    }
  })

  test('with a client handed in leaves it open, and takes one that does not throw', async () => {
    const server = await served()
    for (const client of [rawClient(server), rawClient(`${server}&throwOnAppendFailure=false`)]) {
      const store = await kurrentdbStore(client)
      const stream = unique()
      await store.append({ stream, expected: 'none', events: [{ type: 'T', data: {} }] })
      await expect(
        store.append({ stream, expected: 'none', events: [{ type: 'T', data: {} }] }),
      ).rejects.toMatchObject({ code: 'CONFLICT', actual: 0 })
      await expect(store.append({ stream, expected: 7, events: [] })).rejects.toMatchObject({
        code: 'CONFLICT',
        actual: 0,
      })
      await expect(
        store.append([
          { stream, expected: 7, events: [{ type: 'T', data: {} }] },
          { stream: unique(), events: [{ type: 'T', data: {} }] },
        ]),
      ).rejects.toMatchObject({ code: 'CONFLICT', actual: 0 })
      await store.close()
      const found: unknown[] = []
      for await (const { event } of client.readStream(stream)) found.push(event)
      expect(found).toHaveLength(1)
      await client.appendToStream(stream, [
        { id: crypto.randomUUID(), type: 'T', contentType: 'application/json', data: {} },
      ] as never)
    }
  })

  test('refuses what is no client, and options that nobody knows', async () => {
    for (const wrong of [null, 17, {}, { appendToStream: () => undefined }]) {
      expect(await fateOf(kurrentdbStore(wrong as never))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    for (const options of [
      { deadlines: 1 },
      { deadline: 0 },
      { deadline: 1e12 },
      { requiresLeader: 1 },
      { maxPending: 0 },
    ]) {
      expect(await fateOf(kurrentdbStore('kurrentdb://a?tls=false', options as never))).toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    }
  })

  test('that cannot be reached is STORE_UNAVAILABLE in time, and remembers nothing', async () => {
    const clock = new JumpingClock()
    const opening = fateOf(adapterOf('kurrentdb://127.0.0.1:1?tls=false', FAR_DEADLINE_MS, clock))
    await until(() => clock.retries >= 3, 'it has tried three times')
    expect(await isPending(opening)).toBe(true)
    clock.jump(FAR_DEADLINE_MS)
    expect((await opening).code).toBe('STORE_UNAVAILABLE')
    const discovering =
      'kurrentdb+discover://127.0.0.1:1?tls=false&maxDiscoverAttempts=2&discoveryInterval=10'
    expect(await fateOf(kurrentdbStore(discovering, { deadline: 500 }))).toMatchObject({
      code: 'STORE_UNAVAILABLE',
    })
    const store = await storeOf(await served())
    expect(await store.head(unique())).toBe('none')
  })
})
