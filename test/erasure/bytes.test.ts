import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { eraseSubject, isErased, reveal } from 'mneme/erasure'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteKeys, sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { defineCommand, execute, load, reject, subject, tryExecute } from 'mneme'
import { afterAll, expect, test, vi } from 'vitest'
import { changeEmail, Customer, EmailChanged, MARKER, register, ringOf } from './customers.ts'

const folder = mkdtempSync(join(tmpdir(), 'mneme-bytes-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const CHANNELS = [
  'mneme.execute',
  'mneme.append',
  'mneme.read',
  'mneme.projection.batch',
  'mneme.snapshot',
].flatMap((name) =>
  ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => `tracing:${name}:${event}`),
)

test('E1: no byte of what is written, told or thrown holds a personal value or its subject', async () => {
  const told: string[] = []
  const tell = (message: unknown) => told.push(inspect(message, { depth: 30, showHidden: true }))
  for (const name of CHANNELS) subscribe(name, tell)
  const printed = ['log', 'warn', 'error', 'info'].map((method) =>
    vi.spyOn(console, method as 'log').mockImplementation((...values) => void tell(values)),
  )
  const keys = sqliteKeys(join(folder, 'keys.db'))
  const ring = ringOf(keys)
  const store = await sqliteStore(join(folder, 'events.db'), { personal: ring })
  const readModels = sqliteTarget(join(folder, 'read.db'))
  const seen = defineProjection({
    name: 'seen',
    into: readModels,
    from: [Customer],
    tables: ['seen'],
    setup: (db, { tables }) => {
      db.exec(`CREATE TABLE ${tables.seen} (stream TEXT, email TEXT)`)
    },
    onError: 'park',
    retry: { maxRetries: 0 },
    on: {
      'Customer.Registered': (event, db, { tables }) => {
        db.prepare(`INSERT INTO ${tables.seen} VALUES (?, ?)`).run(
          event.stream,
          JSON.stringify(event.data.email),
        )
      },
      'Customer.EmailChanged': (event) => {
        throw new Error(`cannot handle ${JSON.stringify(event)}`)
      },
    },
  })
  const errors: unknown[] = []
  try {
    const running = await runProjections(store, [seen], { onFailure: (failure) => void errors.push(failure) })
    const { state } = await execute(store, register({ id: SUBJECT_ID, plan: 'a', email: MARKER }), {
      key: 'k',
    })
    await execute(store, changeEmail({ id: SUBJECT_ID, email: `${MARKER}.2` }))
    await running.caughtUp()
    const failing = [
      // A decision that throws the event it has made.
      () => execute(store, throwing()),
      () => execute(store, register({ id: SUBJECT_ID, plan: 'b', email: MARKER }), { key: 'k' }),
      () => execute(store, changeEmail({ id: SUBJECT_ID, email: { a: MARKER, b: 1n } as never })),
      () => store.append({ stream: Customer(SUBJECT_ID), events: [changed()], expected: 'none' }),
      () => store.append({ stream: Customer(SUBJECT_ID), events: [{ ...changed(), id: 'no-uuid' }] }),
    ]
    for (const fail of failing) {
      const error: unknown = await fail().then(
        () => new Error('did not fail'),
        (thrown: unknown) => thrown,
      )
      expect(String(error)).not.toContain('did not fail')
      errors.push(error)
    }
    const outcome = await tryExecute(store, rejecting())
    errors.push(outcome)
    errors.push(await seen.parked())
    await running.stop()

    const revealed = await reveal(store, state.email)
    expect(revealed).toBe(MARKER)
    for (const text of [...told, ...errors.map((error) => inspect(error, { depth: 30, showHidden: true }))]) {
      expect(text).not.toContain(MARKER)
    }
    // While the write-ahead log still holds all of it.
    const files = readdirSync(folder)
    expect(files).toEqual(
      expect.arrayContaining(['events.db', 'events.db-wal', 'events.db-shm', 'keys.db', 'read.db']),
    )
    expect(holders(MARKER)).toEqual([])
    // The id of the subject is no secret of the events: it is in the name of the stream. The kind stands nowhere.
    expect(holders('"customer"')).toEqual([])
    expect(holders('Customer.Registered')).not.toEqual([])
    expect(holders('{"format":')).not.toEqual([]) // the snapshot

    const [wrapped] = await keys.list(undefined, 1)
    const copies = ['events.db', 'events.db-wal'].map((file) =>
      copyFileSync(join(folder, file), join(folder, `restored${file.slice(6)}`)),
    )
    expect(copies).toHaveLength(2)
    await eraseSubject(store, subject('customer', SUBJECT_ID), { reason: 'request 4711' })
    expect(holders((wrapped as { key: string }).key)).toEqual([])
    const restored = await sqliteStore(join(folder, 'restored.db'), { personal: ring })
    const { state: before } = await load(restored, Customer(SUBJECT_ID))
    expect(before.plan).toBe('a')
    expect(isErased(await reveal(restored, before.email))).toBe(true)
    await restored.close()
  } finally {
    for (const name of CHANNELS) unsubscribe(name, tell)
    for (const spy of printed) spy.mockRestore()
    await store.close()
    await keys.close()
    await readModels.close()
  }
  expect(told.length).toBeGreaterThan(10)
  expect(channel('tracing:mneme.append:start').hasSubscribers).toBe(false)
})

const SUBJECT_ID = 'c-1'
const changed = () => EmailChanged({ id: SUBJECT_ID, email: MARKER })
const throwing = defineCommand({
  reads: () => Customer(SUBJECT_ID),
  handle: (state): never => {
    throw Object.assign(new Error(`decided ${JSON.stringify(changed())} on ${JSON.stringify(state)}`), {
      event: changed(),
      state,
    })
  },
})
const rejecting = defineCommand({
  reads: () => Customer(SUBJECT_ID),
  handle: (state) => reject('no', { state, event: changed() }),
})

/** The files that hold a text. */
function holders(text: string): string[] {
  return readdirSync(folder).filter((file) => readFileSync(join(folder, file)).includes(text))
}
