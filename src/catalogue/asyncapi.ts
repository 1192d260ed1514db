import { checkOptions } from '../base/arguments.ts'
import { type Catalogue, checkCatalogue } from './catalogue.ts'
import type { JsonSchema } from './json-schema.ts'
import { checkSummary, checkTitle } from './texts.ts'

/** Options of `asyncapi`. */
export interface AsyncApiOptions {
  readonly title: string
  /** The version of the program, or of its interface. */
  readonly version: string
  readonly description?: string | undefined
}

/** An AsyncAPI document: plain JSON. */
export interface AsyncApiDocument {
  readonly asyncapi: '3.0.0'
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly defaultContentType: string
  readonly channels: Readonly<Record<string, object>>
  readonly operations: Readonly<Record<string, object>>
  readonly components: {
    readonly messages: Readonly<Record<string, object>>
    readonly schemas: Readonly<Record<string, object>>
  }
}

const SCHEMA_FORMAT = 'application/schema+json;version=draft-2020-12'

/**
 * A catalogue as an AsyncAPI 3 document: a channel for the streams of each aggregate, a message for each type of event, and
 * an operation for each command, projection, reaction and relay on each channel that it writes or reads.
 *
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const document = asyncapi(catalogue({ aggregates: [Door] }), { title: 'House', version: '1.0.0' })
 * ```
 */
export function asyncapi(catalogue: Catalogue, options: AsyncApiOptions): AsyncApiDocument {
  checkCatalogue(catalogue, 'catalogue')
  checkOptions(options, 'options', ['title', 'version', 'description'])
  const description = checkSummary(options.description, 'description')
  const [title, version] = [checkTitle(options.title, 'title'), checkTitle(options.version, 'version')]
  const { aggregates, events } = catalogue
  const keys = new Keys()
  const schemas: Record<string, object> = {}
  const messages: Record<string, object> = {}
  for (const [type, event] of Object.entries(events)) {
    const key = keys.of(type)
    if (event.schema) Object.assign(schemas, hoisted(event.schema, key, keys))
    messages[key] = {
      name: type,
      title: type,
      ...(event.schema && {
        payload: { schemaFormat: SCHEMA_FORMAT, schema: { $ref: `#/components/schemas/${key}` } },
      }),
      'x-mneme': { version: event.version, formerly: event.formerly, personal: event.personal },
    }
  }
  const channels = Object.fromEntries(
    Object.entries(aggregates).map(([name, { events }]) => [
      keys.of(name),
      {
        address: `${name}-{id}`,
        title: name,
        parameters: { id: { description: `The id of the ${name}` } },
        messages: Object.fromEntries(
          events.map((type) => [keys.of(type), { $ref: `#/components/messages/${keys.of(type)}` }]),
        ),
      },
    ]),
  )
  return {
    asyncapi: '3.0.0',
    info: { title, version, ...(description !== undefined && { description }) },
    defaultContentType: 'application/json',
    channels,
    operations: operationsOf(catalogue, keys),
    components: { messages, schemas },
  }
}

function operationsOf({ aggregates, events, commands, ...followers }: Catalogue, keys: Keys) {
  const operations: Record<string, object> = {}
  const add = (
    name: string,
    action: 'send' | 'receive',
    types: readonly string[],
    more: { among?: readonly string[] | undefined; summary?: string | undefined } = {},
  ) => {
    const { among = Object.keys(aggregates), summary } = more
    for (const aggregate of among) {
      const own = types.filter((type) => events[type]?.aggregates.includes(aggregate))
      if (own.length === 0) continue
      const channel = `#/channels/${keys.of(aggregate)}`
      operations[keys.of(`${name}.${aggregate}`)] = {
        action,
        title: name,
        ...(summary !== undefined && { summary }),
        channel: { $ref: channel },
        messages: own.map((type) => ({ $ref: `${channel}/messages/${keys.of(type)}` })),
      }
    }
  }
  for (const [name, { writes = [], reads, summary }] of Object.entries(commands)) {
    // An event may belong to several aggregates; a command writes only to streams that it reads.
    add(`command.${name}`, 'send', writes, { among: reads, summary })
  }
  for (const kind of ['projections', 'reactions', 'relays'] as const) {
    for (const [name, { events }] of Object.entries(followers[kind])) {
      add(`${kind.slice(0, -1)}.${name}`, 'receive', events)
    }
  }
  return operations
}

/** Keys for names: in a document, a key has letters, digits and `.-_` of ASCII only. */
class Keys {
  readonly #keys = new Map<string, string>()
  readonly #used = new Set<string>()

  of(name: string): string {
    let key = this.#keys.get(name)
    if (key !== undefined) return key
    const plain = name.replace(/[^\w.-]/g, '_')
    key = plain
    for (let n = 2; this.#used.has(key); n++) key = `${plain}_${String(n)}`
    this.#keys.set(name, key)
    this.#used.add(key)
    return key
  }
}

/**
 * A schema as components of a document, its definitions beside it. References are resolved from the root of a document: those
 * of the schema, which mean its own root, would lead elsewhere.
 */
function hoisted(schema: JsonSchema, key: string, keys: Keys): Record<string, unknown> {
  const components: Record<string, unknown> = {}
  const referTo = (reference: string) => {
    if (!reference.startsWith('#')) return reference
    const definition = /^#\/(?:\$defs|definitions)\/([^/]+)(.*)$/.exec(reference)
    if (!definition) return `#/components/schemas/${key}${reference.slice(1)}`
    const [, name = '', rest = ''] = definition
    return `#/components/schemas/${nameOf(decodeURIComponent(name))}${rest}`
  }
  const nameOf = (definition: string) => keys.of(`${key} ${definition}`)
  const { $schema: _, $id: __, $defs, definitions, ...own } = schema
  components[key] = rewritten(own, referTo)
  for (const [name, definition] of Object.entries({
    ...Object(definitions),
    ...Object($defs),
  } as JsonSchema)) {
    components[nameOf(name)] = rewritten(definition, referTo)
  }
  return components
}

/** Keywords whose members are schemas by names, and keywords whose value is no schema. */
const BY_NAME = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions'])
const VALUES = new Set(['const', 'enum', 'default', 'examples', 'required'])

function rewritten(schema: unknown, referTo: (reference: string) => string): unknown {
  if (Array.isArray(schema)) return schema.map((one) => rewritten(one, referTo))
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema).map(([keyword, value]: [string, unknown]) => {
      if (keyword === '$ref' && typeof value === 'string') return [keyword, referTo(value)]
      if (VALUES.has(keyword)) return [keyword, value]
      if (!BY_NAME.has(keyword)) return [keyword, rewritten(value, referTo)]
      const byName = Object.entries(Object(value) as JsonSchema)
      return [keyword, Object.fromEntries(byName.map(([name, one]) => [name, rewritten(one, referTo)]))]
    }),
  )
}
