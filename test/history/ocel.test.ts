import { expect, test } from 'vitest'
import { execute, subject } from 'mneme'
import { eraseSubject } from 'mneme/erasure'
import { exportOcel, type OcelOptions } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import type { EventStore, Recorded } from 'mneme'
import { Customer, register, ringOf } from '../erasure/customers.ts'

/**
 * What the standard demands: section 8.2, "JSON Schema Definition", of the OCEL 2.0 specification (RWTH Aachen, 16 October 2023),
 * which is also published as ocel20-schema-json.json. `!` marks what is required.
 */
const list = (item: Table | Text): readonly [Table | Text] => [item]
type Text = 'text' | 'date-time'
interface Table {
  readonly [name: string]: Text | Table | readonly [Table | Text]
}
const declared = list({ 'name!': 'text', 'attributes!': list({ 'name!': 'text', 'type!': 'text' }) })
const relationships = list({ 'objectId!': 'text', 'qualifier!': 'text' })
const OCEL: Table = {
  'eventTypes!': declared,
  'objectTypes!': declared,
  'events!': list({
    ...{ 'id!': 'text', 'type!': 'text', 'time!': 'date-time' },
    attributes: list({ 'name!': 'text', 'value!': 'text' }),
    relationships,
  }),
  'objects!': list({
    ...{ 'id!': 'text', 'type!': 'text' },
    attributes: list({ 'name!': 'text', 'value!': 'text', 'time!': 'date-time' }),
    relationships,
  }),
}

function* faultsOf(value: unknown, wanted: Table[string], path: string): Generator<string, void> {
  if (typeof wanted === 'string') {
    if (typeof value !== 'string') yield `${path} is no text`
    else if (wanted === 'date-time' && Number.isNaN(Date.parse(value))) yield `${path} is no time`
  } else if (Array.isArray(wanted)) {
    if (!Array.isArray(value)) yield `${path} is no list`
    else
      for (const [i, item] of value.entries())
        yield* faultsOf(item, wanted[0] as Table, `${path}[${String(i)}]`)
  } else {
    for (const [name, inner] of Object.entries(wanted as Table)) {
      const key = name.replace('!', '')
      const member = (value as Record<string, unknown>)[key]
      if (member !== undefined) yield* faultsOf(member, inner, `${path}.${key}`)
      else if (name !== key) yield `${path} lacks ${key}`
    }
  }
}

interface Log {
  readonly eventTypes: readonly { name: string; attributes: readonly { name: string; type: string }[] }[]
  readonly objectTypes: readonly { name: string }[]
  readonly events: readonly {
    id: string
    type: string
    attributes: readonly { name: string; value: string }[]
    relationships: readonly { objectId: string; qualifier: string }[]
  }[]
  readonly objects: readonly { id: string; type: string }[]
}

const VALUES: Record<string, (value: string) => boolean> = {
  string: () => true,
  time: (value) => !Number.isNaN(Date.parse(value)),
  integer: (value) => Number.isInteger(Number(value)),
  float: (value) => !Number.isNaN(Number(value)),
  boolean: (value) => value === 'true' || value === 'false',
}

/** Exports a store, and checks what the standard demands of the log: its tables, and that everything named is declared. */
async function exported(store: EventStore, options?: OcelOptions): Promise<Log> {
  let text = ''
  for await (const piece of exportOcel(store, options)) text += piece
  const log = JSON.parse(text) as Log
  expect([...faultsOf(log, OCEL, 'log')]).toEqual([])
  const types = new Map(
    log.eventTypes.map(({ name, attributes }) => [name, new Map(attributes.map((a) => [a.name, a.type]))]),
  )
  const objects = new Map(log.objects.map(({ id, type }) => [id, type]))
  expect(objects.size).toBe(log.objects.length)
  expect(new Set(log.events.map(({ id }) => id)).size).toBe(log.events.length)
  for (const { type } of log.objects) expect(log.objectTypes.map(({ name }) => name)).toContain(type)
  for (const { type, attributes, relationships } of log.events) {
    for (const { name, value } of attributes) {
      const declaredAs = types.get(type)?.get(name)
      expect(
        VALUES[declaredAs ?? 'missing']?.(value),
        `${type}.${name}: ${value} is ${String(declaredAs)}`,
      ).toBe(true)
    }
    for (const { objectId } of relationships) expect(objects.has(objectId)).toBe(true)
  }
  return log
}

test('a history is exported as an OCEL 2.0 log, with declared types and related objects', async () => {
  const store = memoryStore()
  const order = {
    stream: 'Order-1',
    events: [
      {
        type: 'Order.Placed',
        data: {
          total: 12,
          paid: false,
          due: '2026-01-31T12:00:00.000Z',
          to: { city: 'Turin', lines: ['a'] },
          note: null,
        },
      },
      { type: 'Order.Placed', data: { total: 1.5, paid: true, due: 'soon', customer: 'Customer-7' } },
    ],
  }
  await store.append(order, { metadata: { actor: 'eve' } })
  await store.append({ stream: 'Invoice-<"é>', events: [{ type: 'Order.Paid', data: {} }] })
  await store.append({ stream: 'Gone-1', events: [{ type: 'Gone.Fact', data: {} }] })
  await store.delete('Gone-1')
  const relations = ({ data }: Recorded) => {
    const { customer } = data as { customer?: string }
    return customer === undefined
      ? []
      : [
          { object: customer, qualifier: 'buyer' },
          { object: customer, qualifier: 'buyer' },
        ]
  }
  const log = await exported(store, { relations })
  expect(log.eventTypes).toMatchObject([
    {
      name: 'Order.Placed',
      attributes: [
        { name: 'total', type: 'float' },
        { name: 'paid', type: 'boolean' },
        { name: 'due', type: 'string' },
        { name: 'to.city', type: 'string' },
        { name: 'to.lines', type: 'string' },
        { name: '@actor', type: 'string' },
        { name: 'customer', type: 'string' },
      ],
    },
    { name: 'Order.Paid', attributes: [] },
  ])
  expect(log.objects.map(({ id, type }) => [id, type])).toEqual([
    ['Order-1', 'Order'],
    ['Customer-7', 'Customer'],
    ['Invoice-<"é>', 'Invoice'],
  ])
  expect(log.events[1]?.relationships).toEqual([
    { objectId: 'Order-1', qualifier: 'stream' },
    { objectId: 'Customer-7', qualifier: 'buyer' },
  ])
  expect((await exported(store, { categories: ['Invoice'] })).events).toHaveLength(1)
  expect(await exported(memoryStore())).toEqual({ events: [], objects: [], objectTypes: [], eventTypes: [] })
  await expect(exported(store, { relations: () => undefined as never })).rejects.toThrow('is no list')
})

test('sealed personal values, and what tells of erasures, are not exported', async () => {
  const store = memoryStore({ personal: ringOf() })
  await execute(store, register({ id: 'c-1', plan: 'basic', email: 'ada@example.org' }))
  await eraseSubject(store, subject('customer', 'c-1'))
  const { events } = await exported(store)
  expect(events).toMatchObject([
    { type: 'Customer.Registered', relationships: [{ objectId: Customer('c-1').stream }] },
  ])
  expect(events[0]?.attributes.map(({ name }) => name)).not.toContain('email')
})
