import assert, { AssertionError } from 'node:assert'
import { aggregateFromClass, defineAggregate, defineCommand, event, UnknownEventError } from 'mneme'
import { given, on } from 'mneme/testing'
import { describe, expect, test } from 'vitest'
import {
  BankAccount,
  close,
  deposit,
  Deposited,
  open,
  Opened,
  withdraw,
  Withdrawn,
} from '../programs/bank.ts'
import { Customer, Order, OrderId, pay, type AccountId } from '../programs/boundaries.ts'
import { Account, AccountState, AddBoth, List, Transfer, Withdraw } from '../programs/classes.ts'
import { flag, Loan } from '../programs/evolution.ts'
import { convert, Wallet } from '../programs/needs.ts'
import { collect, Limits, split, transfer } from '../programs/streams.ts'
import { failure } from './failure.ts'

const alice = BankAccount('alice')
const bob = BankAccount('bob')
const withdraw10 = withdraw({ account: 'alice', amount: 10 })
const transfer10 = transfer({ from: 'alice', to: 'bob', amount: 10 })
const rich = given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: 30 }))

describe('what holds', () => {
  test('events of one stream', async () => {
    await rich.when(withdraw10).thenEvents(Withdrawn({ amount: 10 }))
    await given()
      .when(open({ account: 'alice', owner: 'Alice' }))
      .thenEvents(Opened({ owner: 'Alice' }))
    const both = given(List('l')).when(new AddBoth('l', 'x', 'y'))
    await both.thenEvents(List.events.Added({ item: 'x' }), List.events.Added({ item: 'y' }))
  })

  test('events of several streams, in the order decided', async () => {
    await rich
      .and(bob, Opened({ owner: 'Bob' }))
      .when(transfer10)
      .thenEvents(on(alice, Withdrawn({ amount: 10 })), on(bob, Deposited({ amount: 10 })))
    await rich
      .and(BankAccount('c'), Deposited({ amount: 5 }))
      .when(collect({ accounts: ['alice', 'c'] }))
      .thenEvents(on(alice, Withdrawn({ amount: 30 })), on(BankAccount('c'), Withdrawn({ amount: 5 })))
  })

  test('no events', async () => {
    await given()
      .when(close({ account: 'alice' }))
      .thenNothing()
    await given()
      .when(close({ account: 'alice' }))
      .thenEvents()
  })

  test('a rejection, by reason or with its details', async () => {
    const poor = given(alice, Opened({ owner: 'Alice' })).when(withdraw10)
    await poor.thenRejected('insufficient-funds')
    await poor.thenRejected({ reason: 'insufficient-funds', balance: 0 })
    await given().when(withdraw10).thenRejected('not-open')
  })

  test('the state, in the shape of what is read', async () => {
    await rich.when(withdraw10).thenState({ balance: 20, open: true })
    await rich
      .and(bob, Opened({ owner: 'Bob' }))
      .when(split({ payee: 'bob', shares: [{ account: 'alice', amount: 10 }] }))
      .thenState({
        limits: { max: 1000 },
        payee: { balance: 10, open: true },
        payers: [{ balance: 20, open: true }],
      })
  })

  test('a stream that is only read', async () => {
    await rich
      .and(Limits('global'), Limits.events.Set({ max: 5 }))
      .when(split({ payee: 'bob', shares: [{ account: 'alice', amount: 10 }] }))
      .thenRejected('over-limit')
  })

  test('streams that follow from the first ones', async () => {
    const id = OrderId.parse('0b6f2f1e-6c0e-4a37-9d5c-2f0a4f1f7a11')
    const customer = Customer('x' as AccountId)
    const placed = given(Order(id), Order.events.Placed({ customers: ['x' as AccountId] }))
    const paid = placed.when(pay({ order: id }))
    await paid.thenEvents(
      on(Order(id), Order.events.Paid()),
      on(customer, Customer.events.Credited({ points: 1 })),
    )
    await paid.thenState({
      order: { status: 'paid', customers: ['x' as AccountId] },
      customers: [{ blocked: false, points: 1 }],
    })
    await placed
      .and(customer, Customer.events.Blocked())
      .when(pay({ order: id }))
      .thenRejected('customer-blocked')
  })

  test('what the command needs, and metadata', async () => {
    const needs = { rates: { rate: async () => 2 }, clock: { now: () => new Date(0) } }
    const convert10 = convert({ wallet: 'w', from: 'EUR', to: 'USD', amount: 10 })
    const at = '1970-01-01T00:00:00.000Z'
    await given()
      .when(convert10, { needs, metadata: { actor: 'Ann' } })
      .thenEvents(Wallet.events.Converted({ from: 'EUR', to: 'USD', amount: 10, got: 20, at }))
  })

  test('classes: their fields, or an instance', async () => {
    const { Created, Deposited } = Account.events
    const account = given(Account('a'), Created({ owner: 'Ann' }), Deposited({ amount: 9 }))
    const withdrawn = account.when(new Withdraw('a', 4))
    await withdrawn.thenState({ owner: 'Ann', balance: 5 })
    await withdrawn.thenState(Object.assign(new AccountState(), { owner: 'Ann', balance: 5 }))
    const moved = account.when(new Transfer('a', 'b', 4))
    await moved.thenState({ from: { owner: 'Ann', balance: 5 }, to: { owner: '', balance: 4 } })
  })

  test('a class that hides its fields is compared by the getters that are named', async () => {
    class Counter {
      #count = 0
      get count() {
        return this.#count
      }
      apply(event: { type: 'Counter.Counted'; data: { by: number } }) {
        this.#count += event.data.by
      }
      clone(): Counter {
        const copy = new Counter()
        copy.#count = this.#count
        return copy
      }
    }
    const Counters = aggregateFromClass({
      name: 'Counter',
      events: { Counted: event<{ by: number }>() },
      state: Counter,
    })
    const count = defineCommand({
      reads: () => Counters('c'),
      handle: () => Counters.events.Counted({ by: 2 }),
    })
    const counted = given(Counters('c'), Counters.events.Counted({ by: 1 })).when(count())
    await counted.thenState({ count: 3 })
    expect((await failure(counted.thenState({ count: 4 }))).message).toContain('+ { count: 3 }')
  })

  test('old versions and names', async () => {
    await given('Loan-1', { type: 'Credit.Granted', data: { name: 'Ann', sum: 5 } })
      .and(Loan('1'), { type: 'Loan.Granted', version: 2, data: { owner: 'Bob', sum: 6 } })
      .when(flag({ loan: '1', why: 'late' }))
      .thenState({ loan: { owner: 'Bob/EUR@1', flags: 4, sum: 7 }, account: { balance: -1, open: false } })
  })

  test('Maps, Sets and Dates in a state compare by what they hold', async () => {
    const Visits = defineAggregate({
      name: 'Visits',
      events: { Came: event<{ who: string; at: string }>() },
      initial: () => ({ last: new Date(0), who: new Map<string, number>(), all: new Set<string>() }),
      apply: {
        Came: ({ who: before, all }, { who, at }) => ({
          last: new Date(at),
          who: new Map([...before, [who, (before.get(who) ?? 0) + 1]]),
          all: new Set([...all, who]),
        }),
      },
    })
    const come = defineCommand({
      reads: () => Visits('v'),
      handle: () => Visits.events.Came({ who: 'Ann', at: '2026-01-01' }),
    })
    const came = given().when(come())
    await came.thenState({
      last: new Date('2026-01-01'),
      who: new Map([['Ann', 1]]),
      all: new Set(['Ann']),
    })
    const other = { last: new Date('2026-01-01'), who: new Map([['Ann', 2]]), all: new Set(['Ann']) }
    expect((await failure(came.thenState(other))).message).toMatch(/^\+ .*Map\(1\) \{ 'Ann' => 1 \}/m)
  })

  test('an error that the command throws, matched as assert does', async () => {
    const bad = given(alice, Opened({ owner: 'Alice' })).when(deposit({ account: 'alice', amount: 0.5 }))
    await bad.thenThrows()
    await bad.thenThrows(/Deposited was refused/)
    await bad.thenThrows({ code: 'INVALID_DATA', subject: 'BankAccount.Deposited' })
    await bad.thenThrows((error: unknown) => error instanceof Error)
  })

  test('a history can be continued in two ways', async () => {
    const opened = given(alice, Opened({ owner: 'Alice' }))
    await opened
      .and(alice, Deposited({ amount: 10 }))
      .when(withdraw10)
      .thenEvents(Withdrawn({ amount: 10 }))
    await opened.when(withdraw10).thenRejected('insufficient-funds')
  })
})

test('a history that cannot be is no failure of the command', async () => {
  const wrong = given(alice, { type: 'BankAccount.Closd', data: {}, version: 1 }).when(withdraw10)
  const error: unknown = await wrong.thenThrows().catch((thrown: unknown) => thrown)
  assert.ok(error instanceof Error && !(error instanceof AssertionError))
  expect(error.message).toMatchInlineSnapshot(
    `"the given events cannot be stored: event type "BankAccount.Closd" (version 1) on stream "BankAccount-alice" is unknown here; the aggregate knows BankAccount.Opened, BankAccount.Deposited, BankAccount.Withdrawn, BankAccount.Closed"`,
  )
  expect(error.cause).toBeInstanceOf(UnknownEventError)
})

test('a command is executed once, however many expectations are asked of it', async () => {
  let executed = 0
  const once = defineCommand({
    reads: () => alice,
    handle: () => {
      executed++
      return Opened({ owner: 'Alice' })
    },
  })
  const opened = given().when(once())
  await Promise.all([
    opened.thenEvents(Opened({ owner: 'Alice' })),
    opened.thenState({ balance: 0, open: true }),
  ])
  expect(executed).toBe(1)
})

test('nothing of it is a promise by mistake', async () => {
  expect('then' in given()).toBe(false)
  expect('then' in given().when(withdraw10)).toBe(false)
})
