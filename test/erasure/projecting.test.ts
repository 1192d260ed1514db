import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eraseSubject, isErased, memoryKeys, subjectHashIn } from 'mneme/erasure'
import { memoryStore } from 'mneme/memory'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteTarget } from 'mneme/sqlite'
import { given } from 'mneme/testing'
import { erasures, execute, type KeyRing, subject } from 'mneme'
import { afterAll, expect, test } from 'vitest'
import { changeEmail, Customer, EmailChanged, register, Registered, ringOf } from './customers.ts'

const folder = mkdtempSync(join(tmpdir(), 'mneme-projecting-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const ada = { id: 'c-1', plan: 'basic', email: 'ada@example.org' }
const bob = { id: 'c-2', plan: 'basic', email: 'bob "$sealed" {"$sealed":"x"}' }
let count = 0

/** A read model by which customers are found by their e-mail address. */
function searching(personal: KeyRing | undefined, isBroken: () => boolean = () => false) {
  const into = sqliteTarget(join(folder, `read-${String(++count)}.db`))
  const projection = defineProjection({
    name: 'customers',
    into,
    personal,
    from: [Customer, erasures],
    tables: ['customers'],
    onError: 'park',
    retry: { maxRetries: 0 },
    setup: (db, { tables }) => {
      db.exec(`CREATE TABLE ${tables.customers} (id TEXT PRIMARY KEY, email TEXT, subject TEXT)`)
    },
    on: {
      'Customer.Registered': ({ data }, db, { tables, reveal }) => {
        const email = reveal(data.email)
        if (isErased(email)) return
        const row = [data.id, email, subjectHashIn(data.email)]
        db.prepare(`INSERT INTO ${tables.customers} VALUES (?, ?, ?)`).run(...row)
      },
      'Customer.EmailChanged': ({ data }, db, { tables, reveal }) => {
        if (isBroken()) throw new Error('broken')
        const { id, email } = reveal(data)
        if (!isErased(email))
          db.prepare(`UPDATE ${tables.customers} SET email = ? WHERE id = ?`).run(email, id)
      },
      'mneme.SubjectErased': ({ data }, db, { tables }) => {
        db.prepare(`DELETE FROM ${tables.customers} WHERE subject = ?`).run(data.subject)
      },
    },
  })
  const file = join(folder, `read-${String(count)}.db`)
  const rows = () => into.query('SELECT id, email FROM customers ORDER BY id')
  return { projection, into, rows, file }
}

test('a projection with the key ring reveals in its handlers, forgets when it is told, and is rebuilt without the erased', async () => {
  const ring = ringOf()
  const store = memoryStore({ personal: ring })
  let isBroken = true
  const { projection, rows, into } = searching(ring, () => isBroken)
  await execute(store, register(ada))
  await execute(store, register(bob))
  await execute(store, changeEmail({ id: 'c-1', email: 'ada@new' }))
  const running = await runProjections(store, [projection])
  await running.caughtUp()
  expect(await rows()).toEqual([
    { id: 'c-1', email: ada.email },
    { id: 'c-2', email: bob.email },
  ])
  isBroken = false
  expect(await projection.retryParked()).toEqual({ handled: 1, failed: 0 })
  expect(await rows()).toMatchObject([{ email: 'ada@new' }, { id: 'c-2' }])
  await eraseSubject(store, subject('customer', 'c-1'))
  await running.caughtUp()
  expect(await rows()).toEqual([{ id: 'c-2', email: bob.email }])
  await projection.rebuild(store)
  await running.caughtUp()
  expect(await rows()).toEqual([{ id: 'c-2', email: bob.email }])
  await running.stop()
  await into.close()
})

test('a handler of pages reveals each event of the page, also in a test of the projection', async () => {
  const pages = (into = sqliteTarget(':memory:')) =>
    defineProjection({
      name: 'addresses',
      into,
      personal: ringOf(),
      from: [{ Registered, EmailChanged }],
      tables: ['addresses'],
      setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.addresses} (id TEXT, email TEXT)`),
      onPage: (events, db, { tables, reveal }) => {
        for (const event of events) {
          const { id, email } = reveal(event.data)
          if (!isErased(email)) db.prepare(`INSERT INTO ${tables.addresses} VALUES (?, ?)`).run(id, email)
        }
      },
    })
  await given(Customer('c-1'), Registered(ada), EmailChanged({ id: 'c-1', email: 'ada@new' }))
    .project(pages())
    .thenRows(
      'SELECT * FROM addresses',
      { id: 'c-1', email: 'ada@example.org' },
      { id: 'c-1', email: 'ada@new' },
    )
})

test('while the key store cannot be reached the projection waits, and neither blocks nor parks', async () => {
  const keys = memoryKeys()
  let isDown = false
  const get: typeof keys.get = (subjects) => (isDown ? Promise.reject(new Error('down')) : keys.get(subjects))
  const ring = ringOf({ ...keys, get })
  const store = memoryStore({ personal: ring })
  const { projection, rows, into } = searching(ring)
  await execute(store, register(ada))
  isDown = true
  let told: (code: string | undefined) => void
  const failed = new Promise<string | undefined>((resolve) => (told = resolve))
  const running = await runProjections(store, [projection], {
    onFailure: ({ error }) => {
      told((error as { code?: string }).code)
    },
  })
  expect(await failed).toBe('KEY_STORE_FAILED')
  isDown = false
  await running.caughtUp()
  expect(await rows()).toEqual([{ id: 'c-1', email: ada.email }])
  expect(await projection.parked()).toEqual([])
  await running.stop()
  await into.close()
})

test('a projection without a key ring cannot reveal, and says what to do', async () => {
  const { projection, into } = searching(undefined)
  await given(Customer('c-1'), Registered(ada))
    .project(projection)
    .thenThrows(/give it the key ring of the store, personal: keyRing/)
  expect(() => searching({} as never)).toThrow('personal must be a key ring')
  await into.close()
})

test('given, project: a projection that reveals is tested with keys of the test', async () => {
  const { projection, into } = searching(ringOf())
  await given(Customer('c-1'), Registered(ada), EmailChanged({ id: 'c-1', email: 'new' }))
    .project(projection)
    .thenRows('SELECT id, email FROM customers', { id: 'c-1', email: 'new' })
  await into.close()
})

test('E1: bytes that a handler has deleted or replaced are in no file once the target was vacuumed', async () => {
  const ring = ringOf()
  const store = memoryStore({ personal: ring })
  const { projection, into, rows, file } = searching(ring)
  const holders = (text: string) =>
    ['', '-wal', '-shm', '-signal', '-turn'].filter((suffix) => {
      return existsSync(file + suffix) && readFileSync(file + suffix).includes(text)
    })
  await execute(store, register({ ...ada, email: 'ada@old '.repeat(2_000) }))
  await execute(store, register(bob))
  await execute(store, changeEmail({ id: 'c-1', email: 'ada@new '.repeat(3) }))
  const running = await runProjections(store, [projection])
  await running.caughtUp()
  await projection.rebuild(store)
  const { position } = await eraseSubject(store, subject('customer', 'c-1'))
  await running.caughtUp()
  await projection.caughtUpTo(position)
  expect(await rows()).toEqual([{ id: 'c-2', email: bob.email }])
  expect(holders('ada@')).not.toEqual([])
  await into.vacuum()
  expect(holders('ada@')).toEqual([])
  expect(holders('bob "$sealed"')).toEqual([''])
  await execute(store, changeEmail({ id: 'c-2', email: 'bob@new' }))
  await running.caughtUp()
  expect(await rows()).toEqual([{ id: 'c-2', email: 'bob@new' }])
  await running.stop()
  await into.close()
})
