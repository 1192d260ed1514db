import { expect, test } from 'vitest'
import { asyncapi, catalogue, type Catalogue, eventCatalogFiles } from 'mneme/catalogue'
import { model } from './program.ts'

const whole = catalogue(model)
const options = { title: 'Shop', version: '1.2.0' }

test('an AsyncAPI document has a channel for each aggregate, and an operation for what writes and reads', () => {
  const document = asyncapi(whole, { ...options, description: 'Sells things.' }) as {
    info: unknown
    channels: Record<string, { address: string; messages: object }>
    operations: Record<string, { action: string; channel: unknown; messages: unknown[] }>
  }
  expect(document.info).toEqual({ ...options, description: 'Sells things.' })
  expect(Object.entries(document.channels).map(([key, { address }]) => [key, address])).toEqual([
    ['Email', 'Email-{id}'],
    ['Ledger', 'Ledger-{id}'],
    ['Order', 'Order-{id}'],
  ])
  expect(Object.keys(document.channels.Ledger!.messages)).toEqual(['Order.Cancelled'])
  expect(Object.entries(document.operations).map(([key, { action }]) => `${action} ${key}`)).toEqual([
    'send command.order.place.Email',
    'send command.order.place.Order',
    'send command.order.ship.Order',
    'receive projection.orders.Ledger',
    'receive projection.orders.Order',
    'receive reaction.expiry.Order',
    'receive relay.broker.Ledger',
    'receive relay.broker.Order',
  ])
  expect(document.operations['command.order.place.Email']).toMatchObject({
    summary: 'Places an order.',
    channel: { $ref: '#/channels/Email' },
    messages: [{ $ref: '#/channels/Email/messages/Email.Claimed' }],
  })
})

test('references of schemas lead to components of the document', () => {
  const json = JSON.stringify(asyncapi(whole, options))
  const document = JSON.parse(json) as object
  const references = [...json.matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!)
  expect(references.filter((reference) => reference.startsWith('#/components/schemas/'))).toContain(
    '#/components/schemas/Order.Placed_Money',
  )
  for (const reference of references) {
    const found = reference
      .slice(2)
      .split('/')
      .reduce<unknown>((node, key) => (node as Record<string, unknown>)[key.replaceAll('~1', '/')], document)
    expect(found, reference).toBeDefined()
  }
  expect(json).not.toMatch(/"\$ref":"#\/(?:\$defs|definitions)/)
})

test('keys are made of names that AsyncAPI does not allow as keys', () => {
  const event = whole.events['Email.Claimed']!
  const named: Catalogue = {
    ...whole,
    aggregates: { Größe: { events: ['Größe.Set', 'Gräße.Set'] } },
    events: {
      'Größe.Set': { ...event, aggregates: ['Größe'] },
      'Gräße.Set': { ...event, aggregates: ['Größe'] },
    },
  }
  const { channels } = asyncapi(named, options) as { channels?: unknown }
  expect(channels).toMatchObject({
    Gr__e: {
      messages: { 'Gr__e.Set': expect.anything() as object, 'Gr__e.Set_2': expect.anything() as object },
    },
  })
})

test('an EventCatalog has a page for each event, command and aggregate, and a service for all that handles them', () => {
  const files = eventCatalogFiles(whole, {
    service: 'Shop',
    version: '1.2.0',
    summary: 'Sells "things": all.',
  })
  expect(Object.keys(files).filter((path) => path.startsWith('services/'))).toEqual([
    'services/Shop/index.mdx',
    'services/projection.orders/index.mdx',
    'services/reaction.expiry/index.mdx',
    'services/relay.broker/index.mdx',
  ])
  expect(files['events/Order.Placed/index.mdx']).toBe(
    [
      '---',
      'id: "Order.Placed"',
      'name: "Order.Placed"',
      'version: "2.0.0"',
      'schemaPath: "schema.json"',
      '---',
      '',
      'On streams of Order.',
      '',
      'Formerly Order.Created.',
      '',
      'Written by order.place.',
      '',
    ].join('\n'),
  )
  expect(JSON.parse(files['events/Order.Placed/schema.json']!)).toEqual(whole.events['Order.Placed']?.schema)
  expect(files).not.toHaveProperty(['events/Order.Cancelled/schema.json'])
  expect(files['services/Shop/index.mdx']).toContain('summary: "Sells \\"things\\": all."')
})

test('wrong arguments are refused', () => {
  expect(() => asyncapi({} as Catalogue, options)).toThrow('catalogue must be what catalogue() returned')
  expect(() => asyncapi(whole, { title: ' ', version: '1' })).toThrow(
    'title must be a text that is not blank',
  )
  expect(() => asyncapi(whole, { ...options, name: 'x' } as never)).toThrow("unknown option 'name'")
  expect(() => eventCatalogFiles(whole, { service: 'a b', version: '1' })).toThrow('service must be a name')
})
