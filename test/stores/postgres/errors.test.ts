import { createServer, type AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { isMnemeError, openStore } from 'mneme'
import { migrate, postgresStore, type PostgresConfig } from 'mneme/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'

import { testDatabase } from './database.ts'
import { startProxy } from '../../support/proxy.ts'
import { serverProblem, testServer } from './server.ts'

const SECRET = 'geheim-4711'
const DATA = 'payload-4712'

/** Everything that can be got out of an error, by whoever logs it. */
function textOf(error: unknown, seen = new Set<unknown>()): string {
  if ((typeof error !== 'object' && typeof error !== 'function') || error === null) return String(error)
  if (seen.has(error)) return ''
  seen.add(error)
  const texts = [inspect(error, { depth: 20, showHidden: true })]
  for (const key of Reflect.ownKeys(error)) {
    texts.push(String(key), textOf((error as Record<PropertyKey, unknown>)[key], seen))
  }
  return texts.join('\n')
}

async function errorOf(call: Promise<unknown>): Promise<Error> {
  const error: unknown = await call.then(
    () => expect.fail('it succeeded'),
    (thrown: unknown) => thrown,
  )
  expect(isMnemeError(error)).toBe(true)
  return error as Error
}

function expectSilent(error: Error, ...more: string[]): void {
  // What a URL looks like is no secret.
  const text = textOf(error).replaceAll('postgres://user@host/database', '')
  for (const secret of [SECRET, DATA, 'postgres://', 'postgresql://', ...more])
    if (secret !== '') expect(text).not.toContain(secret)
  // What is ours, whoever asks; and where it comes from.
  expect(error.stack).toContain(error.message)
}

describe.skipIf(serverProblem)('errors of connecting tell no secrets', () => {
  test.each([
    ['a wrong password', 'CANNOT_OPEN', (url: URL) => (url.password = SECRET)],
    [
      'an unknown user',
      'CANNOT_OPEN',
      (url: URL) => ((url.username = 'nobody_here'), (url.password = SECRET)),
    ],
    ['an unknown database', 'CANNOT_OPEN', (url: URL) => (url.pathname = '/nowhere_to_be')],
    [
      'an unknown host',
      'STORE_UNAVAILABLE',
      (url: URL) => ((url.hostname = 'host.invalid'), (url.password = SECRET)),
    ],
    [
      'a port where nobody listens',
      'STORE_UNAVAILABLE',
      (url: URL) => ((url.port = '1'), (url.password = SECRET)),
    ],
    ['TLS that the server has not', 'CANNOT_OPEN', (url: URL) => (url.search = '?sslmode=require')],
    ['a role that may not log in', 'CANNOT_OPEN', (url: URL) => (url.username = 'pg_monitor')],
    [
      'a setting that there is not',
      'STORE_UNAVAILABLE',
      (url: URL) => (url.search = `?options=-c%20nothing.x%3D1%20-c%20no=${SECRET}`),
    ],
  ])('an error of connecting tells no secrets: %s', async (_, code, change) => {
    const server = await testServer()
    // Another one may let anybody in.
    if (server.isExternal) return
    const url = new URL(server.url())
    const { password } = url
    change(url)
    const connectTimeout = code === 'STORE_UNAVAILABLE' ? 100 : 10_000
    for (const open of [
      () => postgresStore(url.href, { connectTimeout }),
      () => openStore(url.href),
      () => migrate(url.href, { connectTimeout }),
    ]) {
      if (code === 'STORE_UNAVAILABLE' && open.toString().includes('openStore')) continue
      const error = await errorOf(open())
      expectSilent(error, password)
      expect(error).toMatchObject({ code, ...(code === 'CANNOT_OPEN' ? {} : { isRetryable: true }) })
    }
  })

  test.each([
    `postgres://user:${SECRET}@:x/`,
    `postgres://user:${SECRET}@host:99999/x`,
    `postgres://user:${SECRET}@[::/x`,
    `postgres://user:%zz${SECRET}@host/x`,
    `postgres://user:${SECRET}@ho st/x`,
    `postgres://user:${SECRET}@host.invalid/x?sslrootcert=/nowhere/${SECRET}`,
    `postgres:${SECRET}`,
    `postgres://user:${SECRET}@/%00?host=/nowhere`,
    `mysql://user:${SECRET}@host/x`,
    ` postgres://user:${SECRET}@host/x`,
    `user:${SECRET}@host/x`,
  ])('an error of a malformed URL tells no secrets: %s', async (url) => {
    for (const open of [
      () => postgresStore(url, { connectTimeout: 200 }),
      () => migrate(url, { connectTimeout: 200 }),
    ]) {
      expectSilent(await errorOf(open()), 'user:', 'nowhere')
    }
    if (!url.startsWith('postgres')) expectSilent(await errorOf(openStore(url)))
  })

  test('options that the driver refuses tell no secrets', async () => {
    const wrong: PostgresConfig[] = [
      { host: '127.0.0.1', port: 1, user: 'u', password: SECRET },
      { connectionString: `postgres://u:${SECRET}@127.0.0.1:1/x`, ssl: { ca: SECRET } },
      { host: '127.0.0.1', port: 1, password: () => Promise.reject(new Error(`no ${SECRET}`)) },
      {
        host: '127.0.0.1',
        port: 1,
        ssl: true,
        password: () => {
          throw new Error(SECRET)
        },
      },
    ]
    for (const config of wrong) expectSilent(await errorOf(postgresStore(config, { connectTimeout: 200 })))
    // The password is asked for when there is a server.
    const { hostname: host, port } = new URL((await testServer()).url())
    for (const password of [() => Promise.reject(new Error(`no ${SECRET}`)), () => SECRET]) {
      expectSilent(
        await errorOf(
          postgresStore({ host, port: Number(port), user: 'postgres', password }, { connectTimeout: 200 }),
        ),
      )
    }
  })

  test('a server that speaks another protocol gives an error without secrets', async () => {
    const talker = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end(`HTTP/1.1 400 ${DATA}\r\n\r\n`)
    })
    await new Promise<void>((resolve) => talker.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void talker.close())
    const { port } = talker.address() as AddressInfo
    expectSilent(
      await errorOf(postgresStore(`postgres://u:${SECRET}@127.0.0.1:${port}/x`, { connectTimeout: 300 })),
    )
  })
})

describe.skipIf(serverProblem)('errors of work tell no data', () => {
  const event = (data: object = { text: DATA }) => ({ type: 'Happened', data, id: crypto.randomUUID() })

  /** A store whose server refuses every event, in one way. */
  async function refusing(sql: string) {
    const database = await testDatabase()
    const store = await database.open()
    await database.query(sql)
    return { database, store }
  }

  const raising = (statement: string) => `
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE x int; BEGIN ${statement}; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON mneme.events FOR EACH ROW EXECUTE FUNCTION refuse()`

  test.each([
    ['a value that is none of its type', raising(`x := NEW.data::json->>'text'`)],
    ['a division by zero', raising('x := 1 / (NEW.revision - NEW.revision)')],
    ['a check', `ALTER TABLE mneme.events ADD CHECK (data = 'x')`],
    [
      'a domain',
      `CREATE DOMAIN small AS text CHECK (length(VALUE) < 3); ${raising(`x := length((NEW.data::json->>'text')::small)`)}`,
    ],
    [
      'an exclusion',
      `CREATE TABLE mine (x text UNIQUE); INSERT INTO mine VALUES ('${DATA}'); ${raising(`INSERT INTO mine VALUES (NEW.data::json->>'text')`)}`,
    ],
    ['a column that is missing', 'ALTER TABLE mneme.events DROP COLUMN metadata'],
    ['a table that is missing', 'DROP TABLE mneme.events CASCADE'],
    [
      'a not-null',
      `CREATE TABLE mine (x int NOT NULL, t text); ${raising(`INSERT INTO mine VALUES (NULL, NEW.data::json->>'text')`)}`,
    ],
    [
      'an error that quotes',
      raising(`RAISE EXCEPTION '%', NEW.data USING DETAIL = NEW.data, HINT = NEW.data, ERRCODE = '22000'`),
    ],
    ['an internal error that quotes', raising(`RAISE EXCEPTION '%', NEW.data USING ERRCODE = 'XX000'`)],
  ])('an error of the server tells no data: %s', async (_, sql) => {
    const { store } = await refusing(sql)
    for (const append of [
      () => store.append({ stream: 's', events: [event()] }),
      () =>
        store.append(
          [
            { stream: 's', events: [event()], expected: 'none' },
            { stream: 't', events: [event()] },
          ],
          { key: 'k', metadata: { by: DATA } },
        ),
    ]) {
      const error = await errorOf(append())
      expect(error).toMatchObject({ code: 'STORE_FAILED' })
      expectSilent(error)
    }
  })

  test('an error of a trigger that quotes the data is told without them', async () => {
    const { store } = await refusing(raising(`RAISE EXCEPTION 'no: %', NEW.data`))
    expectSilent(await errorOf(store.append({ stream: 's', events: [event()] })))
  })

  test('errors of a lock, a time-out and a lost connection tell no secrets', async () => {
    const database = await testDatabase()
    const proxy = await startProxy(database.server.port)
    const options = { statementTimeout: 600, busyTimeout: 200, connectTimeout: 600 }
    const store = await database.open(options, { connectionString: proxy.url(database.url) })
    await store.append({ stream: 's', events: [event()] })
    const password = new URL(database.url).password

    const holder = await database.hold('s')
    const busy = await errorOf(store.append({ stream: 's', events: [event()] }))
    expect(busy).toMatchObject({ code: 'STORE_BUSY' })
    expectSilent(busy, password)
    await holder.release()

    proxy.hold()
    const late = await errorOf(store.head('s'))
    expect(late).toMatchObject({ code: 'STORE_TIMEOUT' })
    expectSilent(late, password)

    proxy.isDead = true
    const held = proxy.hold()
    const appended = errorOf(store.append({ stream: 's', events: [event()] }))
    proxy.cut(held)
    const unknown = await appended
    expect(['OUTCOME_UNKNOWN', 'STORE_UNAVAILABLE']).toContain((unknown as { code?: string }).code)
    expectSilent(unknown, password)
    const unavailable = await errorOf(store.head('s'))
    expect(unavailable).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expectSilent(unavailable, password)
  })

  test('a full disk gives STORE_FULL without data', async () => {
    const { store } = await refusing(
      raising(`RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'`),
    )
    const error = await errorOf(store.append({ stream: 's', events: [event()] }))
    expect(error).toMatchObject({ code: 'STORE_FULL', isRetryable: true })
    expectSilent(error)
  })
})
