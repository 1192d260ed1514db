import { execute, tryExecute, type EventStore } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { beforeEach, expect, test } from 'vitest'
import { close, deposit, open, withdraw } from './bank.ts'

let store: EventStore

beforeEach(async () => {
  store = memoryStore()
  await execute(store, open({ account: 'alice', owner: 'Alice' }))
  await execute(store, deposit({ account: 'alice', amount: 30 }))
})

test('a command over one stream records its event, and gives the state with it', async () => {
  const done = await execute(store, withdraw({ account: 'alice', amount: 10 }))
  expect(done.state).toEqual({ balance: 20, open: true })
  expect(done.events[0]).toMatchObject({ type: 'BankAccount.Withdrawn', data: { amount: 10 }, revision: 2 })
  expect(done.revisions.get('BankAccount-alice')).toBe(2)
})

test('tryExecute tells every rejection apart by its reason', async () => {
  const seen: string[] = []
  for (const command of [
    withdraw({ account: 'bob', amount: 1 }),
    withdraw({ account: 'alice', amount: 50 }),
  ]) {
    const result = await tryExecute(store, command)
    if (result.ok) expect.unreachable('it is rejected')
    else {
      switch (result.rejection.reason) {
        case 'not-open':
          seen.push('not open')
          break
        case 'insufficient-funds':
          seen.push(`the balance is ${result.rejection.balance}`)
          break
        default:
          result.rejection satisfies never
      }
    }
  }
  expect(seen).toEqual(['not open', 'the balance is 30'])
})

test('execute throws the rejection, which the command narrows', async () => {
  const error = await execute(store, withdraw({ account: 'alice', amount: 50 })).catch((e: unknown) => e)
  if (!withdraw.rejected(error)) return expect.unreachable('it is a rejection of withdraw')
  expect(error.rejection.reason satisfies 'not-open' | 'insufficient-funds').toBe('insufficient-funds')
  expect(deposit.rejected(error)).toBe(false)
})

test('a command may record nothing', async () => {
  expect((await execute(store, close({ account: 'alice' }))).events.map(({ type }) => type)).toEqual([
    'BankAccount.Closed',
  ])
  const again = await execute(store, close({ account: 'alice' }))
  expect(again.events).toEqual([])
  expect(again.position).toBeUndefined()
})
