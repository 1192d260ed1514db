import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { given, on } from 'mneme/testing'
import { describe, expect, test } from 'vitest'
import { BankAccount, Deposited, Opened, withdraw, Withdrawn } from '../programs/bank.ts'
import { Account, Withdraw } from '../programs/classes.ts'
import { transfer } from '../programs/streams.ts'
import { failure } from './failure.ts'

const alice = BankAccount('alice')
const bob = BankAccount('bob')
const withdraw10 = withdraw({ account: 'alice', amount: 10 })
const transfer10 = transfer({ from: 'alice', to: 'bob', amount: 10 })
const rich = given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: 30 }))

describe('what does not hold tells what differs', () => {
  const poor = given(alice, Opened({ owner: 'Alice' })).when(withdraw10)

  test('other data', async () => {
    const error = await failure(rich.when(withdraw10).thenEvents(Withdrawn({ amount: 11 })))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record BankAccount.Withdrawn with other data

      - expected, + actual
      - BankAccount.Withdrawn { amount: 11 }
      + BankAccount.Withdrawn { amount: 10 }"
    `)
    expect(error.expected).toEqual([Withdrawn({ amount: 11 })])
    expect(error.actual).toEqual([Withdrawn({ amount: 10 })])
  })

  test('other events', async () => {
    const error = await failure(
      rich.when(withdraw10).thenEvents(Withdrawn({ amount: 10 }), Withdrawn({ amount: 10 })),
    )
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record BankAccount.Withdrawn, BankAccount.Withdrawn, but it recorded BankAccount.Withdrawn

      - expected, + actual
        BankAccount.Withdrawn { amount: 10 }
      - BankAccount.Withdrawn { amount: 10 }"
    `)
  })

  test('other streams', async () => {
    const transferred = rich.and(bob, Opened({ owner: 'Bob' })).when(transfer10)
    const error = await failure(
      transferred.thenEvents(on(alice, Withdrawn({ amount: 10 })), on(alice, Deposited({ amount: 10 }))),
    )
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record BankAccount.Withdrawn, BankAccount.Deposited on other streams

      - expected, + actual
        BankAccount-alice: BankAccount.Withdrawn { amount: 10 }
      - BankAccount-alice: BankAccount.Deposited { amount: 10 }
      + BankAccount-bob: BankAccount.Deposited { amount: 10 }"
    `)
  })

  test('a rejection instead of events', async () => {
    const error = await failure(poor.thenEvents(Withdrawn({ amount: 10 })))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record BankAccount.Withdrawn, but it was rejected with insufficient-funds

      - expected, + actual
      - BankAccount.Withdrawn { amount: 10 }
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
    expect(error.actual).toEqual({ reason: 'insufficient-funds', balance: 0 })
  })

  test('events instead of nothing, and a rejection instead of nothing', async () => {
    const error = await failure(rich.when(withdraw10).thenNothing())
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record nothing, but it recorded BankAccount.Withdrawn

      - expected, + actual
      + BankAccount-alice: BankAccount.Withdrawn { amount: 10 }"
    `)
    expect((await failure(poor.thenNothing())).message).toMatchInlineSnapshot(`
      "expected the command to record nothing, but it was rejected with insufficient-funds

      - expected, + actual
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
  })

  test('events instead of a rejection', async () => {
    const error = await failure(rich.when(withdraw10).thenRejected('insufficient-funds'))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to be rejected with insufficient-funds, but it recorded BankAccount.Withdrawn

      - expected, + actual
      - { reason: 'insufficient-funds' }
      + BankAccount-alice: BankAccount.Withdrawn { amount: 10 }"
    `)
    const idle = defineCommand({
      reads: () => alice,
      handle: ({ open }) => (open ? reject('open') : []),
    })
    const nothing = await failure(given().when(idle()).thenRejected('open'))
    expect(nothing.message.split('\n')[0]).toBe(
      'expected the command to be rejected with open, but it recorded nothing',
    )
  })

  test('another reason, and other details', async () => {
    expect((await failure(poor.thenRejected('not-open'))).message).toMatchInlineSnapshot(`
      "expected the command to be rejected with not-open, but it was rejected with insufficient-funds

      - expected, + actual
      - { reason: 'not-open' }
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
    const error = await failure(poor.thenRejected({ reason: 'insufficient-funds', balance: 5 }))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to be rejected with insufficient-funds and other details

      - expected, + actual
      - { balance: 5, reason: 'insufficient-funds' }
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
  })

  test('another state', async () => {
    const error = await failure(rich.when(withdraw10).thenState({ balance: 21, open: true }))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to lead to another state

      - expected, + actual
      - { balance: 21, open: true }
      + { balance: 20, open: true }"
    `)
    expect((await failure(poor.thenState({ balance: 0, open: true }))).message).toMatchInlineSnapshot(`
      "expected the command to be accepted, but it was rejected with insufficient-funds

      - expected, + actual
      - { balance: 0, open: true }
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
  })

  test('another state of a class', async () => {
    const withdrawn = given(Account('a'), Account.events.Deposited({ amount: 9 })).when(new Withdraw('a', 4))
    const error = await failure(withdrawn.thenState({ owner: '', balance: 4 }))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to lead to another state

      - expected, + actual
      - { balance: 4, owner: '' }
      + { balance: 5, owner: '' }"
    `)
    const forgotten = await failure(withdrawn.thenState({ balance: 5 } as never))
    expect(forgotten.message).toMatchInlineSnapshot(`
      "expected the command to lead to another state

      - expected, + actual
      - { balance: 5 }
      + { balance: 5, owner: '' }"
    `)
  })

  test('an error instead of events: it is the cause', async () => {
    const broken = defineCommand({
      reads: () => alice,
      handle: (account) => {
        if (account.balance >= 0) throw new RangeError('the clock is broken')
        return reject('never')
      },
    })
    const error = await failure(given().when(broken()).thenRejected('never'))
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to be rejected with never, but it threw RangeError: the clock is broken

      - expected, + actual
      - { reason: 'never' }
      + RangeError: the clock is broken"
    `)
    expect(error.cause).toBeInstanceOf(RangeError)
    const other = await failure(
      given()
        .when(broken())
        .thenThrows(/stopped/),
    )
    expect(other.message).toMatchInlineSnapshot(`
      "expected the command to throw /stopped/, but it threw RangeError: the clock is broken

      - expected, + actual
      - /stopped/
      + RangeError: the clock is broken"
    `)
    expect((await failure(given().when(broken()).thenThrows(TypeError))).message.split('\n')[0]).toBe(
      'expected the command to throw TypeError, but it threw RangeError: the clock is broken',
    )
    expect((await failure(poor.thenThrows())).message).toMatchInlineSnapshot(`
      "expected the command to throw, but it was rejected with insufficient-funds

      - expected, + actual
      + { balance: 0, reason: 'insufficient-funds' }"
    `)
  })

  test('long data is cut into lines, of which only those that differ are marked', async () => {
    const Big = defineAggregate({
      name: 'Big',
      events: { Happened: event<{ items: { sku: string; quantity: number }[]; note: string }>() },
      initial: () => ({}),
      apply: { Happened: (state) => state },
    })
    const data = (quantity: number) => ({
      items: [
        { sku: 'a long stock keeping unit', quantity: 1 },
        { sku: 'another long stock keeping unit', quantity },
      ],
      note: 'n',
    })
    const happen = defineCommand({ reads: () => Big('b'), handle: () => Big.events.Happened(data(2)) })
    const error = await failure(
      given()
        .when(happen())
        .thenEvents(Big.events.Happened(data(3))),
    )
    expect(error.message).toMatchInlineSnapshot(`
      "expected the command to record Big.Happened with other data

      - expected, + actual
        Big.Happened {
          items: [
            { quantity: 1, sku: 'a long stock keeping unit' },
      -     { quantity: 3, sku: 'another long stock keeping unit' }
      +     { quantity: 2, sku: 'another long stock keeping unit' }
          ],
          note: 'n'
        }"
    `)
  })

  test('the stack begins where the expectation was called', async () => {
    const error = await failure(poor.thenEvents())
    const frame = error.stack?.split('\n').find((line) => line.startsWith('    at '))
    expect(frame).toContain('given-failures.test.ts')
  })
})
