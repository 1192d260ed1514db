import type { JsonSchema } from './json-schema.ts'

/** Data that a writer may write, and that a reader does not expect. */
export interface Mismatch {
  /** The path of the field, like `'items[].sku'`; `'.'` stands for the data as a whole. */
  readonly path: string
  /** A clause that goes on from the path. */
  readonly problem: string
}

/**
 * Where data of a writer's schema does not have the shape that a reader's schema promises to its program: a field that may be
 * absent, another type of JSON, a value that is not listed. Rules on values (lengths, patterns, formats) do not count:
 * reading never checks them. Only what is certain is told.
 */
export function mismatches(writer: JsonSchema, reader: JsonSchema): Mismatch[] {
  // The whole of both is being compared already where one says `#`.
  const found = compare(writer, reader, { writer, reader, seen: new Set(['# | #']) }, '')
  const told = new Set<string>()
  return found.filter(({ path, problem }) => {
    const isNew = !told.has(`${path} ${problem}`)
    told.add(`${path} ${problem}`)
    return isNew
  })
}

interface Context {
  readonly writer: JsonSchema
  readonly reader: JsonSchema
  /** Pairs of references that are compared already, because schemas may contain themselves. */
  readonly seen: ReadonlySet<string>
}

function compare(writer: unknown, reader: unknown, context: Context, path: string): Mismatch[] {
  const [written, read] = [resolve(writer, context.writer), resolve(reader, context.reader)]
  const pair = `${written.references.join(' ')} | ${read.references.join(' ')}`
  if (written.references.length + read.references.length > 0) {
    if (context.seen.has(pair)) return []
    context = { ...context, seen: new Set([...context.seen, pair]) }
  }
  const alternatives = alternativesOf(read.schema)
  return alternativesOf(written.schema)
    .flatMap(eachValue)
    .flatMap((alternative) => {
      const found = alternatives.map((expected) => compareOne(alternative, expected, context, path))
      if (found.length === 0 || found.some((problems) => problems.length === 0)) return []
      // Of a union, what has the same type is compared, and the nearest of those is told.
      const isComparable = (_: unknown, i: number) =>
        alternatives.length === 1 || sharesType(alternative, alternatives[i])
      const [nearest] = found.filter(isComparable).sort((a, b) => a.length - b.length)
      const problem = `can be ${describe(alternative)}, which was not expected`
      return nearest ?? [{ path: path || '.', problem }]
    })
}

/** Follows references within a schema. */
function resolve(schema: unknown, root: JsonSchema): { schema: unknown; references: string[] } {
  const references: string[] = []
  let current = schema
  while (isObject(current) && typeof current.$ref === 'string' && !references.includes(current.$ref)) {
    references.push(current.$ref)
    current = current.$ref.startsWith('#') ? atPointer(root, current.$ref.slice(1)) : true
  }
  return { schema: current, references }
}

function atPointer(root: JsonSchema, pointer: string): unknown {
  const parts = decodeURIComponent(pointer).split('/').slice(1)
  return parts.reduce<unknown>(
    (node, part) => (Object(node) as JsonSchema)[part.replaceAll('~1', '/').replaceAll('~0', '~')],
    root,
  )
}

/** The alternatives of a union, each of one type. */
function alternativesOf(schema: unknown): unknown[] {
  if (!isObject(schema)) return [schema]
  const { type } = schema
  for (const keyword of ['anyOf', 'oneOf'] as const) {
    const list = schema[keyword]
    if (Array.isArray(list)) return (list as readonly unknown[]).flatMap(alternativesOf)
  }
  if (Array.isArray(type)) return (type as readonly unknown[]).map((one) => ({ ...schema, type: one }))
  return [schema]
}

/** A schema of several values as one for each: a reader's union may list them apart. */
function eachValue(schema: unknown): unknown[] {
  if (!isObject(schema) || !Array.isArray(schema.enum)) return [schema]
  const { enum: values, ...rest } = schema
  return (values as readonly unknown[]).map((value) => ({ ...rest, const: value }))
}

function compareOne(writer: unknown, reader: unknown, context: Context, path: string): Mismatch[] {
  if (hasReference(writer) || hasReference(reader)) return compare(writer, reader, context, path)
  if (!isObject(writer) || !isObject(reader)) return []
  const [written, read] = [typeOf(writer), typeOf(reader)]
  if (written === undefined || read === undefined) return []
  if (written !== read) return [{ path: path || '.', problem: `can be ${written}, but ${read} was expected` }]
  const values = compareValues(valuesOf(writer), valuesOf(reader), path)
  if (values) return values
  if (read === 'object') return compareObjects(writer, reader, context, path)
  if (read === 'array') return compareBoth(writer.items, reader.items, context, `${path}[]`)
  return []
}

function compareValues(
  written: readonly unknown[] | undefined,
  read: readonly unknown[] | undefined,
  path: string,
): Mismatch[] | undefined {
  if (!read) return written && []
  if (!written) return [{ path: path || '.', problem: `can be any value, but ${listed(read)} was expected` }]
  const others = written.filter((value) => !read.includes(value))
  return others.length === 0
    ? []
    : [{ path: path || '.', problem: `can be ${listed(others)}, which was not expected` }]
}

function compareObjects(writer: JsonSchema, reader: JsonSchema, context: Context, path: string): Mismatch[] {
  const [written, read] = [propertiesOf(writer), propertiesOf(reader)]
  const guaranteed = requiredOf(writer)
  const at = (key: string) => (path === '' ? key : `${path}.${key}`)
  const absent = [...requiredOf(reader)].filter((key) => !guaranteed.has(key))
  return [
    ...absent.map((key) => ({ path: at(key), problem: 'can be absent, but was expected' })),
    ...Object.keys(read).flatMap((key) => compareBoth(written[key], read[key], context, at(key))),
    ...compareBoth(writer.additionalProperties, reader.additionalProperties, context, at('*')),
  ]
}

/** Compares only what both say something about. */
function compareBoth(writer: unknown, reader: unknown, context: Context, path: string): Mismatch[] {
  return isObject(writer) && isObject(reader) ? compare(writer, reader, context, path) : []
}

function propertiesOf({ properties }: JsonSchema): JsonSchema {
  return isObject(properties) ? properties : {}
}

function requiredOf({ required }: JsonSchema): ReadonlySet<string> {
  return new Set(Array.isArray(required) ? (required as readonly string[]) : [])
}

/** The type of JSON: `integer` is `number`, because reading checks no value. */
function typeOf(schema: JsonSchema): string | undefined {
  const { type } = schema
  if (typeof type === 'string') return type === 'integer' ? 'number' : type
  const kinds = new Set(valuesOf(schema)?.map((value) => (value === null ? 'null' : typeof value)))
  if (kinds.size === 1) return [...kinds][0]
  return kinds.size === 0 && isObject(schema.properties) ? 'object' : undefined
}

function valuesOf(schema: JsonSchema): readonly unknown[] | undefined {
  if ('const' in schema) return [schema.const]
  return Array.isArray(schema.enum) ? (schema.enum as readonly unknown[]) : undefined
}

function sharesType(a: unknown, b: unknown): boolean {
  return isObject(a) && isObject(b) && typeOf(a) !== undefined && typeOf(a) === typeOf(b)
}

function describe(schema: unknown): string {
  if (!isObject(schema)) return 'anything'
  const values = valuesOf(schema)
  return values ? listed(values) : (typeOf(schema) ?? 'something else')
}

function listed(values: readonly unknown[]): string {
  return values.map((value) => JSON.stringify(value)).join(' or ')
}

function hasReference(schema: unknown): boolean {
  return isObject(schema) && typeof schema.$ref === 'string'
}

function isObject(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
