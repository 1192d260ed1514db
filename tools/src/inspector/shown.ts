import type { Cut, Path, Shown } from './api.ts'

/** How much of a value is shown at once: enough for what people write by hand, and never more than some 100 kB. */
const MAX_DEPTH = 6
const MAX_CHILDREN = 50
const MAX_CHARACTERS = 1_000
/** Of a text that somebody wants to read on. */
const MAX_MORE_CHARACTERS = 20_000
const MAX_NODES = 1_500

/**
 * A value as far as it is shown: its outermost levels first, with marks where something is left out.
 *
 * @param skip how many items, properties or characters of the value itself to leave out at its beginning.
 */
export function show(root: unknown, skip = 0): Shown {
  const cuts: Cut[] = []
  const tags: { path: Path; name: string }[] = []
  /** Branches whose children are not shown yet, with the object that takes them. */
  const waiting: { value: object; path: Path; take: Record<string, unknown> | unknown[] }[] = []
  let nodes = 0

  const place = (value: unknown, path: Path): unknown => {
    nodes++
    const tag = tagOf(value)
    if (tag !== undefined) tags.push({ path, name: tag })
    const leaf = leafOf(value)
    if (typeof leaf === 'string') {
      const from = path.length === 0 ? skip : 0
      const text = leaf.slice(from, from + (from > 0 ? MAX_MORE_CHARACTERS : MAX_CHARACTERS))
      if (text.length < leaf.length) cuts.push({ path, kind: 'text', size: leaf.length, shown: text.length })
      return text
    }
    if (!isBranch(leaf)) return leaf
    const take: Record<string, unknown> | unknown[] = Array.isArray(leaf) ? [] : newRecord()
    waiting.push({ value: leaf, path, take })
    return take
  }

  const value = place(root, [])
  for (const branch of waiting) {
    const { path, take } = branch
    const keys = keysOf(branch.value)
    const from = path.length === 0 ? skip : 0
    const isTooMuch = path.length >= MAX_DEPTH || nodes >= MAX_NODES
    const shown = isTooMuch ? [] : keys.slice(from, from + MAX_CHILDREN)
    for (const key of shown) {
      const child = place(childOf(branch.value, key), [...path, key])
      if (Array.isArray(take)) take.push(child)
      else take[key] = child
    }
    if (shown.length < keys.length) {
      const kind = Array.isArray(branch.value) ? 'array' : 'object'
      cuts.push({ path, kind, size: keys.length, shown: shown.length })
    }
  }
  return { value, cuts, tags }
}

/** The beginning of a value in short, without writing all of a large one. */
export function preview(root: unknown, length = 240): string {
  let text = ''
  const write = (value: unknown, depth: number): void => {
    if (text.length > length) return
    const leaf = leafOf(value)
    if (typeof leaf === 'string') text += JSON.stringify(leaf.slice(0, length + 1))
    else if (!isBranch(leaf)) text += String(leaf)
    else if (isSealed(leaf)) text += 'sealed'
    else if (depth === MAX_DEPTH) text += Array.isArray(leaf) ? '[…]' : '{…}'
    else {
      const isListed = Array.isArray(leaf)
      text += isListed ? '[' : '{'
      let isFirst = true
      for (const key of keysOf(leaf)) {
        if (text.length > length) break
        if (!isFirst) text += ', '
        isFirst = false
        if (!isListed) text += `${String(key).slice(0, length)}: `
        write(childOf(leaf, key), depth + 1)
      }
      text += isListed ? ']' : '}'
    }
  }
  write(root, 0)
  // Half a pair of surrogates is no text.
  return text.length > length ? `${text.slice(0, length).replace(/[\ud800-\udbff]$/, '')}…` : text
}

/** A value as JSON can say it, whole: a Map or a Set as an object or a list, a Date as its ISO string, a bigint as its digits. */
export function plain(root: unknown): unknown {
  const within = new Set<object>()
  const copy = (value: unknown): unknown => {
    const leaf = leafOf(value)
    if (!isBranch(leaf)) return leaf
    const branch = value as object
    if (within.has(branch)) return 'circular'
    within.add(branch)
    const children = keysOf(leaf).map((key) => [key, copy(childOf(leaf, key))] as const)
    within.delete(branch)
    if (Array.isArray(leaf)) return children.map(([, child]) => child)
    const record = newRecord()
    for (const [key, child] of children) record[key] = child
    return record
  }
  return copy(root)
}

/** The value at a path; `undefined` if there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root
  for (const key of path) {
    const leaf = leafOf(value)
    if (!isBranch(leaf)) return undefined
    const isThere = Array.isArray(leaf) ? Number(key) < leaf.length : keysOf(leaf).includes(key)
    if (!isThere) return undefined
    value = childOf(leaf, key)
  }
  return value
}

/** Whether a value may have children: objects, lists, Maps and Sets. */
export function isBranch(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** The keys or indexes of what is shown below a value of {@link leafOf}. */
export function keysOf(value: object): readonly (string | number)[] {
  if (Array.isArray(value)) return [...value.keys()]
  return Object.entries(value).flatMap(([key, child]) => (isNothing(child) ? [] : [key]))
}

/** What is shown under a key of {@link keysOf}. */
export function childOf(value: object, key: string | number): unknown {
  return Object.hasOwn(value, key) ? (value as Readonly<Record<string, unknown>>)[key] : undefined
}

/** A value as it is shown: a leaf, or an object or a list with children. */
export function leafOf(value: unknown): unknown {
  if (value instanceof Set) return [...(value as ReadonlySet<unknown>)]
  if (value instanceof Map) return hasTextKeys(value) ? recordOf(value) : [...value]
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid date' : value.toISOString()
  if (typeof value === 'bigint') return String(value)
  // Infinity and NaN are no JSON.
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (isNothing(value)) return null
  // A value from before its field became personal: a state holds it sealed, and so it stays here.
  if (isBranch(value) && '$unsealed' in value && Object.keys(value).length === 1) return SEALED
  return value
}

const SEALED = Object.freeze({ $sealed: '' })

function isSealed(value: object): boolean {
  return '$sealed' in value && typeof value.$sealed === 'string' && Object.keys(value).length === 1
}

function isNothing(value: unknown): boolean {
  return value === undefined || typeof value === 'function' || typeof value === 'symbol'
}

function tagOf(value: unknown): string | undefined {
  if (!isBranch(value) || Array.isArray(value)) return undefined
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return undefined
  const { constructor } = value as { readonly constructor?: { readonly name?: unknown } }
  return typeof constructor?.name === 'string' ? constructor.name.slice(0, 100) : undefined
}

function hasTextKeys(map: ReadonlyMap<unknown, unknown>): map is ReadonlyMap<string, unknown> {
  for (const key of map.keys()) if (typeof key !== 'string') return false
  return true
}

function recordOf(map: ReadonlyMap<string, unknown>): Record<string, unknown> {
  const record = newRecord()
  for (const [key, value] of map) record[key] = value
  return record
}

/** An object on which `__proto__` is a key like any other. */
function newRecord(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>
}
