import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeyStore } from 'mneme/adapter'
import { eraseSubject, isErased, memoryKeys, repeatErasures, reveal, subjectHashIn } from 'mneme/erasure'
import { memoryStore } from 'mneme/memory'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteKeys, sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { erasures, type EventStore, execute, isMnemeError, load, subject, SubjectErasedError } from 'mneme'
import { afterAll, expect, test } from 'vitest'
import { changeEmail, Customer, EmailChanged, register, ringOf } from './customers.ts'

const folder = mkdtempSync(join(tmpdir(), 'mneme-erasing-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const ada = { id: 'c-1', plan: 'basic', email: 'ada@example.org' }
const bob = { id: 'c-2', plan: 'basic', email: 'bob@example.org' }
const adaSubject = subject('customer', 'c-1')

test('after an erasure the values of the subject are erased, and those of the others are not', async () => {
  const store = memoryStore({ personal: ringOf() })
  const { state } = await execute(store, register(ada))
  await execute(store, register(bob))
  const report = await eraseSubject(store, adaSubject, { reason: 'request 4711' })
  expect(report).toMatchObject({ subject: subjectHashIn(state.email), outcome: 'erased' })
  const { state: after } = await load(store, Customer('c-1'))
  expect(after).toEqual(state)
  const revealed = await reveal(store, after)
  expect(isErased(revealed.email)).toBe(true)
  expect(revealed.email).toMatchObject({ erasedAt: report.erasedAt })
  expect(revealed.plan).toBe('basic')
  expect(JSON.parse(JSON.stringify(revealed))).toEqual({
    plan: 'basic',
    email: { erasedAt: report.erasedAt },
  })
  expect(await reveal(store, (await load(store, Customer('c-2'))).state)).toMatchObject({ email: bob.email })
})

test('an erasure is told by one event without personal data, and done again it changes nothing', async () => {
  const store = memoryStore({ personal: ringOf() })
  await execute(store, register(ada))
  const first = await eraseSubject(store, adaSubject, {
    reason: 'request 4711',
    metadata: { actor: 'clerk' },
  })
  expect(await eraseSubject(store, adaSubject, { reason: 'again' })).toEqual({
    ...first,
    outcome: 'already-erased',
  })
  const { events } = await store.readAllPage({ types: [erasures.SubjectErased] })
  expect(events).toMatchObject([
    {
      type: 'mneme.SubjectErased',
      data: { subject: first.subject, erasedAt: first.erasedAt, reason: 'request 4711' },
      metadata: { actor: 'clerk' },
      position: first.position,
    },
  ])
  expect(JSON.stringify(events)).not.toContain('c-1')
})

test('personal data of an erased subject is refused, and nothing is written', async () => {
  const store = memoryStore({ personal: ringOf() })
  const { state } = await execute(store, register(ada))
  await eraseSubject(store, adaSubject)
  for (const append of [
    () => execute(store, changeEmail({ id: 'c-1', email: 'new' })),
    () => store.append({ stream: Customer('c-1'), events: [EmailChanged({ id: 'c-1', email: 'new' })] }),
    // Passed on.
    () =>
      store.append({ stream: Customer('c-1'), events: [EmailChanged({ id: 'c-1', email: state.email! })] }),
  ]) {
    const refused = append()
    await expect(refused).rejects.toThrow(SubjectErasedError)
    await expect(refused).rejects.toMatchObject({ code: 'SUBJECT_ERASED', isRetryable: false })
  }
  expect(await store.head(Customer('c-1'))).toBe(0)
})

test('the erasure of a subject without a key says so, and appends for it are refused nevertheless', async () => {
  const store = memoryStore({ personal: ringOf() })
  await execute(store, register(bob))
  expect(await eraseSubject(store, adaSubject)).toMatchObject({ outcome: 'unknown-subject' })
  expect(await eraseSubject(store, adaSubject)).toMatchObject({ outcome: 'already-erased' })
  await expect(execute(store, register(ada))).rejects.toThrow(SubjectErasedError)
})

test('a repeat by its key after the erasure answers with what the first call stored', async () => {
  const store = memoryStore({ personal: ringOf() })
  const first = await execute(store, register(ada), { key: 'k' })
  await eraseSubject(store, adaSubject)
  expect(await execute(store, register(ada), { key: 'k' })).toEqual({ ...first, repeated: true })
  expect(await store.head(Customer('c-1'))).toBe(0)
})

test('another process knows of the erasure at once, also with the key in its memory', async () => {
  const keys = memoryKeys()
  const [one, two] = [ringOf(keys), ringOf(keys)]
  const store = memoryStore({ personal: one })
  const { state } = await execute(store, register(ada))
  const other = memoryStore({ personal: two })
  expect(await reveal(other, state.email)).toBe(ada.email)
  await eraseSubject(store, adaSubject)
  expect(isErased(await reveal(other, state.email))).toBe(true)
  await expect(execute(other, register(ada))).rejects.toThrow(SubjectErasedError)
})

test('E3: an append whose key was taken before the erasure is stored, and never opens', async () => {
  const keys = memoryKeys()
  const store = memoryStore({ personal: ringOf(keys) })
  // The erasure happens between taking the key and the append.
  const raced: KeyStore = {
    ...keys,
    get: async (subjects) => {
      const entries = await keys.get(subjects)
      if (isLate) await eraseSubject(store, adaSubject)
      return entries
    },
  }
  let isLate = false
  await execute(store, register(ada))
  isLate = true
  const late = memoryStore({ personal: ringOf(raced) })
  const { events } = await execute(late, register({ ...ada, email: 'late' }))
  isLate = false
  expect(isErased(await reveal(store, events[0]!.data.email))).toBe(true)
  expect(isErased(await reveal(late, events[0]!.data.email))).toBe(true)
})

test('an erasure that ended half-way is finished by another one', async () => {
  const keys = memoryKeys()
  const ring = ringOf(keys)
  const store = memoryStore({ personal: ring })
  const { state } = await execute(store, register(ada))
  // A crash after the key was destroyed, before the event.
  await ring.destroy(ring.hashOf(adaSubject), '2026-01-02T03:04:05.678Z')
  expect(isErased(await reveal(store, state.email))).toBe(true)
  const report = await eraseSubject(store, adaSubject)
  expect(report).toMatchObject({ erasedAt: '2026-01-02T03:04:05.678Z', outcome: 'already-erased' })
  const { events } = await store.readAllPage({ types: [erasures.SubjectErased] })
  expect(events.map(({ data }) => data)).toEqual([{ subject: report.subject, erasedAt: report.erasedAt }])
})

test('while the key store cannot be reached nothing is erased, and nothing is told', async () => {
  const keys = memoryKeys()
  const down = { ...keys, destroy: () => Promise.reject(new Error('down')) }
  const store = memoryStore({ personal: ringOf(down) })
  await execute(store, register(ada))
  await expect(eraseSubject(store, adaSubject)).rejects.toMatchObject({
    code: 'KEY_STORE_FAILED',
    isRetryable: true,
  })
  expect((await store.readAllPage({ types: [erasures.SubjectErased] })).events).toEqual([])
})

test('E2: a restored backup of the events stays unreadable, and one of the keys is put right by the log', async () => {
  const keys = memoryKeys()
  const store = memoryStore({ personal: ringOf(keys) })
  const { state } = await execute(store, register(ada))
  await execute(store, register(bob))
  const backup = await keys.list(undefined, 10)
  const { erasedAt } = await eraseSubject(store, adaSubject)
  // The events of the backup are the same values.
  expect(isErased(await reveal(store, state.email))).toBe(true)
  const restored = memoryKeys()
  for (const key of backup) if ('key' in key) await restored.put(key)
  const after = memoryStore({ personal: ringOf(restored) })
  await copyErasures(store, after)
  expect(await reveal(after, state.email)).toBe(ada.email)
  expect(await repeatErasures(after)).toBe(1)
  expect(await reveal(after, state.email)).toMatchObject({ erasedAt })
})

async function copyErasures(from: EventStore, to: EventStore): Promise<void> {
  for await (const { stream, type, data, id } of from.readAll({ types: [erasures.SubjectErased] })) {
    await to.append({ stream, events: [{ type, data, id }] })
  }
}

test('E3: of appends and an erasure that race in eight programs, none is readable afterwards', async () => {
  const [file, keyFile] = [join(folder, 'race.db'), join(folder, 'race-keys.db')]
  const programs = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const keys = sqliteKeys(keyFile)
      return { keys, store: await sqliteStore(file, { personal: ringOf(keys) }) }
    }),
  )
  const [{ store }] = programs as [(typeof programs)[0]]
  await execute(store, register(ada))
  let refused = 0
  const appends = programs.flatMap(({ store: own }, program) =>
    Array.from({ length: 10 }, async (_, i) => {
      if (program === 3 && i === 5) await eraseSubject(own, adaSubject)
      await execute(
        own,
        changeEmail({ id: 'c-1', email: `${String(program)}-${String(i)}@example.org` }),
      ).catch((error: unknown) => {
        if (!isMnemeError(error) || error.code !== 'SUBJECT_ERASED') throw error
        refused++
      })
    }),
  )
  await Promise.all(appends)
  expect(refused).toBeGreaterThan(0)
  const report = await eraseSubject(store, adaSubject)
  expect(report.outcome).toBe('already-erased')
  for (const { store: own } of programs) {
    for await (const { data } of own.read(Customer('c-1'))) {
      const { erasedAt } = report
      expect(await reveal(own, data)).toMatchObject({ email: { erasedAt } })
    }
    await expect(execute(own, changeEmail({ id: 'c-1', email: 'x' }))).rejects.toThrow(SubjectErasedError)
  }
  for (const program of programs) {
    await program.store.close()
    await program.keys.close()
  }
})

test('a projection keeps sealed values and their subject, forgets when it is told, and is rebuilt after it', async () => {
  const store = memoryStore({ personal: ringOf() })
  const readModels = sqliteTarget(join(folder, 'read.db'))
  const customers = defineProjection({
    name: 'customers',
    into: readModels,
    from: [Customer, erasures],
    tables: ['customers'],
    setup: (db, { tables }) => {
      db.exec(`CREATE TABLE ${tables.customers} (id TEXT PRIMARY KEY, email TEXT, subject TEXT)`)
    },
    on: {
      'Customer.Registered': ({ data }, db, { tables }) => {
        const { id, email } = data
        db.prepare(`INSERT INTO ${tables.customers} VALUES (?, ?, ?)`).run(
          id,
          JSON.stringify(email),
          subjectHashIn(email),
        )
      },
      'mneme.SubjectErased': ({ data }, db, { tables }) => {
        db.prepare(`DELETE FROM ${tables.customers} WHERE subject = ?`).run(data.subject)
      },
    },
  })
  await execute(store, register(ada))
  await execute(store, register(bob))
  const running = await runProjections(store, [customers])
  await running.caughtUp()
  const rows = await readModels.query('SELECT id, email FROM customers ORDER BY id', [])
  expect(rows.map(({ id }) => id)).toEqual(['c-1', 'c-2'])
  expect(JSON.stringify(rows)).not.toContain('example.org')
  expect(await reveal(store, JSON.parse(String(rows[0]!.email)))).toBe(ada.email)
  await eraseSubject(store, adaSubject)
  await running.caughtUp()
  expect(await readModels.query('SELECT id FROM customers', [])).toEqual([{ id: 'c-2' }])
  await customers.rebuild(store)
  await running.caughtUp()
  expect(await readModels.query('SELECT id FROM customers', [])).toEqual([{ id: 'c-2' }])
  await running.stop()
  await readModels.close()
})

test('wrong arguments, and a store without a key ring, have one clear error', async () => {
  const store = memoryStore({ personal: ringOf() })
  await expect(eraseSubject(store, 'c-1' as never)).rejects.toThrow('subject must be subject(kind, id)')
  await expect(eraseSubject(store, adaSubject, { reason: 3 as never })).rejects.toThrow(
    'options.reason must be',
  )
  await expect(eraseSubject(store, adaSubject, { why: 'x' } as never)).rejects.toThrow("unknown option 'why'")
  await expect(eraseSubject(memoryStore(), adaSubject)).rejects.toThrow('no keys to destroy')
  await expect(repeatErasures(memoryStore())).rejects.toThrow('no keys to destroy')
})
