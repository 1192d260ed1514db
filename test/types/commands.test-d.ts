import { expectTypeOf, test } from 'vitest'
import * as z from 'zod'
import {
  defineCommand,
  reject,
  ofType,
  type CommandType,
  type ContextOf,
  type Event,
  type Metadata,
  type OnStream,
  type Rejection,
  type RejectionOf,
  type Revision,
  type Stream,
} from 'mneme'
import { BankAccount, open, withdraw, Withdrawn } from '../programs/bank.ts'
import { credit, pay, takeFirst, type AccountId, type OrderId } from '../programs/boundaries.ts'
import { type Transfer, type Withdraw } from '../programs/classes.ts'
import { type convert } from '../programs/needs.ts'
import { type charge, type collect, Limits, type split, type transfer } from '../programs/streams.ts'

type BankState = { balance: number; open: boolean }
type BankStream = Stream<BankState, `BankAccount.${string}`>

test('a command type is its input, what it reads and what handle returns', () => {
  expectTypeOf(open).toEqualTypeOf<
    CommandType<
      { account: string; owner: string },
      BankStream,
      Rejection<'already-open'> | Event<'BankAccount.Opened', { owner: string }>
    >
  >()
})

test('the input: annotated, none, or what a schema takes', () => {
  expectTypeOf(withdraw).parameters.toEqualTypeOf<[input: { account: string; amount: number }]>()
  expectTypeOf(takeFirst).toBeCallableWith()
  expectTypeOf(pay).parameter(0).toEqualTypeOf<{ order: OrderId }>()
  expectTypeOf(credit).parameter(0).toEqualTypeOf<{ customer: string; points?: number | undefined }>()
})

test('handle sees what the schema of the input returns', () => {
  defineCommand({
    input: z.object({ account: z.string(), amount: z.string().transform(Number) }),
    reads: (input) => {
      expectTypeOf(input).toEqualTypeOf<{ account: string; amount: number }>()
      return BankAccount(input.account)
    },
    handle: (_, input) => {
      expectTypeOf(input).toEqualTypeOf<{ account: string; amount: number }>()
      return []
    },
  })
})

test('the state and the context of one stream', () => {
  defineCommand({
    reads: () => BankAccount('a'),
    handle: (state, input, context) => {
      expectTypeOf(state).toEqualTypeOf<Readonly<BankState>>()
      expectTypeOf(input).toEqualTypeOf<void>()
      expectTypeOf(context.revision).toEqualTypeOf<Revision>()
      expectTypeOf(context.attempt).toEqualTypeOf<number>()
      expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(context.metadata).toEqualTypeOf<Metadata>()
      expectTypeOf(context).not.toHaveProperty('on')
      return []
    },
  })
})

test('the states and the context of several streams have the shape of reads', () => {
  defineCommand({
    reads: (input: { ids: string[]; limited: boolean }) => ({
      one: BankAccount('a'),
      list: input.ids.map((id) => BankAccount(id)),
      named: { x: BankAccount('x'), y: BankAccount('y') },
      ...(input.limited ? { limits: Limits('global') } : {}),
    }),
    handle: (state, _, { on, ...context }) => {
      expectTypeOf(state.one).toEqualTypeOf<Readonly<BankState>>()
      expectTypeOf(state.list).toEqualTypeOf<readonly Readonly<BankState>[]>()
      expectTypeOf(state.named.x).toEqualTypeOf<Readonly<BankState>>()
      expectTypeOf(state.limits).toEqualTypeOf<Readonly<{ max: number }> | undefined>()
      expectTypeOf(context).not.toHaveProperty('revision')
      expectTypeOf(on.one(Withdrawn({ amount: 1 }))).toEqualTypeOf<
        OnStream<Event<'BankAccount.Withdrawn', { amount: number }>>
      >()
      expectTypeOf(on.list).toBeCallableWith(0, Withdrawn({ amount: 1 }))
      expectTypeOf(on.named).toBeCallableWith('x', Withdrawn({ amount: 1 }))
      expectTypeOf(on.limits).toBeCallableWith(Limits.events.Set({ max: 1 }))
      return []
    },
  })
})

test('followed streams stand beside those that were read', () => {
  defineCommand({
    reads: () => ({ a: BankAccount('a') }),
    follow: (state, input) => {
      expectTypeOf(state).toEqualTypeOf<{ readonly a: Readonly<BankState> }>()
      expectTypeOf(input).toEqualTypeOf<void>()
      return { limits: Limits('global') }
    },
    handle: (state, _, { on }) => {
      expectTypeOf(state.a).toEqualTypeOf<Readonly<BankState>>()
      expectTypeOf(state.limits).toEqualTypeOf<Readonly<{ max: number }>>()
      return on.limits(Limits.events.Set({ max: state.a.balance }))
    },
  })
})

test('what a command needs is in its context', () => {
  defineCommand({
    needs: ofType<{ now: () => Date }>(),
    reads: () => BankAccount('a'),
    handle: (_, __, { now, attempt }) => {
      expectTypeOf(now).toEqualTypeOf<() => Date>()
      expectTypeOf(attempt).toBeNumber()
      return reject('no')
    },
  })
})

test('RejectionOf tells every reason with its detail, of command types and of classes', () => {
  expectTypeOf<RejectionOf<typeof withdraw>>().toEqualTypeOf<
    { readonly reason: 'not-open' } | { readonly reason: 'insufficient-funds'; balance: number }
  >()
  expectTypeOf<RejectionOf<typeof split>>().toEqualTypeOf<
    { readonly reason: 'over-limit' } | { readonly reason: 'insufficient-funds'; accounts: string[] }
  >()
  expectTypeOf<RejectionOf<typeof convert>>().toEqualTypeOf<
    { readonly reason: 'insufficient-funds' } | { readonly reason: 'no-rate'; attempt: number }
  >()
  expectTypeOf<RejectionOf<typeof pay>['reason']>().toEqualTypeOf<'not-payable' | 'customer-blocked'>()
  expectTypeOf<RejectionOf<Withdraw>>().toEqualTypeOf<{
    readonly reason: 'insufficient-funds'
    balance: number
  }>()
  expectTypeOf<RejectionOf<ReturnType<typeof transfer>>['reason']>().toEqualTypeOf<
    'unknown-payee' | 'insufficient-funds'
  >()
  expectTypeOf<RejectionOf<typeof collect>>().toBeNever()
  expectTypeOf<RejectionOf<typeof charge>>().toBeNever()
})

test('rejected() narrows what execute threw', () => {
  const error = {} as unknown
  if (withdraw.rejected(error)) {
    expectTypeOf(error.rejection.reason).toEqualTypeOf<'not-open' | 'insufficient-funds'>()
    if (error.rejection.reason === 'insufficient-funds') expectTypeOf(error.rejection.balance).toBeNumber()
  }
})

test('ContextOf, for the handle of a class', () => {
  expectTypeOf<ContextOf<Transfer['reads']>['on']['to']>().toBeCallableWith(Withdrawn({ amount: 1 }) as never)
  expectTypeOf<ContextOf<Withdraw['reads']>['revision']>().toEqualTypeOf<Revision>()
  expectTypeOf<ContextOf<BankStream, { id: AccountId }>['id']>().toEqualTypeOf<AccountId>()
})
