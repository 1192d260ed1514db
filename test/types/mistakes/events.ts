import * as v from 'valibot'
import * as z from 'zod'
import { defineAggregate, defineEvents, event } from 'mneme'
import { Noted, Withdrawn } from './domain.ts'

// wrong data
Withdrawn({ amount: '5' })

// missing data
Withdrawn()

// data with a property too many
Withdrawn({ amount: 5, note: 'x' })

// data of an event that has none
Noted({ why: 'x' })

// undefined where a property may only be left out
defineEvents('S', { E: event<{ note?: string }>() }).E({ note: undefined })

// data that is not JSON: a Date
export const dated = event<{ at: Date }>()

// data that is not JSON: a Map, deep inside
export const mapped = event<{ items: { prices: Map<string, number> }[] }>()

// data that is not JSON: a bigint or a function
export const others = event<{ id: bigint; call: () => void }>()

// data that is no object
defineEvents('S', { E: event<string>() })
defineEvents('S', { E: event<string[]>() })

// a schema whose output is not JSON
defineEvents('S', { E: z.object({ at: z.date() }) })

// a schema whose output is not JSON, by transform
defineEvents('S', {
  E: v.object({
    at: v.pipe(
      v.string(),
      v.transform((text) => new Date(text)),
    ),
  }),
})

// a schema whose output is not JSON, deep inside
defineEvents('S', { E: z.object({ items: z.array(z.object({ at: z.date() })), id: z.bigint() }) })

// a schema of no object
defineEvents('S', { E: z.string() })

// the input of a schema is wrong
defineEvents('S', { E: z.object({ n: z.string().transform(Number) }) }).E({ n: 1 })

// an upcast that gives what is not JSON
event<{ n: number }>().next((old) => ({ m: old.n, at: new Date() }))

// an upcast that gives what is not JSON, in an aggregate
defineAggregate({
  name: 'A',
  events: { E: event<{ n: number }>().next((old) => ({ m: old.n, at: new Date() })) },
  initial: () => ({ n: 0 }),
  apply: { E: (_, { m }) => ({ n: m }) },
})

// an upcast that reads what the older version had not
event<{ n: number }>().next((old) => ({ m: old.m }))

// an upcast that does not fit its schema
event<{ n: number }>().next(z.object({ m: z.number() }), (old) => ({ m: String(old.n) }))

// formerly without the text
event().formerly(Withdrawn)

// a shape instead of event(): the type parameter was forgotten
defineEvents('S', { E: { amount: 0 } })

// the constructor of an event, not called
event(Withdrawn)
