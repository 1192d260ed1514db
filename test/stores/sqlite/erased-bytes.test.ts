import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineAggregate, defineCommand, event, execute, StoreFailedError, StreamDeletedError } from 'mneme'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'

const SECRET = 'Rumpelstilzchen'
const KEPT = 'Schneewittchen'

/** Where a text stands in what the file system has of a database. */
function filesWith(path: string, text: string): string[] {
  return ['', '-wal', '-shm', '-signal', '-turn'].filter((suffix) => {
    const file = path + suffix
    return existsSync(file) && readFileSync(file).includes(text)
  })
}

/** Events of all sizes: small ones, and such as lie in pages of their own. */
function written(text: string, count: number) {
  return Array.from({ length: count }, (_, n) => ({
    type: 'Told',
    data: { n, text: `${text} `.repeat(n % 7 === 0 ? 1_000 : 1 + (n % 5)) },
  }))
}

describe.each(drivers)('erased bytes with $name', ({ driver }) => {
  /** A store with a stream that is to be erased, among others. */
  async function told() {
    const path = join(testFolder(), 'tales.db')
    const store = await sqliteStore(path, { driver, busyTimeout: 100 })
    onTestFinished(() => store.close())
    for (let i = 0; i < 6; i++) {
      await store.append({ stream: 'told', events: written(SECRET, 15) }, { metadata: { actor: SECRET } })
      await store.append({ stream: 'kept', events: written(KEPT, 9) })
      await store.append({ stream: `tale-${String(i)}`, events: written(SECRET, 3) })
    }
    return { path, store }
  }

  test('E1: the bytes of erased events are in no file once the streams were truncated or deleted', async () => {
    const { path, store } = await told()
    expect(filesWith(path, SECRET)).not.toEqual([])
    await store.truncate('told', { before: 90 })
    for (let i = 0; i < 6; i++) await store.delete(`tale-${String(i)}`)
    expect(filesWith(path, SECRET)).toEqual([])
    expect(filesWith(path, KEPT)).toEqual([''])
    const [{ integrity_check: integrity }] = driver(path).prepare('PRAGMA integrity_check').all() as [
      { integrity_check: string },
    ]
    expect(integrity).toBe('ok')
  })

  test('E1: the bytes of erased events are in no snapshot, nor in what a snapshot has replaced', async () => {
    const Tale = defineAggregate({
      name: 'Tale',
      events: { Told: event<{ text: string }>() },
      initial: () => ({ texts: [] as readonly string[] }),
      apply: { Told: ({ texts }, { text }) => ({ texts: [...texts, text] }) },
      snapshot: { version: 1, every: 2 },
    })
    const tell = defineCommand({
      reads: (_: number) => Tale('secret'),
      handle: (_, n) => Tale.events.Told({ text: `${SECRET} `.repeat(n * 40) }),
    })
    const path = join(testFolder(), 'tales.db')
    for (let round = 0; round < 3; round++) {
      const store = await sqliteStore(path, { driver })
      // Closing waits for snapshots.
      for (let n = 1; n <= 4; n++) await execute(store, tell(n + 4 * round))
      await store.close()
    }
    const store = await sqliteStore(path, { driver })
    onTestFinished(() => store.close())
    const database = driver(path)
    expect(database.prepare('SELECT count(*) AS n FROM mneme_snapshots').get()).toEqual({ n: 1 })
    database.close()
    await store.delete(Tale('secret'))
    expect(filesWith(path, SECRET)).toEqual([])
  })

  test('E1: a reader of the write-ahead log delays the erasing of bytes, and calling again makes up for it', async () => {
    const { path, store } = await told()
    const reader = driver(path)
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM mneme_events').get()
    await expect(store.truncate('told', { before: 90 })).rejects.toThrow(StoreFailedError)
    await expect(store.truncate('told', { before: 90 })).rejects.toThrow(/call it again/)
    expect(await store.readPage('told')).toMatchObject({ events: [], head: 89 })
    await expect(store.delete('tale-0')).rejects.toThrow(/call it again/)
    await expect(store.delete('tale-0', { expected: 2 })).rejects.toThrow(/call it again/)
    reader.exec('COMMIT')
    const positions = { 'mneme.StreamTruncated': '', 'mneme.StreamDeleted': '' }
    for await (const { type, position } of store.readAll({ types: Object.keys(positions) })) {
      positions[type as keyof typeof positions] = position
    }
    expect(await store.truncate('told', { before: 90 })).toEqual({
      position: positions['mneme.StreamTruncated'],
    })
    expect(await store.delete('tale-0')).toEqual({ position: positions['mneme.StreamDeleted'] })
    expect(await store.truncate('told', { before: 90 })).toEqual({ position: undefined })
    await expect(store.delete('tale-0')).rejects.toThrow(StreamDeletedError)
    for (let i = 1; i < 6; i++) await store.delete(`tale-${String(i)}`)
    expect(filesWith(path, SECRET)).toEqual([])
    reader.close()
  })

  test('E1: a target is vacuumed once nobody else writes to its file or reads its write-ahead log', async () => {
    const path = join(testFolder(), 'read-models.db')
    const target = sqliteTarget(path, { driver, busyTimeout: 50 })
    onTestFinished(() => target.close())
    const other = driver(path)
    other.exec('CREATE TABLE tales (id INTEGER PRIMARY KEY, text TEXT)')
    other.prepare('INSERT INTO tales VALUES (1, ?), (2, ?)').run(SECRET.repeat(1_000), KEPT)
    await target.query('SELECT id FROM tales')
    other.exec('BEGIN IMMEDIATE')
    await expect(target.vacuum()).rejects.toThrow('another process is writing to it: call it again')
    other.exec('DELETE FROM tales WHERE id = 1')
    other.exec('COMMIT')
    other.exec('BEGIN')
    other.prepare('SELECT count(*) FROM tales').get()
    await expect(target.vacuum()).rejects.toThrow('another process is reading, still holds')
    expect(filesWith(path, SECRET)).not.toEqual([])
    other.exec('COMMIT')
    await target.vacuum()
    other.close()
    expect(filesWith(path, SECRET)).toEqual([])
    expect(await target.query('SELECT text FROM tales')).toEqual([{ text: KEPT }])
  })

  test('E3: a program of an earlier version that has the file open does not bring a stream back', async () => {
    const { path, store } = await told()
    await store.delete('told')
    const old = driver(path)
    onTestFinished(() => void old.close())
    const insert = old.prepare(
      'INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
    const insertAt = (revision: number) =>
      insert.run('told', revision, crypto.randomUUID(), 'Told', 1, new Date().toISOString(), '{}', '{}')
    // At the next revision, as such a program does if it knows the head.
    expect(() => insertAt(90)).toThrow(/UNIQUE/)
    // Behind the head that it finds, as it does if it expects nothing.
    const { head } = old
      .prepare("SELECT max(revision) AS head FROM mneme_events WHERE stream = 'told'")
      .get() as {
      head: number
    }
    insertAt(head + 1)
    await expect(store.head('told')).rejects.toThrow(StreamDeletedError)
    await expect(store.readPage('told')).rejects.toThrow(StreamDeletedError)
    await expect(store.read('told').next()).rejects.toThrow(StreamDeletedError)
    await expect(store.append({ stream: 'told', events: written(KEPT, 1) })).rejects.toThrow(
      StreamDeletedError,
    )
  })
})
