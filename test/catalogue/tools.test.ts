import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { asyncapi, catalogue, eventCatalogFiles } from 'mneme/catalogue'
import { onDemand } from '../support/on-demand.ts'
import { model } from './program.ts'

// What Mneme writes is read by the tools that it is written for.

const { folder, problem } = onDemand('@asyncapi/parser@3.6.6', '@eventcatalog/sdk@2.27.1')
const require = createRequire(import.meta.url)
const whole = catalogue(model)
const catalog = mkdtempSync(join(tmpdir(), 'mneme-catalog-'))
afterAll(() => {
  rmSync(catalog, { recursive: true, force: true })
})

interface Parsed {
  readonly document?: { allOperations(): unknown[]; allMessages(): { all(): ParsedMessage[] } }
  readonly diagnostics: readonly { readonly severity: number; readonly message: string }[]
}
interface ParsedMessage {
  name(): string
  payload(): { json(): { schema?: object } } | undefined
}

test('the parser of AsyncAPI finds no error, and every schema at its message', async ({ skip }) => {
  if (problem !== undefined) skip(problem)
  const { Parser } = require(join(folder, '@asyncapi/parser')) as {
    Parser: new () => { parse(text: string): Promise<Parsed> }
  }
  const text = JSON.stringify(asyncapi(whole, { title: 'Shop', version: '1.2.0' }))
  const { document, diagnostics } = await new Parser().parse(text)
  expect(diagnostics.filter(({ severity }) => severity < 2).map(({ message }) => message)).toEqual([])
  const shown = new Map(
    document!
      .allMessages()
      .all()
      .map((message) => [message.name(), message.payload()?.json().schema]),
  )
  expect([...shown.keys()].sort()).toEqual(Object.keys(whole.events))
  for (const [type, { schema }] of Object.entries(whole.events)) {
    const properties = Object.keys((schema?.properties as object | undefined) ?? {})
    expect(Object.keys((shown.get(type) as { properties?: object } | undefined)?.properties ?? {})).toEqual(
      properties,
    )
  }
  const { parent } = (shown.get('Order.Sorted') as { properties: { parent: { properties: object } } })
    .properties
  expect(Object.keys(parent.properties)).toEqual(['name', 'parent'])
})

describe('the SDK of EventCatalog reads', () => {
  type Read = (id: string, version?: string) => Promise<Record<string, unknown>>
  const sdk = () => {
    for (const [path, text] of Object.entries(
      eventCatalogFiles(whole, { service: 'Shop', version: '1.2.0', summary: 'Sells "things": all.' }),
    )) {
      mkdirSync(dirname(join(catalog, path)), { recursive: true })
      writeFileSync(join(catalog, path), text)
    }
    const open = (
      require(join(folder, '@eventcatalog/sdk')) as { default: (path: string) => Record<string, Read> }
    ).default
    return open(catalog)
  }

  test('events with their schemas, commands, entities and services', async ({ skip }) => {
    if (problem !== undefined) skip(problem)
    const { getEvent, getCommand, getEntity, getService, getSchemaForMessage } = sdk()
    expect(await getEvent!('Order.Placed')).toMatchObject({
      version: '2.0.0',
      schemaPath: 'schema.json',
      markdown: expect.stringContaining('Formerly Order.Created.') as string,
    })
    const { schema } = await getSchemaForMessage!('Order.Placed')
    expect(JSON.parse(schema as string)).toEqual(whole.events['Order.Placed']?.schema)
    expect(await getCommand!('order.place')).toMatchObject({ version: '1.2.0', summary: 'Places an order.' })
    expect(await getEntity!('Order')).toMatchObject({ aggregateRoot: true })
    expect(await getService!('Shop')).toMatchObject({
      summary: 'Sells "things": all.',
      sends: expect.arrayContaining([{ id: 'Order.Placed', version: '2.0.0' }]) as unknown[],
      receives: [
        { id: 'order.cancel', version: '1.2.0' },
        { id: 'order.place', version: '1.2.0' },
        { id: 'order.ship', version: '1.2.0' },
      ],
    })
    expect(await getService!('reaction.expiry')).toMatchObject({
      receives: [{ id: 'Order.Placed', version: '2.0.0' }],
      sends: [{ id: 'order.cancel', version: '1.2.0' }],
    })
  })
})
