import * as v from 'valibot'
import { expectTypeOf, test } from 'vitest'
import * as z from 'zod'
import { defineEvents, event, type Event, type EventsOf, type NoData, type Recorded } from 'mneme'
import { type BankAccount, Closed, Deposited, Withdrawn } from '../programs/bank.ts'
import { Audit, Loan } from '../programs/evolution.ts'

const Sample = defineEvents('Sample', {
  Plain: event<{ a: number; b?: readonly string[] }>(),
  AllOptional: event<{ note?: string }>(),
  Union: event<{ kind: 'a'; n: number } | { kind: 'b' }>(),
  Parsed: z.object({ at: z.string().default('now'), n: z.string().transform(Number) }),
  Checked: v.object({ sku: v.pipe(v.string(), v.brand('Sku')) }),
  None: event(),
})

test('a constructor takes its data, or what its schema takes, and nothing where there is none', () => {
  expectTypeOf(Sample.Plain).parameters.toEqualTypeOf<[data: { a: number; b?: readonly string[] }]>()
  expectTypeOf(Sample.AllOptional).parameters.toEqualTypeOf<[data?: { note?: string }]>()
  expectTypeOf(Sample.Union).parameters.toEqualTypeOf<[data: { kind: 'a'; n: number } | { kind: 'b' }]>()
  expectTypeOf(Sample.Parsed).parameters.toEqualTypeOf<[data: { at?: string | undefined; n: string }]>()
  expectTypeOf(Sample.Checked).parameter(0).toEqualTypeOf<{ sku: string }>()
  expectTypeOf(Sample.None).parameters.toEqualTypeOf<[]>()
})

test('an event has its type name, and the data that its schema returns', () => {
  expectTypeOf(Sample.Plain({ a: 1 })).toEqualTypeOf<
    Event<'Sample.Plain', { a: number; b?: readonly string[] }>
  >()
  expectTypeOf(Sample.Parsed({ n: '1' })).toEqualTypeOf<Event<'Sample.Parsed', { at: string; n: number }>>()
  expectTypeOf(Sample.Checked({ sku: 'x' }).data.sku).toEqualTypeOf<string & v.Brand<'Sku'>>()
  expectTypeOf(Sample.None()).toEqualTypeOf<Event<'Sample.None', NoData>>()
  expectTypeOf(Withdrawn.type).toEqualTypeOf<'BankAccount.Withdrawn'>()
})

test('a borrowed event stays what its owner made it', () => {
  expectTypeOf(Loan.events.Flagged).toEqualTypeOf(Audit.Flagged)
  expectTypeOf(Loan.events.Withdrawn).toEqualTypeOf(Withdrawn)
})

test('upcasts are inferred step by step: only the oldest version is written out', () => {
  expectTypeOf(Loan.events.Granted).parameter(0).toEqualTypeOf<{
    currency: string
    owner: string
    sum: number
  }>()
  const spec = event<{ n: number }>().next(z.object({ m: z.number() }), (old) => {
    expectTypeOf(old).toEqualTypeOf<{ n: number }>()
    return { m: old.n }
  })
  expectTypeOf(defineEvents('S', { E: spec }).E({ m: 1 }).data).toEqualTypeOf<{ m: number }>()
})

test('is() narrows whatever it is asked about', () => {
  const made = {} as Event
  const recorded = {} as Recorded
  const one = {} as EventsOf<typeof BankAccount>
  if (Withdrawn.is(made)) {
    expectTypeOf(made.data).toEqualTypeOf<{ amount: number }>()
    expectTypeOf(made).not.toHaveProperty('position')
  }
  if (Withdrawn.is(recorded)) {
    expectTypeOf(recorded.data.amount).toBeNumber()
    expectTypeOf(recorded.position).toBeString()
  }
  if (Closed.is(one)) expectTypeOf(one).toEqualTypeOf<Recorded<'BankAccount.Closed', NoData>>()
  else if (!Withdrawn.is(one)) expectTypeOf(one.type).toEqualTypeOf<`BankAccount.${'Opened' | 'Deposited'}`>()
  expectTypeOf([recorded].filter(Deposited.is)).items.toExtend<{ data: { amount: number } }>()
})
