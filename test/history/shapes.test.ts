import * as v from 'valibot'
import { beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineAggregate, event, type EventStore, type StandardSchemaV1, subject } from 'mneme'
import { checkShapes, type RecordedShapes, recordShapes } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { ringOf } from '../erasure/customers.ts'
import { counted, Person, record, registered } from './program.ts'

let store: EventStore
beforeEach(() => {
  store = memoryStore()
})

const DAY = expect.stringMatching(/^\d{4}-\d\d-\d\d$/) as string

/** An aggregate `Order` with the one event `Order.Placed`. */
const orderWith = (schema: StandardSchemaV1) =>
  defineAggregate({
    name: 'Order',
    events: { Placed: schema as unknown as StandardSchemaV1<{ any?: string }> },
    initial: () => ({}),
    apply: { Placed: (state) => state },
  })
const Order = orderWith(event())
const placed = (...data: readonly Record<string, unknown>[]) =>
  record(store, 'Order-1', ...data.map((one) => ({ type: 'Order.Placed', data: one })))
const fieldsOf = async (options?: Parameters<typeof recordShapes>[2]) =>
  (await recordShapes(store, [Order], options)).categories.Order?.['Order.Placed']?.['1']?.fields

describe('recording', () => {
  test('recorded shapes are types, versions, counts, days and fields, sorted', async () => {
    await record(store, 'Person-1', registered('Byron'), counted())
    await record(store, 'Person-2', { type: 'Person.Registered', data: { name: 'Ada' } }, registered('King'))
    await record(store, 'Invoice-1', { type: 'Invoice.Sent', data: {} })
    await placed({})
    const shapes = await recordShapes(store, [Person, Order])
    const days = { first: DAY, last: DAY }
    expect(shapes).toEqual({
      format: 'mneme shapes 1',
      categories: {
        Order: { 'Order.Placed': { 1: { events: 1, ...days, fields: {} } } },
        Person: {
          'Person.Counted': { 1: { events: 1, ...days, fields: { by: 'number' } } },
          'Person.Registered': {
            1: { events: 1, ...days, fields: { name: 'string' } },
            2: { events: 2, ...days, fields: { first: 'string', last: 'string', visits: 'array' } },
          },
        },
      },
    })
    expect(Object.keys(shapes.categories)).toEqual(['Order', 'Person'])
    expect(JSON.parse(JSON.stringify(shapes))).toEqual(shapes)
  })

  test('recorded shapes tell optional, mixed and nested fields apart', async () => {
    await placed(
      { id: '1', note: null, lines: [{ sku: 'a', n: 1 }, { sku: 'b' }], to: { city: 'x' }, tags: [] },
      { id: 2, lines: [], to: { city: null, zip: 1 }, tags: [['a'], 1], gift: { for: 'x' }, empty: {} },
    )
    expect(await fieldsOf()).toEqual({
      'empty?': 'object',
      'gift?': 'object',
      'gift.for': 'string',
      id: 'string | number',
      'lines[].n?': 'number',
      'lines[].sku': 'string',
      'note?': 'null',
      'tags[]': 'number | array',
      'tags[][]': 'string',
      'to.city': 'string | null',
      'to.zip?': 'number',
    })
  })

  test('recorded shapes show no key that is a value', async () => {
    await placed({ seats: { 'ada@example.org': { row: 1 }, '7': { row: null } } })
    expect(await fieldsOf()).toEqual({ 'seats.*.row': 'number | null' })
    for (let i = 0; i < 60; i++) await placed({ seats: { [`seat${i}`]: { row: 'x', [`at${i}`]: 1 } } })
    expect(await fieldsOf()).toEqual({ 'seats.*.*': 'string | number | null' })
    store = memoryStore()
    await placed({ seats: { ada: 1 } })
    expect(await fieldsOf()).toEqual({ 'seats.ada': 'number' })
    expect(await fieldsOf({ dictionaries: { 'Order.Placed': ['seats'] } })).toEqual({ 'seats.*': 'number' })
  })

  test('recorded shapes show of a personal value only that it is sealed', async () => {
    const sent = event(z.object({ email: z.email(), to: z.array(z.object({ name: z.string() })).optional() }))
    const Letter = defineAggregate({
      name: 'Letter',
      events: {
        Sent: sent.personal({
          email: () => subject('person', '1'),
          to: { name: () => subject('person', '2') },
        }),
      },
      initial: () => ({}),
      apply: { Sent: () => ({}) },
    })
    store = memoryStore({ personal: ringOf() })
    const { Sent } = Letter.events
    const letters = [Sent({ email: 'a@b.cz', to: [{ name: 'Ada' }] }), Sent({ email: 'b@b.cz' })]
    await store.append({ stream: Letter('1'), events: letters })
    const recorded = await recordShapes(store, [Letter])
    const fields = recorded.categories.Letter?.['Letter.Sent']?.['1']?.fields
    expect(fields).toEqual({ email: 'sealed', 'to?': 'array', 'to[].name': 'sealed' })
    expect(checkShapes(recorded, [Letter])).toEqual([])
  })

  test('recorded shapes stop at data that is nested without end', async () => {
    let data: Record<string, unknown> = {}
    for (let i = 0; i < 40; i++) data = { inner: data }
    await placed(data)
    expect(await fieldsOf()).toEqual({ [Array.from({ length: 16 }, () => 'inner').join('.')]: 'object' })
  })

  test('recording shapes tells its progress, and can be aborted', async () => {
    await placed(...Array.from({ length: 1_500 }, () => ({})))
    const told: number[] = []
    await recordShapes(store, [Order], { onProgress: (events) => told.push(events) })
    expect(told).toEqual([1_000, 1_500])
    await expect(recordShapes(store, [Order], { signal: AbortSignal.abort('enough') })).rejects.toBe('enough')
  })
})

describe('a program is checked by recorded shapes:', () => {
  const shapes = () => recordShapes(store, [Person, Order])

  test('what it can read has no findings', async () => {
    await record(store, 'Person-1', { type: 'Person.Registered', data: { name: 'Ada Byron' } }, counted())
    await record(store, 'Person-1', { type: 'Person.Relocated', data: { to: 'London' } }, registered('King'))
    const file = JSON.parse(JSON.stringify(await shapes())) as RecordedShapes
    expect(checkShapes(file, [Person])).toEqual([])
  })

  test('unknown categories and types, and newer versions, are found', async () => {
    await placed({})
    await record(
      store,
      'Person-1',
      { type: 'Person.Deleted', data: {} },
      { type: 'Person.Deleted', data: {} },
    )
    await record(store, 'Person-1', { ...registered('Byron'), version: 3 })
    expect(checkShapes(await shapes(), [Person])).toEqual([
      { kind: 'unknown-category', category: 'Order', type: 'Order.Placed', version: 1, events: 1, last: DAY },
      {
        kind: 'unknown-type',
        category: 'Person',
        type: 'Person.Deleted',
        version: 1,
        events: 2,
        last: DAY,
      },
      {
        kind: 'newer-version',
        category: 'Person',
        type: 'Person.Registered',
        version: 3,
        events: 1,
        last: DAY,
      },
    ])
  })

  const line = { sku: z.string(), n: z.number() }
  test.each([
    ['that no event has', z.object({ id: z.uuid(), to: z.string() }), ['to']],
    ['that some lack', z.object({ id: z.uuid(), note: z.string().min(9) }), ['note']],
    [
      'in items',
      z.object({ lines: z.array(z.object({ ...line, price: z.int() })) }),
      ['lines[].n', 'lines[].price'],
    ],
    [
      'in an object that some lack',
      z.object({ gift: z.object({ for: z.email(), by: z.string() }) }),
      ['gift', 'gift.by'],
    ],
    [
      'by Valibot',
      v.object({ id: v.pipe(v.string(), v.uuid()), to: v.string(), note: v.string() }),
      ['note', 'to'],
    ],
  ])('a field that the schema demands and %s is found', async (_, schema, paths) => {
    const id = 'b6a8a0d6-7f0c-4c0e-9a43-5b1c9c9c9c9c'
    await placed(
      { id, lines: [{ sku: 'a', n: 1 }, { sku: 'b' }], note: 'a long note' },
      { id, lines: [], gift: { for: 'ada@example.org' } },
    )
    expect(checkShapes(await shapes(), [orderWith(schema)])).toMatchObject([
      { kind: 'missing-field', type: 'Order.Placed', version: 1, events: 2, paths },
    ])
  })

  test.each([
    ['an optional field', z.object({ id: z.string(), note: z.string().optional() })],
    ['a default', z.object({ id: z.string(), note: z.string().default('') })],
    [
      'either of two fields',
      z.object({ a: z.int().optional(), b: z.int().optional() }).refine((o) => o.a ?? o.b),
    ],
    [
      'either of two fields, told at a field',
      z.object({ a: z.int().optional(), b: z.int().optional() }).superRefine((o, context) => {
        if (o.a === undefined && o.b === undefined) context.addIssue({ code: 'custom', path: ['a'] })
      }),
    ],
    [
      'kinds with fields of their own',
      z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('a'), a: z.int() }),
        z.object({ kind: z.literal('b'), b: z.int() }),
      ]),
    ],
    ['other values than made-up ones', z.object({ id: z.uuid(), kind: z.enum(['a', 'b']) })],
    [
      'values by a rule that throws',
      z.custom(() => {
        throw new Error('no')
      }),
    ],
    ['keys that are values', z.object({ seats: z.record(z.uuid(), z.object({ row: z.int() })) })],
  ])('nothing is claimed of a schema with %s', async (_, schema) => {
    const id = 'b6a8a0d6-7f0c-4c0e-9a43-5b1c9c9c9c9c'
    await placed(
      { id, kind: 'a', a: 1, seats: { [id]: { row: 1 } }, note: 'x' },
      { id, kind: 'b', b: 1, seats: {} },
    )
    expect(checkShapes(await shapes(), [orderWith(schema)])).toEqual([])
  })

  test('a sealed field is there, whatever its schema says of its value', () => {
    const shape = { events: 1, first: '2020-01-01', last: '2020-01-01', fields: { email: 'sealed' } }
    const recorded = { format: 'mneme shapes 1', categories: { Order: { 'Order.Placed': { 1: shape } } } }
    const schema = z.object({ email: z.email(), name: z.string() })
    expect(checkShapes(recorded, [orderWith(schema)])).toMatchObject([{ paths: ['name'] }])
  })

  test('an older version is not compared with the schema, and neither is an unchecked event', async () => {
    await record(store, 'Person-1', { type: 'Person.Registered', data: {} })
    expect(checkShapes(await shapes(), [Person])).toEqual([])
    await placed({ grams: 1 })
    const Scale = orderWith(
      z.object({ weight: z.string() }).transform(({ weight }) => ({ grams: Number(weight) })),
    )
    const recorded = await recordShapes(store, [Order])
    expect(checkShapes(recorded, [Scale])).toMatchObject([{ paths: ['weight'] }])
    expect(checkShapes(recorded, [Scale], { unchecked: [Scale.events.Placed] })).toEqual([])
  })

  test('a file that is of no known format is refused', () => {
    const refused = (shapes: unknown) => expect(() => checkShapes(shapes as RecordedShapes, [Person]))
    refused(undefined).toThrow("shapes must be what recordShapes returned, of the format 'mneme shapes 1'")
    refused({ format: 'mneme shapes 2', categories: {} }).toThrow('format')
    refused({ format: 'mneme shapes 1' }).toThrow('a part of it is missing')
    const categories = { Person: { 'Person.Moved': { one: { events: 1, fields: {} } } } }
    refused({ format: 'mneme shapes 1', categories }).toThrow(
      "['Person.Moved']['one'] must be a recorded shape",
    )
  })
})
