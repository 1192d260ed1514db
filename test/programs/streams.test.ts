import { execute, tryExecute, type EventStore } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { beforeEach, expect, test } from 'vitest'
import { deposit, open } from './bank.ts'
import { charge, collect, Limits, split, transfer } from './streams.ts'

let store: EventStore

beforeEach(async () => {
  store = memoryStore()
  for (const account of ['a', 'b', 'c']) {
    await execute(store, open({ account, owner: account }))
    await execute(store, deposit({ account, amount: 100 }))
  }
})

test('two streams, one decision', async () => {
  const done = await execute(store, transfer({ from: 'a', to: 'b', amount: 10 }))
  expect(done.state).toEqual({ from: { balance: 90, open: true }, to: { balance: 110, open: true } })
  expect(done.events.map(({ stream, data }) => [stream, data.amount])).toEqual([
    ['BankAccount-a', 10],
    ['BankAccount-b', 10],
  ])
})

test('a variable number of streams, and one that is only read', async () => {
  const shares = (first: number, second: number) => [
    { account: 'a', amount: first },
    { account: 'b', amount: second },
  ]
  const { state, events } = await execute(store, split({ payee: 'c', shares: shares(5, 7) }))
  expect(state.payers.map(({ balance }) => balance)).toEqual([95, 93])
  expect(state.payee.balance).toBe(112)
  expect(events.map(({ stream }) => stream)).toEqual(['BankAccount-a', 'BankAccount-b', 'BankAccount-c'])
  expect(await tryExecute(store, split({ payee: 'c', shares: shares(5, 500) }))).toMatchObject({
    rejection: { reason: 'insufficient-funds', accounts: ['b'] },
  })
  await store.append({ stream: Limits('global'), events: [Limits.events.Set({ max: 10 })] })
  const limited = await tryExecute(store, split({ payee: 'c', shares: shares(5, 7) }))
  expect(!limited.ok && limited.rejection).toEqual({ reason: 'over-limit' })
})

test('streams by name', async () => {
  const { state, events } = await execute(store, collect({ accounts: ['a', 'b', 'nobody'] }))
  expect(state.all.a?.balance).toBe(0)
  expect(events).toHaveLength(2)
})

test('a stream that is read only if it is named', async () => {
  const unlimited = await execute(store, charge({ account: 'a' }))
  expect(unlimited.events).toEqual([])
  expect(unlimited.state).toEqual({ account: { balance: 100, open: true } })
  await store.append({ stream: Limits('low'), events: [Limits.events.Set({ max: 50 })] })
  const limited = await execute(store, charge({ account: 'a', limits: 'low' }))
  expect(limited.events).toHaveLength(1)
  expect(limited.state.limits?.max).toBe(50)
})
