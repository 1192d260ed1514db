import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, defineAggregate, defineCommand, event } from 'mneme'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { defineProjection, runProjections } from 'mneme/projections'
import { test, expect } from 'vitest'

const Account = defineAggregate({
  name: 'Account',
  events: { Opened: event<{ owner: string }>(), Deposited: event<{ amount: number }>() },
  initial: () => ({ balance: 0 }),
  apply: { Opened: (s) => s, Deposited: (s, { amount }) => ({ balance: s.balance + amount }) },
})
const deposit = defineCommand({
  reads: (input: { account: string; amount: number }) => Account(input.account),
  handle: (_, { amount }) => Account.events.Deposited({ amount }),
})

test('basics', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'x-')), 'bank.db')
  const store = await sqliteStore(file)
  const target = sqliteTarget(file)
  const define = (version: number, factor: number) => defineProjection({
    name: 'balances',
    version,
    into: target,
    from: [Account],
    tables: ['balances'],
    setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance INT NOT NULL)`),
    on: {
      'Account.Deposited': (event, db, { tables }) => {
        db.prepare(`INSERT INTO ${tables.balances} VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET balance = balance + excluded.balance`).run(event.stream, event.data.amount * factor)
      },
    },
  })
  const balances = define(1, 1)
  for (let i = 0; i < 3000; i++) await execute(store, deposit({ account: `a${i % 5}`, amount: 1 }))
  let t = performance.now()
  const running = await runProjections(store, [balances], { onFailure: (f) => console.log(f) })
  await running.caughtUp()
  console.log('caught up', performance.now() - t)
  const rows = (table = 'balances') => target.read(function* () { return yield { sql: `SELECT * FROM ${table}`, values: [] } })
  console.log(await rows())
  for (let i = 0; i < 5; i++) {
    t = performance.now()
    const { position } = await execute(store, deposit({ account: `a1`, amount: 1 }))
    const t1 = performance.now()
    await balances.caughtUpTo(position)
    console.log('live', t1 - t, performance.now() - t1)
  }
  console.log(await running.status())
  const second = define(2, 10)
  await expect(runProjections(store, [second])).rejects.toThrow(/version/)
  t = performance.now()
  await second.rebuild(store, { onProgress: (n, of) => console.log(n, of) })
  console.log('rebuilt', performance.now() - t)
  console.log(await rows(), await rows('mneme_projections'))
  await running.stop()
  await store.close()
  await target.close()
})
