import { eraseSubject, isErased, reveal } from 'mneme/erasure'
import { postgresKeys, type PostgresKeys, postgresStore } from 'mneme/postgres'
import { execute, KeyStoreError, load, subject } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Customer, MARKER, register, ringOf } from '../../erasure/customers.ts'
import { keyStoreCases } from '../../erasure/key-store-cases.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

describe.skipIf(serverProblem)('keys in PostgreSQL', () => {
  function openKeys(url: string, schema?: string): PostgresKeys {
    const keys = postgresKeys(url, { schema })
    onTestFinished(() => keys.close())
    return keys
  }

  keyStoreCases(async () => {
    const { url } = await testDatabase()
    return { keys: openKeys(url), again: () => openKeys(url) }
  })

  test('no table of the events holds a personal value, and none holds a key that was destroyed', async () => {
    const [events, vault] = [await testDatabase(), await testDatabase()]
    const ring = ringOf(openKeys(vault.url))
    const store = await events.open({ personal: ring })
    await execute(store, register({ id: 'c-1', plan: 'a', email: MARKER }), { key: MARKER.slice(0, 6) })
    const { state } = await load(store, Customer('c-1'))
    expect(await reveal(store, state.email)).toBe(MARKER)
    const [entry] = await vault.query('SELECT key FROM mneme_keys.subject_keys')
    await eraseSubject(store, subject('customer', 'c-1'))
    expect(isErased(await reveal(store, state.email))).toBe(true)
    const tables = await events.query(
      `SELECT table_name FROM information_schema.tables WHERE table_schema = 'mneme' AND table_type = 'BASE TABLE'`,
    )
    expect(tables.length).toBeGreaterThan(3)
    for (const { table_name: table } of tables) {
      const rows = JSON.stringify(await events.query(`SELECT t::text FROM mneme."${String(table)}" t`))
      expect(rows).not.toContain(MARKER)
      expect(rows).not.toContain('customer","c-1')
    }
    const kept = JSON.stringify(await vault.query('SELECT k::text FROM mneme_keys.subject_keys k'))
    expect(kept).not.toContain(String(entry!.key))
    expect(kept).toContain(ring.hashOf(subject('customer', 'c-1')))
  })

  test('events and keys are not kept in one schema, and a schema that is missing is not made without leave', async () => {
    const { url, open } = await testDatabase().then((database) => ({
      url: database.url,
      open: () => database.open(),
    }))
    await open()
    await expect(openKeys(url, 'mneme').get(['a'])).rejects.toThrow('holds events; keep the keys elsewhere')
    const keys = postgresKeys(url, { schema: 'elsewhere', migrate: false })
    onTestFinished(() => keys.close())
    await expect(keys.get(['a'])).rejects.toThrow('has no table of keys')
    await openKeys(url, 'elsewhere').list(undefined, 1)
    expect(await keys.get(['a'])).toEqual([])
  })

  test('a server that cannot be reached is an error that can be retried, and nothing is written', async () => {
    const { url } = await testDatabase()
    const away = new URL(url)
    away.port = '1'
    const keys = postgresKeys(away.href, { connectTimeout: 100 })
    onTestFinished(() => keys.close())
    const store = await postgresStore(url, { personal: ringOf(keys) })
    onTestFinished(() => store.close())
    const failing = execute(store, register({ id: 'c-1', plan: 'a', email: 'e' }))
    await expect(failing).rejects.toThrow(KeyStoreError)
    await expect(failing).rejects.toMatchObject({ isRetryable: true })
    expect(await store.head(Customer('c-1'))).toBe('none')
  })

  test('wrong arguments have one clear error', () => {
    expect(() => postgresKeys('postgres://a@b/c', { schema: '' })).toThrow('schema')
    expect(() => postgresKeys('postgres://a@b/c', { migrate: 1 as never })).toThrow(
      'options.migrate must be true or false',
    )
    expect(() => postgresKeys('postgres://a@b/c', { table: 'x' } as never)).toThrow("unknown option 'table'")
  })
})
