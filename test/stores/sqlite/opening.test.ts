import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { OpenError, type OpenFailure } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('opening with $name', ({ name, driver }) => {
  const open = (location: string, migrate?: boolean) => sqliteStore(location, { driver, migrate })

  async function refused(location: string, reason: OpenFailure, migrate?: boolean): Promise<OpenError> {
    const error: unknown = await open(location, migrate).then(
      () => expect.fail('it was opened'),
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(OpenError)
    expect(error).toMatchObject({ code: 'CANNOT_OPEN', reason })
    return error as OpenError
  }

  test('a path, a sqlite: location, a URL, a relative path and a link lead to one file', async () => {
    const folder = testFolder()
    const file = join(folder, 'a bank%20?.db')
    symlinkSync(file, join(folder, 'link.db'))
    const locations = [
      file,
      `sqlite:${file}`,
      pathToFileURL(file).href,
      join(folder, 'x', '..', 'a bank%20?.db'),
      join(folder, 'link.db'),
    ]
    const identities = new Set<string>()
    for (const location of locations) {
      const store = await open(location)
      identities.add(await store.identity())
      await store.close()
    }
    expect(identities.size).toBe(1)
    expect(readdirSync(folder).sort()).toEqual(['a bank%20?.db', 'link.db'])
  })

  test('each :memory: store has its own data', async () => {
    const [one, other] = [await open(':memory:'), await open('sqlite::memory:')]
    await one.append({ stream: 's', events: [happened()] })
    expect(await other.head('s')).toBe('none')
    expect(await one.identity()).not.toBe(await other.identity())
    await one.close()
    await other.close()
  })

  test.each([
    '',
    ' ',
    'bank.db ',
    'file:bank.db',
    'sqlite:',
    'sqlite://bank.db',
    'file:///bank.db?mode=ro',
    'a\0b',
  ])('location %j is refused', async (location) => {
    await expect(open(location)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'location' })
  })

  test('wrong options are refused before a file is created', async () => {
    const file = join(testFolder(), 'bank.db')
    const wrong = { driver: 'x', synchronous: 'off', busyTimeout: -1, maxPending: 0, unknown: 1 }
    for (const [option, value] of Object.entries(wrong)) {
      await expect(sqliteStore(file, { [option]: value })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    expect(existsSync(file)).toBe(false)
  })

  test('opening a file in a missing folder fails with reason missing-folder', async () => {
    const folder = testFolder()
    await refused(join(folder, 'missing', 'bank.db'), 'missing-folder')
    expect(readdirSync(folder)).toEqual([])
  })

  test('opening a folder fails with reason not-a-database', async () => {
    await refused(testFolder(), 'not-a-database')
  })

  test.each([
    ['a text of some length', Buffer.from('no database '.repeat(1000))],
    ['a few bytes', Buffer.from('no')],
    ['a header and nothing that belongs to it', Buffer.from('SQLite format 3\0' + 'x'.repeat(8000))],
  ])('opening a file that is not a database (%s) fails and changes nothing', async (_, content) => {
    const folder = testFolder()
    const file = join(folder, 'bank.db')
    writeFileSync(file, content)
    await refused(file, 'not-a-database')
    expect(readFileSync(file).equals(content)).toBe(true)
    expect(readdirSync(folder)).toEqual(['bank.db'])
  })

  test('with migrate: false, a store is opened, and nothing is made or changed where there is none or an earlier one', async () => {
    const folder = testFolder()
    const file = join(folder, 'bank.db')
    await refused(file, 'no-store', false)
    expect(readdirSync(folder)).toEqual([])
    const other = driver(file)
    other.exec('CREATE TABLE mine (x)')
    other.close()
    const before = readFileSync(file)
    await refused(file, 'no-store', false)
    expect(readFileSync(file).equals(before)).toBe(true)
    expect(readdirSync(folder)).toEqual(['bank.db'])
    await (await open(file)).close()
    const store = await open(file, false)
    await store.append({ stream: 's', events: [happened()] })
    await store.close()
    const earlier = driver(file)
    earlier.exec("UPDATE mneme_meta SET value = '2' WHERE name = 'schema'")
    earlier.close()
    expect(await refused(file, 'outdated-schema', false)).toHaveProperty(
      'message',
      expect.stringContaining('schema 2'),
    )
  })

  test('an empty file becomes a store', async () => {
    const file = join(testFolder(), 'bank.db')
    writeFileSync(file, '')
    const store = await open(file)
    await store.close()
  })

  test('a file of a newer schema is refused and left unchanged', async () => {
    const folder = testFolder()
    const file = join(folder, 'bank.db')
    const store = await open(file)
    await store.append({ stream: 's', events: [happened()] })
    await store.close()
    const database = driver(file)
    database.exec("UPDATE mneme_meta SET value = '99' WHERE name = 'schema'")
    database.close()
    const before = readFileSync(file)
    const { message } = await refused(file, 'newer-schema')
    expect(message).toContain('99')
    expect(readFileSync(file).equals(before)).toBe(true)
    expect(readdirSync(folder)).toEqual(['bank.db', 'bank.db-signal'])
  })

  test('a database with tables of the user keeps them beside those of Mneme', async () => {
    const file = join(testFolder(), 'bank.db')
    const before = driver(file)
    before.exec("CREATE TABLE mine (x); INSERT INTO mine VALUES ('kept'); PRAGMA user_version = 7")
    before.close()
    const store = await open(file)
    await store.append({ stream: 's', events: [happened()] })
    await store.close()
    const after = driver(file)
    expect(after.prepare('SELECT x FROM mine').get()).toEqual({ x: 'kept' })
    expect(after.prepare('PRAGMA user_version').get()).toEqual({ user_version: 7 })
    after.close()
  })

  test('tables that Mneme did not make are left unchanged, though they have its names', async () => {
    const file = join(testFolder(), 'bank.db')
    const database = driver(file)
    database.exec('CREATE TABLE mneme_events (x)')
    database.close()
    await refused(file, 'failed')
    const after = driver(file)
    expect(after.prepare('SELECT count(*) AS n FROM sqlite_schema').get()).toEqual({ n: 1 })
    after.close()
  })

  test('a read-only file, and a file in a read-only folder, are refused', async () => {
    const folder = testFolder()
    mkdirSync(join(folder, 'data'))
    const file = join(folder, 'data', 'bank.db')
    const store = await open(file)
    await store.append({ stream: 's', events: [happened()] })
    await store.close()
    const before = readFileSync(file)
    chmodSync(folder, 0o755)
    for (const [path, mode] of [
      [file, 0o444],
      [join(folder, 'data'), 0o555],
    ] as const) {
      chmodSync(file, 0o666)
      chmodSync(join(folder, 'data'), 0o777)
      chmodSync(path, mode)
      expect(openedAsNobody(name, file)).toBe('CANNOT_OPEN read-only')
      expect(openedAsNobody(name, join(folder, 'data', 'other.db'))).toBe(
        path === file ? 'opened' : 'CANNOT_OPEN read-only',
      )
    }
    chmodSync(join(folder, 'data'), 0o777)
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  test('a failure to open a file is not remembered', async () => {
    const folder = testFolder()
    const file = join(folder, 'later', 'bank.db')
    await refused(file, 'missing-folder')
    mkdirSync(join(folder, 'later'))
    let fails = true
    const flaky = (path: string) => {
      if (fails) throw new Error('not yet')
      return driver(path)
    }
    await expect(sqliteStore(file, { driver: flaky })).rejects.toMatchObject({ reason: 'failed' })
    fails = false
    const store = await sqliteStore(file, { driver: flaky })
    expect(await historyOf(store)).toEqual([])
    await store.close()
  })
})

/** What opening gives in a process that is not root: root may write what is read-only. */
function openedAsNobody(driver: string, file: string): string {
  const script = `
    import { createRequire } from 'node:module'
    import { sqliteStore } from 'mneme/sqlite'
    const Database = ${JSON.stringify(driver)} === 'node:sqlite'
      ? process.getBuiltinModule('node:sqlite').DatabaseSync
      : createRequire(process.cwd() + '/')(${JSON.stringify(driver)})
    if (process.getuid?.() === 0) process.setuid(65534)
    const store = await sqliteStore(${JSON.stringify(file)}, { driver: (f) => new Database(f) }).catch((error) => error)
    console.log(store.code ? store.code + ' ' + store.reason : 'opened')
    await store.close?.()`
  const run = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  return run.stdout.trim() || run.stderr
}
