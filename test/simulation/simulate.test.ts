import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { expect, test } from 'vitest'

import { simulate } from '../../src/simulation/index.ts'

const Account = defineAggregate({
  name: 'Account',
  events: { Deposited: event<{ amount: number }>(), Withdrawn: event<{ amount: number }>() },
  initial: () => ({ balance: 0 }),
  apply: {
    Deposited: (state, { amount }) => ({ balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ balance: state.balance - amount }),
  },
})

const deposit = defineCommand({
  name: 'deposit',
  reads: (input: { to: string; amount: number }) => Account(input.to),
  handle: (_, { amount }) => Account.events.Deposited({ amount }),
})

const transfer = defineCommand({
  name: 'transfer',
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: Account(input.from),
    to: Account(input.to),
  }),
  handle: ({ from }, { amount }, { on }) => {
    if (from.balance < amount) return reject('insufficient-funds', { balance: from.balance })
    return [on.from(Account.events.Withdrawn({ amount })), on.to(Account.events.Deposited({ amount }))]
  },
})

test('a bank of correct commands passes', async () => {
  const accounts = ['a', 'b', 'c']
  const started = performance.now()
  const report = await simulate({
    runs: 300,
    seed: 1,
    workload: ({ pick, integer, happens, uuid }) => {
      const key = happens(0.5) ? uuid() : undefined
      const to = pick(accounts)
      if (happens(0.4)) return { command: deposit({ to, amount: integer(1, 50) }), key }
      const from = pick(accounts.filter((account) => account !== to))
      return { command: transfer({ from, to, amount: integer(1, 50) }), key }
    },
    always: (world) => accounts.every((account) => world.state(Account(account)).balance >= 0) || 'overdrawn',
  })
  console.log(report, performance.now() - started)
  expect(report.executed).toBeGreaterThan(3_000)
})
