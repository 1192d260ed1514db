import { checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { type Catalogue, checkCatalogue } from './catalogue.ts'
import type { JsonSchema } from './json-schema.ts'
import { checkSummary, checkTitle } from './texts.ts'

/** Options of `eventCatalogFiles`. */
export interface EventCatalogOptions {
  /** The name of the program: its service in the catalog. Letters, digits and `._-`. */
  readonly service: string
  /** The version of the program, like `'1.2.0'`. */
  readonly version: string
  /** A sentence on the program. */
  readonly summary?: string | undefined
}

/**
 * A catalogue as files of EventCatalog, by their paths below the root of one: events, commands, an entity for each aggregate,
 * a service for the program and one for each projection, reaction and relay.
 *
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * import { mkdir, writeFile } from 'node:fs/promises'
 * import { dirname, join } from 'node:path'
 * const model = catalogue({ aggregates: [Door] })
 * const files = eventCatalogFiles(model, { service: 'House', version: '1.0.0' })
 * for (const [path, text] of Object.entries(files)) {
 *   await mkdir(dirname(join('catalog', path)), { recursive: true })
 *   await writeFile(join('catalog', path), text)
 * }
 * ```
 */
export function eventCatalogFiles(
  catalogue: Catalogue,
  options: EventCatalogOptions,
): Record<string, string> {
  checkCatalogue(catalogue, 'catalogue')
  checkOptions(options, 'options', ['service', 'version', 'summary'])
  const { service } = options
  const summary = checkSummary(options.summary, 'summary')
  const version = checkTitle(options.version, 'version')
  if (typeof (service as unknown) !== 'string' || !/^[\w.-]+$/.test(service)) {
    throw new InvalidArgumentError('service', "a name of letters, digits and '._-'")
  }
  const { aggregates, events, commands } = catalogue
  const files: Record<string, string> = {}
  const add = (folder: string, page: Page) => {
    const path = `${folder}/${page.id.replace(/[^\p{L}\p{N}_.-]/gu, '_')}`
    const { schema, lines = [], ...fields } = page
    if (schema) files[`${path}/schema.json`] = `${JSON.stringify(schema, null, 2)}\n`
    files[`${path}/index.mdx`] = pageText({ ...fields, ...(schema && { schemaPath: 'schema.json' }) }, lines)
  }
  for (const [type, event] of Object.entries(events)) {
    const { formerly, aggregates, personal, writtenBy, schema } = event
    const lines = [
      `On streams of ${aggregates.join(', ')}.`,
      ...(formerly.length > 0 ? [`Formerly ${formerly.join(', ')}.`] : []),
      ...(personal.length > 0 ? [`Personal, and stored sealed: ${listed(personal)}.`] : []),
      ...(writtenBy.length > 0 ? [`Written by ${writtenBy.join(', ')}.`] : []),
    ]
    add('events', { id: type, name: type, version: versionOf(event.version), lines, schema })
  }
  for (const [name, { summary, reads, writes, rejects, schema }] of Object.entries(commands)) {
    const lines = [
      ...(reads ? [`Reads ${listed(reads)}.`] : []),
      ...(writes ? [`Writes ${listed(writes)}.`] : []),
      ...(rejects ? [`Rejected: ${listed(rejects)}.`] : []),
    ]
    add('commands', { id: name, name, version, summary, lines, schema })
  }
  for (const name of Object.keys(aggregates))
    add('entities', { id: name, name, version, aggregateRoot: true })
  const pointers = (types: readonly string[]) =>
    types.map((id) => ({ id, version: events[id] ? versionOf(events[id].version) : version }))
  add('services', {
    id: service,
    name: service,
    version,
    summary,
    receives: pointers(Object.keys(commands)),
    sends: pointers(Object.keys(events)),
    entities: Object.keys(aggregates).map((id) => ({ id, version })),
  })
  for (const kind of ['projections', 'reactions', 'relays'] as const) {
    for (const [name, follower] of Object.entries(catalogue[kind])) {
      const one = kind.slice(0, -1)
      const sends =
        'commands' in follower ? pointers((follower as { commands: string[] }).commands) : undefined
      const lines = [`A ${one} of ${service}.`]
      const id = `${one}.${name}`
      add('services', {
        ...{ id, name, version: versionOf(follower.version), lines },
        ...{ receives: pointers(follower.events), sends },
      })
    }
  }
  return files
}

interface Page {
  readonly id: string
  readonly name: string
  readonly version: string
  readonly summary?: string | undefined
  readonly schema?: JsonSchema | undefined
  /** What stands below the fields. */
  readonly lines?: readonly string[] | undefined
  readonly [field: string]: unknown
}

/** EventCatalog wants versions of three numbers. */
function versionOf(version: number): string {
  return `${String(version)}.0.0`
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ')
}

/** Fields before a text, as EventCatalog reads them: YAML, of which JSON is a part. */
function pageText(fields: Readonly<Record<string, unknown>>, lines: readonly string[]): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  const front = given.map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return ['---', ...front, '---', '', ...lines.flatMap((line) => [line, ''])].join('\n')
}
