import { execute, tryExecute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'
import { Account, AccountState, AddBoth, CopiedState, ownerOrAmount, Transfer, Withdraw } from './classes.ts'

const { Created, Deposited } = Account.events

test('a class as state, classes as commands', async () => {
  const store = memoryStore()
  await store.append({ stream: Account('a'), events: [Created({ owner: 'Ann' }), Deposited({ amount: 10 })] })
  const { state, events } = await execute(store, new Withdraw('a', 4))
  expect(state).toBeInstanceOf(AccountState)
  expect(state).toEqual(Object.assign(new AccountState(), { owner: 'Ann', balance: 6 }))
  expect(events.map((event) => event.data.amount)).toEqual([4])
  expect(events.map(ownerOrAmount)).toEqual([4])
  const transfer = await execute(store, new Transfer('a', 'b', 5))
  expect([transfer.state.from.balance, transfer.state.to.balance]).toEqual([1, 5])
})

test('what a class rejects is typed as well', async () => {
  const result = await tryExecute(memoryStore(), new Withdraw('a', 4))
  if (result.ok) return expect.unreachable('it is rejected')
  expect(result.rejection.reason satisfies 'insufficient-funds').toBe('insufficient-funds')
  expect(result.rejection.balance).toBe(0)
})

test('what a decision does to its own copy of the state reaches nobody', async () => {
  const store = memoryStore()
  const { state } = await execute(store, new AddBoth('l', 'x', 'y'))
  expect(state).toBeInstanceOf(CopiedState)
  expect(state.items).toEqual(['x', 'y'])
  const result = await tryExecute(store, new AddBoth('l', 'z', 'x'))
  expect(!result.ok && result.rejection).toEqual({ reason: 'there-already', item: 'x' })
  expect((await execute(store, new AddBoth('l', 'z'))).state.items).toEqual(['x', 'y', 'z'])
})
