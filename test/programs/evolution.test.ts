import { execute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'
import { flag, Loan } from './evolution.ts'

test('old names and versions come as the present ones', async () => {
  const store = memoryStore()
  await store.append({
    stream: 'Loan-1',
    events: [
      { type: 'Loan.Created', data: { name: 'Ann', sum: 5 } },
      { type: 'Loan.Granted', data: { owner: 'Bob', sum: 6 }, version: 2 },
    ],
  })
  const read: unknown[] = []
  for await (const { type, version, data } of store.read(Loan('1'))) read.push([type, version, data])
  expect(read).toEqual([
    ['Loan.Granted', 3, { owner: 'Ann', sum: 5, currency: 'EUR' }],
    ['Loan.Granted', 3, { owner: 'Bob', sum: 6, currency: 'EUR' }],
  ])
  const { state, events } = await execute(store, flag({ loan: '1', why: 'late' }))
  expect(state.loan).toEqual({ owner: 'Bob/EUR@1', flags: 4, sum: 7 })
  expect(state.account.balance).toBe(-1)
  expect(events.map(({ stream, type }) => `${stream} ${type}`)).toEqual([
    'Loan-1 Audit.Flagged',
    'Loan-1 BankAccount.Withdrawn',
    'BankAccount-1 BankAccount.Withdrawn',
  ])
})

test('an event is made in the present version', () => {
  const granted = Loan.events.Granted({ owner: 'Ann', sum: 1, currency: 'CHF' })
  expect(granted).toEqual({
    type: 'Loan.Granted',
    data: { owner: 'Ann', sum: 1, currency: 'CHF' },
    version: 3,
  })
  expect(Loan.events.Granted.version).toBe(3)
})
