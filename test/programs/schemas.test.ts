import * as v from 'valibot'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { defineAggregate, event, InvalidDataError } from 'mneme'
import { memoryStore } from 'mneme/memory'

const Cart = defineAggregate({
  name: 'Cart',
  events: {
    Started: z.object({ customer: z.string().brand<'CustomerId'>(), currency: z.string().default('EUR') }),
    Added: v.object({
      sku: v.pipe(v.string(), v.trim(), v.brand('Sku')),
      quantity: v.optional(v.number(), 1),
    }),
    Noted: event<{ note?: string; tags?: readonly string[] }>(),
    Paid: event<{ method: 'card'; last4: string } | { method: 'cash' }>(),
    Chosen: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('lines'), lines: z.number() }),
      z.object({ kind: z.literal('nothing') }),
    ]),
    Weighed: z.object({ grams: z.string().transform(Number) }),
    Closed: event(),
  },
  initial: () => ({ customer: '', lines: 0, paid: false, grams: 0 }),
  apply: {
    Started: (state, { customer, currency }) => ({ ...state, customer: `${customer}/${currency}` }),
    Added: (state, { quantity }) => ({ ...state, lines: state.lines + quantity }),
    Noted: (state, { note }) => (note ? state : state),
    Paid: (state, pay) => ({ ...state, paid: pay.method === 'card' ? pay.last4 !== '' : true }),
    Chosen: (state, choice) => (choice.kind === 'lines' ? { ...state, lines: choice.lines } : state),
    Weighed: (state, { grams }) => ({ ...state, grams: state.grams + grams }),
    Closed: (state) => state,
  },
})
const { Started, Added, Noted, Paid, Chosen, Weighed, Closed } = Cart.events

test('what a schema returns is the data, of whichever library', () => {
  expect(Started({ customer: 'c1' })).toEqual({
    type: 'Cart.Started',
    data: { customer: 'c1', currency: 'EUR' },
  })
  expect(Added({ sku: ' x ' })).toEqual({ type: 'Cart.Added', data: { sku: 'x', quantity: 1 } })
  expect(Chosen({ kind: 'lines', lines: 2 }).data).toEqual({ kind: 'lines', lines: 2 })
  const customer: string & z.BRAND<'CustomerId'> = Started({ customer: 'x' }).data.customer
  expect(customer).toBe('x')
})

test('data that is optional, or that there is none of, may be left out', () => {
  expect(
    [Noted(), Noted({ note: 'hi' }), Paid({ method: 'cash' }), Closed()].map(({ data }) => data),
  ).toEqual([{}, { note: 'hi' }, { method: 'cash' }, {}])
})

test('a schema refuses when the event is made', () => {
  expect(() => Added({ sku: 3 as never })).toThrow(InvalidDataError)
  expect(() => Started({} as never)).toThrow(/Cart\.Started was refused: data\.customer/)
})

test('a transform runs once: what is stored is not parsed again', async () => {
  const store = memoryStore()
  const cart = Cart('1')
  await store.append({ stream: cart, events: [Weighed({ grams: '250' }), Weighed({ grams: '50' })] })
  const stored: unknown[] = []
  let state = Cart.initial()
  for await (const recorded of store.read(cart)) {
    stored.push(recorded.data)
    if (Weighed.is(recorded)) state = Cart.evolve(state, recorded)
  }
  expect(stored).toEqual([{ grams: 250 }, { grams: 50 }])
  expect(state.grams).toBe(300)
})
