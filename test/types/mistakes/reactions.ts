import { defineCommand } from 'mneme'
import { after, defineReaction, runReactions } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { BankAccount, withdraw } from './domain.ts'

const close = defineCommand({
  name: 'account.close',
  reads: (input: { account: string }) => BankAccount(input.account),
  handle: ({ balance }) => (balance > 0 ? { rejection: { reason: 'not-empty' as const } } : []),
})
const note = defineCommand({
  name: 'account.note',
  reads: (input: { account: string }) => BankAccount(input.account),
  handle: () => [],
})
const dated = defineCommand({
  name: 'account.dated',
  reads: (input: { account: string; on: Date }) => BankAccount(input.account),
  handle: () => [],
})
const common = { name: 'closing', from: [BankAccount], startAt: 'end' } as const

// a rejection without an answer
defineReaction({
  ...common,
  commands: [close],
  on: { 'BankAccount.Withdrawn': () => close({ account: 'a' }) },
})

// an answer that there is not
defineReaction({
  ...common,
  commands: [close],
  on: { 'BankAccount.Withdrawn': () => close({ account: 'a' }) },
  rejected: { 'account.close': () => 'retry' },
})

// a command without a name
defineReaction({
  ...common,
  commands: [withdraw],
  on: { 'BankAccount.Withdrawn': () => [] },
})

// an input that is no JSON
defineReaction({
  ...common,
  commands: [dated],
  on: { 'BankAccount.Withdrawn': () => [] },
})

// a command that is not in the list
defineReaction({
  ...common,
  commands: [note],
  on: { 'BankAccount.Withdrawn': () => after({ minutes: 5 }, close({ account: 'a' }), { timer: 'x' }) },
})

// a handler that is asynchronous
defineReaction({
  ...common,
  commands: [note],
  on: { 'BankAccount.Withdrawn': async () => note({ account: 'a' }) },
})

// a handler that returns nothing
defineReaction({
  ...common,
  commands: [note],
  on: {
    'BankAccount.Withdrawn': () => {
      note({ account: 'a' })
    },
  },
})

// a reaction that does not say where it begins
defineReaction({
  name: 'closing',
  from: [BankAccount],
  commands: [note],
  on: { 'BankAccount.Withdrawn': () => note({ account: 'a' }) },
})

// a run without a database for the state
void runReactions(undefined as never, [
  defineReaction({ ...common, commands: [note], on: { 'BankAccount.Withdrawn': () => [] } }),
])

// a rebuild
void defineReaction({ ...common, commands: [note], on: { 'BankAccount.Withdrawn': () => [] } })
  .in(sqliteTarget('state.db'))
  .rebuild()
