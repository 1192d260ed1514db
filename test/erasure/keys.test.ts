import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keyRing, memoryKeys, reveal, wrappingKey } from 'mneme/erasure'
import { memoryStore } from 'mneme/memory'
import { type SqliteKeys, sqliteKeys, sqliteStore } from 'mneme/sqlite'
import { execute, KeyStoreError, SealBrokenError } from 'mneme'
import { afterAll, describe, expect, test } from 'vitest'
import { changeEmail, Customer, register, ringOf, testKey } from './customers.ts'
import { keyStoreCases } from './key-store-cases.ts'

const folder = mkdtempSync(join(tmpdir(), 'mneme-keys-'))
const opened: SqliteKeys[] = []
afterAll(async () => {
  for (const keys of opened) await keys.close()
  rmSync(folder, { recursive: true, force: true })
})
let count = 0
const newFile = () => join(folder, `keys-${String(count++)}.db`)
function openKeys(file: string): SqliteKeys {
  const keys = sqliteKeys(file)
  opened.push(keys)
  return keys
}

describe('memory', () => {
  keyStoreCases(() => {
    const keys = memoryKeys()
    return Promise.resolve({ keys, again: () => keys })
  })
})

describe('sqlite', () => {
  keyStoreCases(() => {
    const file = newFile()
    return Promise.resolve({ keys: openKeys(file), again: () => openKeys(file) })
  })

  test('destroyed keys stand in no byte of the file, also after pages were divided, and nothing lies beside it', async () => {
    const file = newFile()
    const keys = openKeys(file)
    const key = (i: number) => `secret-bytes-of-the-key-${String(i)}.`
    // In no order, so that pages are divided in their middle.
    const subject = (i: number) => String((i * 7_919) % 1_000).padStart(32, '0')
    for (let i = 0; i < 400; i++) await keys.put({ subject: subject(i), key: key(i), wrappedBy: 'k1' })
    expect(readFileSync(file).includes(key(17))).toBe(true)
    for (let i = 0; i < 400; i += 4)
      await keys.destroy({ subject: subject(i), erasedAt: '2026-01-01T00:00:00.000Z' })
    const bytes = readFileSync(file)
    for (let i = 0; i < 400; i++) expect(bytes.includes(key(i))).toBe(i % 4 !== 0)
    expect(
      readdirSync(folder).filter((name) => name.startsWith(`${file.slice(folder.length + 1)}-`)),
    ).toEqual([])
  })

  test('events and keys are not kept in one file, whichever is first', async () => {
    const file = newFile()
    const ring = ringOf(openKeys(file))
    await expect(sqliteStore(file, { personal: ring })).rejects.toThrow(
      'holds the keys of personal data; keep the events in another file, in another backup',
    )
    expect(existsSync(file)).toBe(false)
    const events = newFile()
    const store = await sqliteStore(events)
    await store.append({ stream: 'a', events: [{ type: 'A', data: {} }] })
    await expect(openKeys(events).get(['a'])).rejects.toThrow('holds events; keep the keys in another file')
    await store.close()
  })

  test('keys outlive the program; a file that cannot be opened is tried again', async () => {
    const later = join(folder, 'later', 'keys.db')
    const keys = openKeys(later)
    const store = memoryStore({ personal: ringOf(keys) })
    const call = () => execute(store, register({ id: 'c-1', plan: 'a', email: 'e' }))
    await expect(call()).rejects.toThrow(KeyStoreError)
    const file = newFile()
    const first = memoryStore({ personal: ringOf(openKeys(file)) })
    const { state } = await execute(first, register({ id: 'c-1', plan: 'a', email: 'e' }))
    const second = memoryStore({ personal: ringOf(openKeys(file)) })
    expect(await reveal(second, state.email)).toBe('e')
  })

  test('wrong arguments have one clear error', () => {
    expect(() => sqliteKeys(':memory:')).toThrow('keys in memory would be lost')
    expect(() => sqliteKeys('a.db', { driver: 3 as never })).toThrow('options.driver must be a function')
    expect(() => sqliteKeys('a.db', { busyTimeout: -1 })).toThrow('options.busyTimeout')
    expect(() => sqliteKeys('a.db', { file: 1 } as never)).toThrow("unknown option 'file'")
  })
})

describe('a key ring', () => {
  const call = () => register({ id: 'c-1', plan: 'a', email: 'e' })

  test('each subject has one key, which is wrapped', async () => {
    const keys = memoryKeys()
    const store = memoryStore({ personal: ringOf(keys) })
    await Promise.all(
      [1, 2, 3].map((i) => execute(store, register({ id: `c-${String(i)}`, plan: 'a', email: 'e' }))),
    )
    await Promise.all([1, 2, 3].map((i) => execute(store, changeEmail({ id: `c-${String(i)}`, email: 'f' }))))
    const entries = await keys.list(undefined, 10)
    expect(entries).toHaveLength(3)
    for (const entry of entries) expect(entry).toMatchObject({ wrappedBy: 'k1' })
  })

  test('the wrapping key is rotated: old keys open with the old one until they are wrapped anew', async () => {
    const keys = memoryKeys()
    const { state } = await execute(memoryStore({ personal: ringOf(keys) }), call())
    const secret = 'a secret of at least 16 bytes'
    const both = keyRing({ keys, secret, wrap: [testKey('k2', 2), testKey('k1')] })
    expect(await reveal(memoryStore({ personal: both }), state.email)).toBe('e')
    const onlyNew = memoryStore({ personal: keyRing({ keys, secret, wrap: testKey('k2', 2) }) })
    await expect(reveal(onlyNew, state.email)).rejects.toThrow(
      "was wrapped by 'k1', which the key ring does not have",
    )
    expect(await both.rewrap()).toBe(1)
    expect(await both.rewrap()).toBe(0)
    expect(await reveal(onlyNew, state.email)).toBe('e')
    const wrong = memoryStore({ personal: keyRing({ keys, secret, wrap: testKey('k2', 3) }) })
    await expect(reveal(wrong, state.email)).rejects.toThrow("does not open with the wrapping key 'k2'")
  })

  test('rotation wraps more keys than one page has', async () => {
    const keys = memoryKeys()
    const store = memoryStore({ personal: ringOf(keys) })
    for (let i = 0; i < 205; i++)
      await execute(store, register({ id: `c-${String(i)}`, plan: 'a', email: 'e' }))
    const ring = keyRing({
      keys,
      secret: 'a secret of at least 16 bytes',
      wrap: [testKey('k2', 2), testKey('k1')],
    })
    expect(await ring.rewrap()).toBe(205)
  })

  test('a key moved to another subject does not open', async () => {
    const keys = memoryKeys()
    const ring = ringOf(keys)
    const store = memoryStore({ personal: ring })
    const { state } = await execute(store, call())
    await execute(store, register({ id: 'c-2', plan: 'a', email: 'e' }))
    const [one, two] = await keys.list(undefined, 2)
    if (!('key' in one!) || !('key' in two!)) throw new Error('no keys')
    await keys.put({ ...one, key: two.key }, one)
    await keys.put({ ...two, key: one.key }, two)
    await expect(reveal(memoryStore({ personal: ringOf(keys) }), state.email)).rejects.toThrow(
      SealBrokenError,
    )
  })

  test('a key store that fails is an error that can be retried, and nothing is written', async () => {
    const keys = memoryKeys()
    let isDown = true
    const check = <T>(call: () => Promise<T>) => (isDown ? Promise.reject(new Error('down')) : call())
    const ring = ringOf({ ...keys, get: (subjects) => check(() => keys.get(subjects)) })
    const store = memoryStore({ personal: ring })
    const failing = execute(store, call())
    await expect(failing).rejects.toThrow(KeyStoreError)
    await expect(failing).rejects.toMatchObject({
      code: 'KEY_STORE_FAILED',
      isRetryable: true,
      cause: new Error('down'),
    })
    expect(await store.head(Customer('c-1'))).toBe('none')
    isDown = false
    const { state } = await execute(store, call())
    isDown = true
    await expect(reveal(store, state.email)).rejects.toThrow(KeyStoreError)
  })

  test('a wrapping key that fails is an error that can be retried', async () => {
    const down = {
      id: 'kms',
      wrap: () => Promise.reject(new Error('no network')),
      unwrap: (key: Uint8Array) => key,
    }
    const store = memoryStore({
      personal: keyRing({ keys: memoryKeys(), wrap: down, secret: 'at least sixteen bytes' }),
    })
    await expect(execute(store, call())).rejects.toThrow(KeyStoreError)
  })

  test('a lost key is an error, and never counts as erased', async () => {
    const { state } = await execute(memoryStore({ personal: ringOf() }), call())
    const other = memoryStore({ personal: ringOf(memoryKeys()) })
    await expect(reveal(other, state.email)).rejects.toThrow('there is no key for subject')
    await expect(reveal(other, state.email)).rejects.toMatchObject({
      code: 'SEAL_BROKEN',
      isRetryable: false,
    })
  })

  test('wrong arguments have one clear error', () => {
    const keys = memoryKeys()
    const wrap = testKey('k1')
    const secret = 'at least sixteen bytes'
    expect(() => keyRing({ keys: {} as never, wrap, secret })).toThrow(
      'keys must be a key store with get, put, destroy and list',
    )
    expect(() => keyRing({ keys, wrap: {} as never, secret })).toThrow('wrap must be a wrapping key')
    expect(() => keyRing({ keys, wrap: [], secret })).toThrow('wrap must be a wrapping key')
    expect(() => keyRing({ keys, wrap: [wrap, testKey('k1', 2)], secret })).toThrow(
      'two wrapping keys have the same id',
    )
    expect(() => keyRing({ keys, wrap, secret: 'short' })).toThrow(
      'secret must be a text or bytes, at least 16 bytes',
    )
    expect(() => keyRing({ keys, wrap, secret, cache: 1 } as never)).toThrow("unknown option 'cache'")
    expect(() => wrappingKey('', new Uint8Array(32))).toThrow('id must be')
    expect(() => wrappingKey('a', new Uint8Array(16))).toThrow('key must be 32 random bytes')
  })
})
