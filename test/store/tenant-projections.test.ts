import { InvalidArgumentError, StoreClosedError, storePool, type EventStore } from 'mneme'
import { defineProjection, runTenantProjections, type Projection } from 'mneme/projections'
import { sqliteStore, sqliteTarget, tenantFile } from 'mneme/sqlite'
import { expect, test } from 'vitest'

import { BankAccount, Deposited } from '../support/bank.ts'
import { times } from '../support/observed-store.ts'
import { testFolder } from '../stores/sqlite/folder.ts'

const deposit = (store: EventStore, amount: number) =>
  store.append({ stream: BankAccount('a'), events: [Deposited({ amount })] })

/** Tenants on files, of which two are open, with a projection of each that sums its deposits; 13 is refused. */
function tenantsOf(folder: string) {
  const opened = new Set<string>()
  let most = 0
  const pool = storePool(
    async (tenant) => {
      const store = await sqliteStore(tenantFile(folder, tenant))
      opened.add(tenant)
      most = Math.max(most, opened.size)
      const close = store.close.bind(store)
      store.close = async () => {
        await close()
        opened.delete(tenant)
      }
      return store
    },
    { max: 2, idle: 0 },
  )
  const projections = (tenant: string) => {
    const target = sqliteTarget(tenantFile(folder, tenant))
    const sums = defineProjection({
      name: 'sums',
      into: target,
      from: [BankAccount],
      tables: ['sums'],
      retry: { maxRetries: 0 },
      setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.sums} (amount INTEGER)`),
      on: {
        'BankAccount.Deposited': ({ data }, db, { tables }) => {
          if (data.amount === 13) throw new Error(`unlucky ${tenant}`)
          db.prepare(`INSERT INTO ${tables.sums} VALUES (?)`).run(data.amount)
        },
      },
    })
    return { projections: [sums], close: () => target.close() }
  }
  const sum = async (tenant: string) => {
    const target = sqliteTarget(tenantFile(folder, tenant))
    const [row] = await target.query('SELECT sum(amount) AS sum FROM sums')
    await target.close()
    return row?.sum
  }
  return { pool, projections, sum, most: () => most }
}

test('the projections of all tenants run in rounds; one that is blocked, and one that cannot be opened, stop none other', async () => {
  const { pool, projections, sum, most } = tenantsOf(testFolder())
  const names = times(6, (i) => `t${i}`)
  for (const [i, name] of names.entries()) {
    await pool.use(name, (store) => deposit(store, name === 't2' ? 13 : i + 1))
  }
  const failures: string[] = []
  const errors: unknown[] = []
  let rounds = 0
  let twice: () => void = () => undefined
  const roundsOver = new Promise<void>((resolve) => (twice = resolve))
  const running = runTenantProjections(pool, {
    tenants: async function* () {
      if (++rounds === 3) twice()
      yield* ['../', ...names]
    },
    projections: (tenant) => {
      if (tenant === '../') throw new Error('no such tenant')
      return projections(tenant)
    },
    interval: 0,
    concurrency: 2,
    onFailure: ({ message }, { name }: Projection, tenant) => failures.push(`${tenant} ${name} ${message}`),
    onError: (error, tenant) => errors.push(`${tenant} ${(error as Error).message}`),
  })
  await roundsOver
  await running.stop()
  for (const [i, name] of names.entries()) expect(await sum(name)).toBe(name === 't2' ? null : i + 1)
  expect(new Set(failures)).toEqual(new Set(['t2 sums unlucky t2']))
  expect(new Set(errors)).toEqual(new Set(['../ no such tenant']))
  expect(most()).toBe(2)
  await pool.close()
})

test('a visit out of turn resolves when what was written before it can be read', async () => {
  const { pool, projections, sum } = tenantsOf(testFolder())
  const running = runTenantProjections(pool, { tenants: () => ['a'], projections, interval: 600_000 })
  await pool.use('a', (store) => deposit(store, 5))
  await Promise.all([running.visit('a'), running.visit('a')])
  expect(await sum('a')).toBe(5)
  await pool.use('a', (store) => deposit(store, 6))
  await running.visit('a')
  expect(await sum('a')).toBe(11)
  await running.stop()
  await pool.close()
})

test('a visit says why it was none: a tenant that fails, a pool that is closed, a run that was stopped', async () => {
  const { pool, projections } = tenantsOf(testFolder())
  const told: unknown[] = []
  const options = {
    tenants: () => [],
    projections: (tenant: string) => {
      if (tenant === 'b') throw new Error('no such tenant')
      return projections(tenant)
    },
    interval: 600_000,
    onError: (error: unknown) => told.push(error),
  }
  const running = runTenantProjections(pool, options)
  await expect(running.visit('b')).rejects.toThrow('no such tenant')
  await expect(running.visit('')).rejects.toThrow(InvalidArgumentError)
  await running.visit('a')
  // Those under way end early, and the one that waits for its turn never begins.
  const [current, next] = [running.visit('a'), running.visit('a')]
  const both = Promise.allSettled([current, next])
  await running.stop()
  for (const { status, reason } of (await both) as PromiseRejectedResult[]) {
    expect([status, (reason as Error).message]).toEqual(['rejected', expect.stringContaining('were stopped')])
  }
  await expect(running.visit('a')).rejects.toThrow(StoreClosedError)
  const other = runTenantProjections(pool, options)
  await pool.close()
  await expect(other.visit('a')).rejects.toThrow(StoreClosedError)
  await other.stop()
  expect(told).toEqual([])
})

test('tenants that cannot be listed are told of, and asked for again', async () => {
  const { pool, projections, sum } = tenantsOf(testFolder())
  await pool.use('a', (store) => deposit(store, 5))
  const errors: unknown[] = []
  let asked = 0
  let end: () => void = () => undefined
  const over = new Promise<void>((resolve) => (end = resolve))
  const running = runTenantProjections(pool, {
    tenants: () => {
      if (++asked === 1) throw new Error('no list')
      if (asked === 3) end()
      return ['a']
    },
    projections,
    interval: 0,
    onError: (error, tenant) => {
      errors.push([tenant, (error as Error).message])
      throw new Error('a listener that fails itself')
    },
  })
  await over
  await running.stop()
  expect(errors).toEqual([[undefined, 'no list']])
  expect(await sum('a')).toBe(5)
  await pool.close()
})

test('wrong options are refused by name', async () => {
  const { pool, projections } = tenantsOf(testFolder())
  const run = runTenantProjections as (...args: unknown[]) => unknown
  expect(() => run({}, { tenants: () => [], projections })).toThrow(/^pool must be/)
  expect(() => run(pool, { projections })).toThrow(/^options.tenants/)
  expect(() => run(pool, { tenants: () => [], projections, concurrency: 0 })).toThrow(/^options.concurrency/)
  expect(() => run(pool, { tenants: () => [], projections, rounds: 1 })).toThrow("unknown option 'rounds'")
  await pool.close()
})
