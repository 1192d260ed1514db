import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { defineAggregate, event, load, type SnapshotMessage } from 'mneme'
import { migrate, postgresStore } from 'mneme/postgres'
import { describe, expect, onTestFinished, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'

/** What each role needs, and no more. */
const GRANTS = {
  migrator: ['GRANT CREATE ON DATABASE current TO role'],
  writer: [
    'GRANT USAGE ON SCHEMA mneme TO role',
    'GRANT SELECT ON mneme.meta, mneme.events, mneme.keys, mneme.settled TO role',
    'GRANT INSERT ON mneme.events, mneme.keys, mneme.settled TO role',
    'GRANT USAGE ON SEQUENCE mneme.positions TO role',
  ],
  // The writer as well, if it truncates and deletes streams:
  eraser: ['GRANT UPDATE ON mneme.events TO role', 'GRANT SELECT, DELETE ON mneme.snapshots TO role'],
  // With snapshots, the writer as well:
  snapshots: ['GRANT SELECT, INSERT, UPDATE, DELETE ON mneme.snapshots TO role'],
  // With `standbys: true`, the writer as well:
  standbys: ['GRANT SELECT, UPDATE ON mneme.horizon TO role'],
  reader: [
    'GRANT USAGE ON SCHEMA mneme TO role',
    'GRANT SELECT ON mneme.meta, mneme.events TO role',
    'GRANT SELECT ON SEQUENCE mneme.positions TO role',
  ],
} as const

let count = 0

/** A role with these grants, and its URL. */
async function roleWith(
  database: TestDatabase,
  grants: readonly string[],
): Promise<{ name: string; url: string }> {
  const { server } = database
  const name = `mneme_role_${process.pid}_${count++}`
  await server.query(`CREATE ROLE ${name} LOGIN PASSWORD '${server.password}' NOSUPERUSER`)
  onTestFinished(async () => {
    await server.query(`DROP OWNED BY ${name}`, database.name)
    await server.query(`DROP ROLE ${name}`)
  })
  for (const grant of grants) {
    await database.query(grant.replace('current', `"${database.name}"`).replace('role', name))
  }
  return { name, url: server.url(database.name, name) }
}

async function open(url: string, options = {}) {
  const store = await postgresStore(url, { migrate: false, ...options })
  onTestFinished(() => store.close())
  return store
}

/** A database with a store that a migrator made, and with an event. */
async function migrated() {
  const database = await testDatabase()
  // As PostgreSQL 14 did not: nobody may do anything that was not granted.
  await database.query('REVOKE ALL ON SCHEMA public FROM PUBLIC')
  await migrate(database.url)
  const owner = await database.open({ migrate: false })
  await owner.append({ stream: 'old', events: [happened()] }, { key: 'old' })
  return { database, owner }
}

/** Everything that writers do. */
async function write(url: string, options = {}) {
  const store = await open(url, options)
  const event = happened()
  await store.append({ stream: 's', events: [event], expected: 'none' })
  expect(await store.append({ stream: 's', events: [event], expected: 'none' })).toMatchObject({
    repeated: true,
  })
  await store.append(
    [
      { stream: 's', events: [happened()] },
      { stream: 't', events: [happened(1)] },
    ],
    { key: 'k' },
  )
  expect(
    await store.append(
      [
        { stream: 's', events: [happened()] },
        { stream: 't', events: [happened(1)] },
      ],
      { key: 'k' },
    ),
  ).toMatchObject({ repeated: true })
  await store.append({ stream: 's', events: [happened()] })
  await expect(store.append({ stream: 's', events: [happened()], expected: 0 })).rejects.toMatchObject({
    code: 'CONFLICT',
  })
  expect(await historyOf(store)).toHaveLength(5)
  return store
}

/** Everything that readers do. */
async function read(url: string) {
  const store = await open(url)
  expect(await historyOf(store)).toHaveLength(1)
  expect(await store.head('old')).toBe(0)
  expect(await store.logHead()).toBeDefined()
  const found: string[] = []
  for await (const { stream } of store.readAll({
    streams: ['old'],
    categories: ['old'],
    types: ['Happened'],
  }))
    found.push(stream)
  for await (const { stream } of store.read('old')) found.push(stream)
  expect(found).toEqual(['old', 'old'])
  return store
}

describe.skipIf(serverProblem)('grants', () => {
  test('a writer truncates and deletes streams if it may update events', async () => {
    const { database } = await migrated()
    const writer = await roleWith(database, GRANTS.writer)
    const store = await write(writer.url)
    await expect(store.truncate('s', { before: 1 })).rejects.toMatchObject({ reason: 'access-denied' })
    await expect(store.delete('t')).rejects.toMatchObject({ reason: 'access-denied' })
    const eraser = await open((await roleWith(database, [...GRANTS.writer, ...GRANTS.eraser])).url)
    await eraser.truncate('s', { before: 1 })
    await eraser.delete('t')
    await expect(store.head('t')).rejects.toMatchObject({ code: 'STREAM_DELETED' })
  })

  test('a migrator may make schemas, and is then the owner', async () => {
    const database = await testDatabase()
    const { url } = await roleWith(database, GRANTS.migrator)
    await migrate(url)
    const store = await open(url)
    await store.append({ stream: 's', events: [happened()] })
    const other = await roleWith(database, [])
    await expect(postgresStore(other.url, { schema: 'mine' })).rejects.toMatchObject({
      code: 'CANNOT_OPEN',
      reason: 'access-denied',
      cause: { code: '42501' },
    })
  })

  test('a writer appends and reads, and changes nothing that is there', async () => {
    const { database } = await migrated()
    const { url } = await roleWith(database, GRANTS.writer)
    await write(url)
    const { default: pg } = await import('pg')
    const client = new pg.Client(url)
    await client.connect()
    onTestFinished(() => client.end())
    for (const sql of [
      'DELETE FROM mneme.events',
      "UPDATE mneme.events SET data = '{}'",
      'TRUNCATE mneme.events',
      'DELETE FROM mneme.keys',
      "UPDATE mneme.meta SET value = '2'",
      'INSERT INTO mneme.meta VALUES (1, 2)',
      "SELECT setval('mneme.positions', 1)",
      'CREATE TABLE mneme.mine (x int)',
      'DROP TABLE mneme.events',
      'UPDATE mneme.horizon SET position = 0',
    ]) {
      await expect(client.query(sql)).rejects.toMatchObject({ code: '42501' })
    }
  })

  test('a writer that notes for standbys may change the horizon besides', async () => {
    const { database } = await migrated()
    const { url } = await roleWith(database, [...GRANTS.writer, ...GRANTS.standbys])
    const store = await write(url, { standbys: true })
    await store.close()
    const [row] = await database.query('SELECT position > 0 AS noted FROM mneme.horizon')
    expect(row).toEqual({ noted: true })
  })

  test('a writer without the rights on snapshots folds, and with them keeps snapshots', async () => {
    const { database } = await migrated()
    const Lamp = defineAggregate({
      name: 'Lamp',
      events: { Switched: event() },
      initial: () => ({ times: 0 }),
      apply: { Switched: ({ times }) => ({ times: times + 1 }) },
      snapshot: { version: 1, every: 3 },
    })
    const events = [0, 1, 2, 3].map(() => Lamp.events.Switched())
    const outcomes = async (grants: readonly string[]) => {
      const messages: string[] = []
      const note = (message: unknown) => {
        const { action, outcome } = message as SnapshotMessage
        messages.push(`${action} ${outcome}`)
      }
      subscribe('mneme.snapshot', note)
      const store = await postgresStore((await roleWith(database, grants)).url, { migrate: false })
      expect((await load(store, Lamp('a'))).state).toEqual({ times: 4 })
      await store.close()
      unsubscribe('mneme.snapshot', note)
      return messages
    }
    const owner = await database.open({ migrate: false })
    await owner.append({ stream: Lamp('a'), events })
    const select = ['GRANT SELECT ON mneme.snapshots TO role']
    expect(await outcomes(GRANTS.writer)).toEqual(['read failed', 'write failed'])
    expect(await outcomes([...GRANTS.reader, ...select])).toEqual(['read missing', 'write failed'])
    expect(await outcomes([...GRANTS.writer, ...GRANTS.snapshots])).toEqual(['read missing', 'write written'])
    expect(await outcomes([...GRANTS.reader, ...select])).toEqual(['read used'])
  })

  test('a reader reads, and its append is refused', async () => {
    const { database, owner } = await migrated()
    const { url } = await roleWith(database, GRANTS.reader)
    const store = await read(url)
    for (const attempt of [
      store.append({ stream: 's', events: [happened()] }),
      store.append(
        [
          { stream: 's', events: [happened()] },
          { stream: 't', events: [happened()] },
        ],
        { key: 'k' },
      ),
    ]) {
      await expect(attempt).rejects.toMatchObject({
        code: 'CANNOT_OPEN',
        reason: 'access-denied',
        cause: { code: '42501' },
      })
    }
    expect(await historyOf(owner)).toHaveLength(1)
  })

  test.each(['writer', 'reader'] as const)('a %s needs each of them', async (role) => {
    const { database } = await migrated()
    const work = role === 'writer' ? write : read
    const all = GRANTS[role]
    for (const without of all) {
      const { url } = await roleWith(
        database,
        all.filter((grant) => grant !== without),
      )
      const error: unknown = await work(url).then(
        () => expect.fail(`it is not needed: ${without}`),
        (thrown: unknown) => thrown,
      )
      // Either at once, or when that is done for the first time.
      const { code, reason, cause } = error as { code: string; reason?: string; cause?: { code: string } }
      const isDenied = code === 'CANNOT_OPEN' ? reason === 'access-denied' : cause?.code === '42501'
      expect([without, isDenied, error]).toEqual([without, true, error])
    }
  })

  test('whoever may not see the schema, or not connect, is denied', async () => {
    const { database } = await migrated()
    const { url } = await roleWith(database, [])
    await expect(open(url)).rejects.toMatchObject({ code: 'CANNOT_OPEN', reason: 'access-denied' })
    await database.query(`REVOKE CONNECT ON DATABASE "${database.name}" FROM PUBLIC`)
    await expect(open(url)).rejects.toMatchObject({ code: 'CANNOT_OPEN', reason: 'access-denied' })
  })
})
