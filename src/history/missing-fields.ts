import { keysOf, resultOf, type StandardSchemaV1 } from '../base/standard-schema.ts'

/** Types of fields by path, as a recorded shape has them. */
type Fields = Readonly<Record<string, string>>

/**
 * The fields that a schema demands, but that are not in every event of a shape.
 *
 * The schema is asked: it is given a sample that has every field of the shape, and then samples that lack one. What it says
 * of a field that is there means nothing, because the values are made up; that it demands a field that is not there holds
 * for every value.
 */
export function missingFields(schema: StandardSchemaV1, fields: Fields): string[] {
  const shape = treeOf(fields)
  const missing = new Set<string>()
  for (const path of refusedBy(schema, sampleOf(shape))) {
    const parent = nodeAt(shape, path.slice(0, -1))
    const isAbsent = parent?.types.has('object') === true && !parent.keys.has(path.at(-1)!)
    if (isAbsent) missing.add(textOf(path))
  }
  for (const optional of optionalIn(shape)) {
    const text = textOf(optional)
    const refused = refusedBy(schema, sampleOf(shape, text)).map(textOf)
    if (refused.includes(text)) missing.add(text)
  }
  return [...missing].sort()
}

interface ShapeNode {
  readonly types: Set<string>
  readonly keys: Map<string, ShapeNode>
  items: ShapeNode | undefined
  isOptional: boolean
}

function newNode(): ShapeNode {
  return { types: new Set(), keys: new Map(), items: undefined, isOptional: false }
}

/** The fields as a tree. A list of fields leaves out that what has fields is an object. */
function treeOf(fields: Fields): ShapeNode {
  const root = newNode()
  root.types.add('object')
  for (const [given, types] of Object.entries(fields)) {
    const isOptional = given.endsWith('?')
    let node = root
    for (const part of partsOf(isOptional ? given.slice(0, -1) : given)) node = below(node, part)
    node.isOptional = isOptional
    for (const type of types.split(' | ')) node.types.add(type)
  }
  return root
}

function below(node: ShapeNode, part: string): ShapeNode {
  if (part === '[]') {
    node.types.add('array')
    return (node.items ??= newNode())
  }
  node.types.add('object')
  const known = node.keys.get(part) ?? newNode()
  node.keys.set(part, known)
  return known
}

/** `items[].sku` in parts: `items`, `[]`, `sku`. */
function partsOf(path: string): string[] {
  return path.match(/\[\]|[^.[\]]+/g) ?? []
}

function textOf(parts: readonly string[]): string {
  return parts.join('.').replaceAll('.[]', '[]')
}

function nodeAt(root: ShapeNode, path: readonly string[]): ShapeNode | undefined {
  let node: ShapeNode | undefined = root
  for (const part of path) node = part === '[]' ? node?.items : node?.keys.get(part)
  return node
}

/** The paths of optional fields. What lies in a dictionary is left out: its keys are not known. */
function optionalIn(node: ShapeNode, path: readonly string[] = []): string[][] {
  const inner = [...node.keys].filter(([key]) => key !== '*')
  return [
    ...inner.flatMap(([key, child]) => [
      ...(child.isOptional ? [[...path, key]] : []),
      ...optionalIn(child, [...path, key]),
    ]),
    ...(node.items ? optionalIn(node.items, [...path, '[]']) : []),
  ]
}

/** Data of a shape, with made-up values; of several types, the one that can have most fields. */
function sampleOf(node: ShapeNode, without?: string, path: readonly string[] = []): unknown {
  if (node.types.has('object')) {
    const inner = [...node.keys].filter(([key]) => key !== '*' && textOf([...path, key]) !== without)
    return Object.fromEntries(inner.map(([key, child]) => [key, sampleOf(child, without, [...path, key])]))
  }
  if (node.types.has('array')) return node.items ? [sampleOf(node.items, without, [...path, '[]'])] : []
  // The type of a sealed value is not known; what a schema says of a value that is there does not count.
  if (node.types.has('string') || node.types.has('sealed')) return 'x'
  if (node.types.has('number')) return 1
  return node.types.has('boolean') ? true : null
}

/** The paths at which a schema refuses data; none if it throws, or is asynchronous. */
function refusedBy(schema: StandardSchemaV1, data: unknown): string[][] {
  try {
    const { issues = [] } = resultOf(schema, data, 'an event')
    return issues.map((issue) => keysOf(issue).map((key) => (typeof key === 'number' ? '[]' : String(key))))
  } catch {
    return []
  }
}
