import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { OpenError, openStore, type OpenFailure } from 'mneme'
import { migrate, postgresStore, type PostgresConfig, type PostgresOptions } from 'mneme/postgres'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { sleep, testDatabase, TestDatabase, until } from './database.ts'
import { Worker } from './processes.ts'
import { ownServer, ownServerProblem, serverProblem, testServer } from './server.ts'

async function refused(
  url: string | PostgresConfig,
  reason: OpenFailure,
  options: PostgresOptions = {},
): Promise<OpenError> {
  const error: unknown = await postgresStore(url, options).then(
    () => expect.fail('it was opened'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(OpenError)
  expect(error).toMatchObject({ code: 'CANNOT_OPEN', reason })
  return error as OpenError
}

/** What is in the database: its schemas, and their tables, sequences, indexes and functions. */
async function contentOf(database: TestDatabase): Promise<string[]> {
  const rows = await database.query(`
    SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname !~ '^(pg_|information_schema)'
    UNION ALL SELECT nspname || '.' || oid FROM (
      SELECT n.nspname, p.oid::regprocedure::text AS oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace) f
      WHERE nspname !~ '^(pg_|information_schema)'
    UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'`)
  return rows.map(({ name }) => String(name)).sort()
}

describe.skipIf(serverProblem)('opening', () => {
  test('a server that is not there is unavailable, and nothing of that is remembered', async ({ skip }) => {
    if (ownServerProblem !== undefined) return skip(ownServerProblem)
    const server = await ownServer()
    const database = await testDatabase(server)
    await server.stop()
    const opening = postgresStore(database.url, { connectTimeout: 400 })
    await expect(opening).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', isRetryable: true })
    // A longer time-out opens it as soon as the server is there.
    const patient = postgresStore(database.url)
    await sleep(100)
    await server.start()
    const store = await patient
    await store.append({ stream: 's', events: [happened()] })
    const again = await database.open()
    expect(await historyOf(again)).toHaveLength(1)
    await store.close()
  })

  test('an open store works again by itself when the server is back', async ({ skip }) => {
    if (ownServerProblem !== undefined) return skip(ownServerProblem)
    const server = await ownServer()
    const database = await testDatabase(server)
    const store = await database.open({ connectTimeout: 300, statementTimeout: 600, busyTimeout: 300 })
    await store.append({ stream: 's', events: [happened()] })
    await server.stop('immediate')
    for (let i = 0; i < 2; i++) {
      const results = await Promise.allSettled([
        store.append({ stream: 's', events: [happened()] }),
        store.head('s'),
        historyOf(store),
      ])
      // The first one may find that its connection was lost: nobody could tell what became of it.
      const [appended] = results
      expect(appended).toMatchObject({ status: 'rejected' })
      const { code } = (appended as PromiseRejectedResult).reason as { code?: string }
      expect(['STORE_UNAVAILABLE', 'OUTCOME_UNKNOWN']).toContain(code)
      expect(results[1]).toMatchObject({ reason: { code: 'STORE_UNAVAILABLE' } })
      expect(results[2]).toMatchObject({ reason: { code: 'STORE_UNAVAILABLE' } })
    }
    await server.start()
    expect(await historyOf(store)).toHaveLength(1)
    await store.append({ stream: 's', events: [happened()], expected: 0 })
  })

  test.each(['accepts and says nothing', 'is not reachable'])(
    'an address that %s is unavailable in time',
    async (how) => {
      const sockets: Socket[] = []
      const silent = createServer((socket) => sockets.push(socket))
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => {
        for (const socket of sockets) socket.destroy()
        silent.close()
      })
      const { port } = silent.address() as AddressInfo
      const address = how === 'is not reachable' ? '10.255.255.1:5432' : `127.0.0.1:${port}`
      // The system's own time-outs are longer than a test may take.
      await expect(
        postgresStore(`postgres://u:secret@${address}/x`, { connectTimeout: 300 }),
      ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    },
  )

  test('four processes that open an empty database at once make one schema with one identity', async () => {
    const database = await testDatabase()
    const workers = Array.from({ length: 4 }, () => new Worker('open', database.url))
    await until(() => workers.every(({ lines }) => lines.includes('ready')), 'all are ready')
    for (const worker of workers) worker.say('go')
    const identities = await Promise.all(workers.map((worker) => worker.result<string>()))
    expect(new Set(identities).size).toBe(1)
    expect(await (await database.open()).identity()).toBe(identities[0])
    expect(await database.query('SELECT name FROM mneme.meta ORDER BY name')).toEqual([
      { name: 'compatible' },
      { name: 'identity' },
      { name: 'schema' },
    ])
  })

  test('ten stores of one process that open an empty database at once make one schema with one identity', async () => {
    for (let round = 0; round < 2; round++) {
      const database = await testDatabase()
      const stores = await Promise.all(Array.from({ length: 10 }, () => database.open()))
      const identities = await Promise.all(stores.map((store) => store.identity()))
      expect(new Set(identities).size).toBe(1)
    }
  })

  test('a dry run says what it would do, does nothing, and run by hand it does', async () => {
    for (const schema of ['mneme', 'Ei"n $mneme$ \\Schema\'']) {
      const database = await testDatabase()
      const before = await contentOf(database)
      const dry = await migrate(database.url, { dryRun: true, schema })
      expect(dry).toMatchObject({ from: 0, to: 3 })
      expect(await contentOf(database)).toEqual(before)
      await refused(database.url, 'no-store', { migrate: false, schema })
      expect(await contentOf(database)).toEqual(before)
      const client = await database.client()
      await client.query(dry.statements.join(';\n'))
      const store = await database.open({ migrate: false, schema })
      await store.append({ stream: 's', events: [happened()] })
      const other = await testDatabase()
      await other.open({ schema })
      expect(await contentOf(database)).toEqual(await contentOf(other))
      expect(await migrate(database.url, { dryRun: true, schema })).toEqual({
        from: 3,
        to: 3,
        statements: [],
      })
      expect(await migrate(database.url, { schema })).toEqual({ from: 3, to: 3, statements: [] })
      expect(await historyOf(store)).toHaveLength(1)
    }
  })

  test('migrate makes the schema, in one that is there already, too', async () => {
    const database = await testDatabase()
    await database.query('CREATE SCHEMA mneme; CREATE TABLE mneme.mine (x int)')
    const { from, to, statements } = await migrate(database.url)
    expect({ from, to }).toEqual({ from: 0, to: 3 })
    expect(statements.length).toBeGreaterThan(5)
    const store = await database.open({ migrate: false })
    await store.append({ stream: 's', events: [happened()] })
    expect(await database.query('SELECT * FROM mneme.mine')).toEqual([])
  })

  test('a migration that fails leaves nothing', async () => {
    const database = await testDatabase()
    await database.query('CREATE SCHEMA mneme; CREATE TABLE mneme.keys (x int)')
    const before = await contentOf(database)
    await refused(database.url, 'failed')
    await expect(migrate(database.url)).rejects.toMatchObject({ reason: 'failed', cause: { code: '42P07' } })
    expect(await contentOf(database)).toEqual(before)
    await database.query('DROP TABLE mneme.keys')
    await database.open()
  })

  test('a newer schema is used if it says that this code can, and else refused', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: 's', events: [happened()] })
    await database.query("UPDATE mneme.meta SET value = '99' WHERE name = 'schema'")
    const newer = await database.open()
    expect(await historyOf(newer)).toHaveLength(1)
    expect(await migrate(database.url)).toEqual({ from: 99, to: 99, statements: [] })
    await database.query("UPDATE mneme.meta SET value = '98' WHERE name = 'compatible'")
    const { message } = await refused(database.url, 'newer-schema')
    expect(message).toContain('99')
    await refused(database.url, 'newer-schema', { migrate: false })
    await expect(migrate(database.url)).rejects.toMatchObject({ reason: 'newer-schema' })
  })

  test.each([
    'CREATE TABLE mneme.meta (x int)',
    'CREATE TABLE mneme.meta (name text, value text)',
    "CREATE TABLE mneme.meta AS SELECT 'schema' AS name, 'much' AS value",
    'CREATE VIEW mneme.meta AS SELECT 1 AS name, 2 AS value',
  ])("a table of the user's is left alone: %s", async (sql) => {
    const database = await testDatabase()
    await database.query(`CREATE SCHEMA mneme; ${sql}`)
    const before = await contentOf(database)
    await refused(database.url, 'failed')
    await expect(migrate(database.url, { dryRun: true })).rejects.toMatchObject({ reason: 'failed' })
    expect(await contentOf(database)).toEqual(before)
  })

  test('a database of another encoding is refused', async () => {
    const server = await testServer()
    const name = `mneme_latin1_${process.pid}`
    await server.query(
      `CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    )
    onTestFinished(() => server.dropDatabase(server.url(name)))
    const { message } = await refused(server.url(name), 'failed')
    expect(message).toContain('LATIN1')
    expect(await contentOf(new TestDatabase(server, server.url(name)))).toEqual(['public'])
  })

  test('a sequence behind the events is refused, and its message says the way out', async () => {
    const database = await testDatabase()
    const store = await database.open()
    for (let i = 0; i < 5; i++) await store.append({ stream: 's', events: [happened(i)] })
    const before = await historyOf(store)
    await database.query("SELECT setval('mneme.positions', 2)")
    const { message } = await refused(database.url, 'failed')
    const [way] = /SELECT setval.*$/.exec(message) ?? []
    await database.query(way!)
    const after = await database.open()
    const { position } = await after.append({ stream: 's', events: [happened()], expected: 4 })
    expect(position! > before.at(-1)!.position).toBe(true)
    expect(await historyOf(after)).toHaveLength(6)
  })

  test('a pool that is handed in is left open; options and a URL open one of their own', async () => {
    const database = await testDatabase()
    const pool = new pg.Pool({ connectionString: database.url, max: 2 })
    pool.on('error', () => undefined)
    onTestFinished(() => pool.end())
    const store = await postgresStore(pool)
    await store.append({ stream: 's', events: [happened()] })
    await store.close()
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    const { hostname, port, username, password } = new URL(database.url)
    const parts = { host: hostname, port: Number(port), user: username, password, database: database.name }
    for (const open of [() => postgresStore(parts), () => openStore(database.url)]) {
      const other = await open()
      expect(await historyOf(other)).toHaveLength(1)
      await other.close()
    }
    await until(async () => {
      const [row] = await database.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'mneme' AND datname = current_database()",
      )
      return row!.n === 0
    }, 'the connections of closed stores are ended')
  })

  test('a pool of one connection is enough', async () => {
    const database = await testDatabase()
    const store = await database.open({}, { max: 1 })
    const work = Array.from({ length: 20 }, async (_, i) => {
      await store.append({ stream: `s-${i}`, events: [happened(i)] })
      await historyOf(store)
    })
    await Promise.all(work)
    expect(await historyOf(store)).toHaveLength(20)
  })

  test.each([
    ['connection', '', undefined],
    ['connection', 'mysql://x', undefined],
    ['connection', undefined, undefined],
    ['connection', new pg.Client(), undefined],
    ['options.schema', 'postgres://x', { schema: '' }],
    ['options.schema', 'postgres://x', { schema: 'pg_mine' }],
    ['options.schema', 'postgres://x', { schema: 'a\0b' }],
    ['options.schema', 'postgres://x', { schema: 'x'.repeat(64) }],
    ['options.schema', 'postgres://x', { schema: 'ö'.repeat(32) }],
    ['options.schema', 'postgres://x', { schema: 7 }],
    ['options.migrate', 'postgres://x', { migrate: 'yes' }],
    ['options.busyTimeout', 'postgres://x', { busyTimeout: 30_000 }],
    ['options.connectTimeout', 'postgres://x', { connectTimeout: 0 }],
    ['options.connectTimeout', 'postgres://x', { connectTimeout: 2 ** 31 }],
    ['maxPending', 'postgres://x', { maxPending: 0 }],
    ['options.unknown', 'postgres://x', { unknown: 1 }],
  ])('a wrong %s is refused before anything is done', async (argument, connection, options) => {
    const error: unknown = await postgresStore(connection as string, options as PostgresOptions).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect((error as { argument: string }).argument).toContain(
      argument.split('.').at(-1) === 'unknown' ? '' : argument,
    )
  })

  test('the dump of the newest schema version is what the migration makes', async () => {
    const dump = readFileSync(new URL('schemas/v3.sql', import.meta.url), 'utf8')
    const { statements } = await migrate((await testDatabase()).url, { dryRun: true })
    for (const statement of statements)
      if (!statement.includes('gen_random_uuid')) expect(dump).toContain(statement)
  })

  test.each([1, 2, 3])('a dump of schema version %i opens with all that is in it', async (version) => {
    const database = await testDatabase()
    await database.query(readFileSync(new URL(`schemas/v${String(version)}.sql`, import.meta.url), 'utf8'))
    const store = await database.open()
    expect(await store.identity()).toBe('11111111-1111-4111-8111-111111111111')
    const history = await historyOf(store)
    expect(history.map(({ stream, revision, type, position }) => [stream, revision, type, position])).toEqual(
      [
        ['account-ann', 0, 'Opened', '0000000000000131072'],
        ['account-bob', 0, 'Opened', '0000000000000196608'],
        ['account-ann', 1, 'Withdrawn', '0000000000000262144'],
        ['account-bob', 1, 'Deposited', '0000000000000262145'],
      ],
    )
    expect(history[2]).toMatchObject({
      id: '00000000-0000-4000-8000-000000000003',
      version: 2,
      time: '2026-02-03T04:05:06.789Z',
      data: { amount: 5, note: 'Größe "\u{1F600}"' },
      metadata: { by: 'ann' },
    })
    expect(
      await store.append({
        stream: 'account-ann',
        events: [{ type: 'Withdrawn', data: { amount: 5 }, id: history[2]!.id }],
        expected: 0,
      }),
    ).toMatchObject({ repeated: true })
    await expect(
      store.append({ stream: 'account-ann', events: [happened()] }, { key: 'transfer-1' }),
    ).rejects.toMatchObject({ code: 'KEY_REUSED' })
    const { position } = await store.append({ stream: 'account-ann', events: [happened()], expected: 1 })
    expect(position! > history.at(-1)!.position).toBe(true)
    const rest: string[] = []
    for await (const { stream } of store.readAll({ after: history[1]!.position, categories: ['account'] }))
      rest.push(stream)
    expect(rest).toEqual(['account-ann', 'account-bob', 'account-ann'])
    await store.truncate('account-bob', { before: 1 })
    await store.delete('account-ann')
    // The sequence goes on where the dump left it.
    expect(await migrate(database.url, { dryRun: true })).toMatchObject({ statements: [] })
  })
})
