import { execute, tryExecute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'
import { convert } from './needs.ts'

const clock = { now: () => new Date(0) }
const input = { wallet: 'w', from: 'EUR', to: 'USD', amount: 10 }

test('what a command needs is given with the options', async () => {
  const store = memoryStore()
  const needs = { rates: { rate: async () => 1.5 }, clock }
  const done = await execute(store, convert(input), { needs })
  expect(done.state.money).toEqual({ EUR: 90, USD: 15 })
  expect(done.events[0]?.data.at).toBe('1970-01-01T00:00:00.000Z')
})

test('another caller gives other things', async () => {
  const store = memoryStore()
  const result = await tryExecute(store, convert(input), {
    needs: { rates: { rate: async () => 0 }, clock },
    metadata: { actor: 'Ann' },
  })
  expect(!result.ok && result.rejection).toEqual({ reason: 'no-rate', attempt: 1 })
})
