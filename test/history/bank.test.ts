import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { checkHistory, checkShapes, compareHistories, copyHistory, recordShapes } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { importStatement } from '../../bench/bank-history.ts'
import { CurrentAccount } from '../../examples/bank/account.ts'

const real = process.env.MNEME_DATA ?? '../shared/data/bank-1993.csv'

test('the history of a bank, 48,226 events of 1,229 accounts, is checked whole', async ({ skip }) => {
  if (!existsSync(real)) skip(`the file bank-1993.csv is not at hand; MNEME_DATA may say where it is`)
  const store = await sqliteStore(':memory:')
  const events = await importStatement(store, real)
  expect(events).toBe(46_997 + 1_229)
  const whole = await checkHistory(store, [CurrentAccount])
  expect(whole).toMatchObject({ finished: true, events, findings: [], unfolded: 0, reread: 0 })

  const few = await checkHistory(store, [CurrentAccount], { maxStates: 1_000 })
  expect(few).toEqual({ ...whole, reread: few.reread })

  const shapes = await recordShapes(store, [CurrentAccount])
  expect(shapes.categories.CurrentAccount?.['CurrentAccount.Withdrawn']?.['1']?.fields).toEqual({
    amount: 'number',
    date: 'string',
    operation: 'string',
  })
  expect(checkShapes(shapes, [CurrentAccount])).toEqual([])
  await store.close()
})

test('the history of a bank is copied from SQLite into memory and back, and compared whole', async ({
  skip,
}) => {
  if (!existsSync(real)) skip(`the file bank-1993.csv is not at hand; MNEME_DATA may say where it is`)
  const [from, over, to] = [await sqliteStore(':memory:'), memoryStore(), await sqliteStore(':memory:')]
  const events = await importStatement(from, real)
  expect(await copyHistory(from, over)).toMatchObject({ appended: events })
  const { comparison } = await copyHistory(over, to, { verify: true })
  expect(comparison).toMatchObject({ isSame: true, events })
  expect(await compareHistories(from, to)).toMatchObject({ isSame: true, events })
  await from.close()
  await to.close()
})
