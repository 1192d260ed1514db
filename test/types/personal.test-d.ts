import { expectTypeOf, test } from 'vitest'
import * as z from 'zod'
import { defineEvents, event, type Event, load, type Sealed, subject, type EventStore } from 'mneme'
import { type Erased, reveal } from 'mneme/erasure'
import { Customer, Registered } from '../erasure/customers.ts'

const of = () => subject('person', '1')

test('an event is made with plain or sealed values, and holds sealed ones', () => {
  expectTypeOf(Registered)
    .parameter(0)
    .toEqualTypeOf<{ id: string; plan: string; email: string | Sealed<string> }>()
  expectTypeOf(Registered({ id: '1', plan: 'a', email: 'b' })).toEqualTypeOf<
    Event<'Customer.Registered', { id: string; plan: string; email: Sealed<string> }>
  >()
})

test('a schema says what an event is made with', () => {
  const spec = event(z.object({ id: z.string(), age: z.string().transform(Number) })).personal({ age: of })
  const { Made } = defineEvents('A', { Made: spec })
  expectTypeOf(Made).parameter(0).toEqualTypeOf<{ id: string; age: string }>()
  expectTypeOf(Made({ id: '1', age: '7' }).data).toEqualTypeOf<{ id: string; age: Sealed<number> }>()
})

test('an event with a schema is made with plain values only, because a schema cannot check a sealed one', () => {
  const plain = z.object({ id: z.string(), email: z.string() })
  const { Made, Later, Untyped } = defineEvents('A', {
    Made: event(plain).personal({ email: of }),
    Later: event<{ id: string }>()
      .next(plain, ({ id }) => ({ id, email: '' }))
      .formerly('A.Sooner')
      .personal({ email: of }),
    Untyped: event(plain)
      .next((old) => old)
      .personal({ email: of }),
  })
  expectTypeOf(Made).parameter(0).toEqualTypeOf<{ id: string; email: string }>()
  expectTypeOf(Later).parameter(0).toEqualTypeOf<{ id: string; email: string }>()
  expectTypeOf(Made({ id: '1', email: 'a' }).data).toEqualTypeOf<{ id: string; email: Sealed<string> }>()
  const sealed = Made({ id: '1', email: 'a' }).data.email
  // @ts-expect-error -- it has to be revealed before
  Made({ id: '1', email: sealed })
  Untyped({ id: '1', email: sealed })
})

test('optional and nested fields, and the items of arrays, are sealed one by one', () => {
  const { Made } = defineEvents('A', {
    Made: event<{
      at: { city?: string; zip: string }
      people: readonly { id: string; name: string }[]
    }>().personal({
      at: { city: of },
      people: { name: (_data, person) => subject('person', person.id) },
    }),
  })
  expectTypeOf(Made({ at: { zip: '1' }, people: [] }).data).toEqualTypeOf<{
    at: { city?: Sealed<string>; zip: string }
    people: readonly { id: string; name: Sealed<string> }[]
  }>()
})

test('a sealed value is no string: the compiler asks to reveal it, and then whether it was erased', async () => {
  const store = {} as EventStore
  const { state } = await load(store, Customer('1'))
  // @ts-expect-error -- a sealed value is no string
  state.email satisfies string | undefined
  expectTypeOf(await reveal(store, state.email)).toEqualTypeOf<string | Erased | undefined>()
  expectTypeOf((await reveal(store, state)).plan).toEqualTypeOf<string>()
  expectTypeOf(await reveal(store, [{ a: state.email! }])).toEqualTypeOf<
    readonly { readonly a: string | Erased }[]
  >()
})

test('a misspelt field is an error, and so is a version that forgets its personal fields', () => {
  // @ts-expect-error -- there is no such field
  event<{ name: string }>().personal({ nmae: of })
  const spec = event<{ name: string }>()
    .personal({ name: of })
    .next((old) => ({ ...old, kind: 'natural' }))
  const { Made } = defineEvents('A', { Made: spec })
  // @ts-expect-error -- name is sealed
  Made({ name: 'Ada', kind: 'natural' })
  const again = defineEvents('A', { Made: spec.personal({ name: of }) })
  expectTypeOf(again.Made).parameter(0).toEqualTypeOf<{ name: string | Sealed<string>; kind: string }>()
  expectTypeOf(again.Made({ name: 'Ada', kind: 'natural' }).data).toEqualTypeOf<{
    name: Sealed<string>
    kind: string
  }>()
})
