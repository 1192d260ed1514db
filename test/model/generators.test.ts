import { aggregateFromClass, defineAggregate, defineCommand, event, execute, type EventStore } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { defineReaction, defineRelay } from 'mneme/reactions'
import { expect, test } from 'vitest'
import { BankAccount, Deposited } from '../support/bank.ts'

const never = function* () {} as never
const later = async function* () {} as never
const runsNothing =
  'is a generator function (function*), of which a call runs nothing: write it without the *'

test.each([never, later])(
  'generators are refused where an aggregate or a command is defined',
  (generator) => {
    const aggregate = { name: 'Door', events: { Shut: event() }, initial: () => 0, apply: { Shut: () => 1 } }
    const command = { reads: () => BankAccount('a'), handle: () => Deposited({ amount: 1 }) }
    class Tally {
      apply() {}
      clone() {
        return this
      }
    }
    const definitions = {
      'apply.Shut': () => defineAggregate({ ...aggregate, apply: { Shut: generator } }),
      initial: () => defineAggregate({ ...aggregate, initial: generator }),
      upcast: () => event().next(generator),
      'apply of the state class of Door': () => {
        Tally.prototype.apply = generator
        return aggregateFromClass({ name: 'Door', events: { Shut: event() }, state: Tally }).initial()
      },
      reads: () => defineCommand({ ...command, reads: generator }),
      handle: () => defineCommand({ ...command, handle: generator }),
      follow: () => defineCommand({ ...command, follow: generator }),
      keyedBy: () => defineCommand({ ...command, keyedBy: generator }),
    }
    for (const [argument, define] of Object.entries(definitions)) {
      expect(define, argument).toThrow(`${argument} ${runsNothing}`)
    }
  },
)

test.each([never, later])(
  'generators are refused in the definition of a reaction and of a relay',
  (generator) => {
    const deposit = defineCommand({
      name: 'deposit',
      reads: () => BankAccount('a'),
      handle: () => Deposited({ amount: 1 }),
    })
    const common = { name: 'one', from: [BankAccount], startAt: 'start' } as const
    const reaction = {
      ...common,
      commands: [deposit],
      on: { 'BankAccount.Deposited': () => [] },
      rejected: {},
    }
    const define = defineReaction as (definition: object) => unknown
    const relay = defineRelay as (definition: object) => unknown
    const definitions = {
      "on['BankAccount.Deposited']": () =>
        define({ ...reaction, on: { 'BankAccount.Deposited': generator } }),
      "rejected['deposit']": () => define({ ...reaction, rejected: { deposit: generator } }),
      sequence: () => define({ ...reaction, sequence: generator }),
      send: () => relay({ ...common, send: generator }),
    }
    for (const [argument, make] of Object.entries(definitions)) {
      expect(make, argument).toThrow(`${argument} ${runsNothing}`)
    }
    expect(() => define(reaction)).not.toThrow()
  },
)

test('a command of an object is refused if its handle is a generator, and one that returns a generator', async () => {
  const store = memoryStore()
  const run = execute as unknown as (on: EventStore, command: object) => Promise<unknown>
  const account = BankAccount('a')
  await expect(run(store, { reads: account, handle: never })).rejects.toThrow(`handle ${runsNothing}`)
  await expect(run(store, { reads: account, handle: () => (never as () => unknown)() })).rejects.toThrow(
    'it was a generator, of which nothing runs',
  )
  const follow = () => (never as () => unknown)()
  await expect(run(store, { reads: { account }, follow, handle: () => [] })).rejects.toThrow(
    'follow must be a stream',
  )
  expect(await store.logHead()).toBeUndefined()
})
