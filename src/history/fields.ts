import { isSealed } from '../model/sealed.ts'
import { isFieldName, MAX_DEPTH, MAX_KEYS, pathTo } from './paths.ts'

/** The types of JSON values. */
type JsonType = 'string' | 'number' | 'boolean' | 'null' | 'object' | 'array' | 'sealed'

/** The order in which types are listed. */
const JSON_TYPES: readonly JsonType[] = ['string', 'number', 'boolean', 'object', 'array', 'sealed', 'null']

/** The values that were found at one place of many events' data. */
export class FieldNode {
  /** How many values were here. */
  #values = 0
  /** How many of them were objects. */
  #objects = 0
  readonly #types = new Set<JsonType>()
  #keys = new Map<string, FieldNode>()
  #items: FieldNode | undefined
  /** Whether its keys are values, so that they are all kept as `*`. */
  #isDictionary = false

  add(value: unknown, path: string, dictionaries: ReadonlySet<string> | undefined, depth = 0): void {
    this.#values++
    const type = typeOf(value)
    this.#types.add(type)
    if (type === 'array' && depth < MAX_DEPTH) {
      for (const item of value as readonly unknown[]) {
        this.#items ??= new FieldNode()
        this.#items.add(item, `${path}[]`, dictionaries, depth + 1)
      }
    } else if (type === 'object') {
      this.#objects++
      if (depth >= MAX_DEPTH) return
      if (dictionaries?.has(path)) this.#isDictionary = true
      const object = value as Readonly<Record<string, unknown>>
      for (const key of Object.keys(object)) {
        const name = this.#isDictionary || !isFieldName(key) ? '*' : key
        this.#key(name).add(object[key], pathTo(path, name), dictionaries, depth + 1)
      }
    }
  }

  /** The fields below it, by their paths: `note?` is not in every object, and `a | b` is of either type. */
  list(path = '', fields: Record<string, string> = {}): Record<string, string> {
    for (const key of [...this.#keys.keys()].sort()) {
      const node = this.#keys.get(key)!
      const isOptional = key !== '*' && node.#values < this.#objects
      node.#listSelf(pathTo(path, key), isOptional, fields)
    }
    if (this.#items) this.#items.#listSelf(`${path}[]`, false, fields)
    return fields
  }

  #listSelf(path: string, isOptional: boolean, fields: Record<string, string>): void {
    const hasInner = this.#keys.size > 0 || this.#items !== undefined
    // That it is an object or an array follows from its fields or items.
    if (!hasInner || isOptional || this.#types.size > 1) {
      fields[isOptional ? `${path}?` : path] = JSON_TYPES.filter((type) => this.#types.has(type)).join(' | ')
    }
    this.list(path, fields)
  }

  #key(name: string): FieldNode {
    const known = this.#keys.get(name)
    if (known) return known
    if (this.#keys.size >= MAX_KEYS && name !== '*') return this.#collapse()
    const node = new FieldNode()
    this.#keys.set(name, node)
    return node
  }

  /** Makes it a dictionary: all that its keys hold becomes `*`. */
  #collapse(): FieldNode {
    this.#isDictionary = true
    const all = new FieldNode()
    for (const node of this.#keys.values()) all.#merge(node)
    this.#keys = new Map([['*', all]])
    return all
  }

  #merge(other: FieldNode): void {
    this.#values += other.#values
    this.#objects += other.#objects
    for (const type of other.#types) this.#types.add(type)
    if (other.#isDictionary && !this.#isDictionary) this.#collapse()
    for (const [name, node] of other.#keys) this.#key(this.#isDictionary ? '*' : name).#merge(node)
    if (!other.#items) return
    this.#items ??= new FieldNode()
    this.#items.#merge(other.#items)
  }
}

function typeOf(value: unknown): JsonType {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (isSealed(value)) return 'sealed'
  return typeof value as JsonType
}
