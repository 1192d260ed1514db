import { InvalidDataError, type DataIssue } from './errors.ts'

/** What JSON carries. */
export type PlainData =
  string | number | boolean | null | readonly PlainData[] | { readonly [key: string]: PlainData }

/** An event's data as a deeply frozen copy, so that what is read later equals what was written. @throws InvalidDataError */
export function copyEventData(value: unknown, eventType: string): PlainData {
  const issues: DataIssue[] = []
  const data = copyPlainData(value, 'data', issues)
  if (issues.length === 0 && (typeof data !== 'object' || data === null || Array.isArray(data))) {
    issues.push({ path: 'data', message: 'must be an object' })
  }
  if (issues.length > 0) throw new InvalidDataError(eventType, issues)
  return data
}

/**
 * A deeply frozen copy of a value as plain JSON data, so that what is read later equals what was written.
 * `undefined` properties are left out, as JSON does; whatever else JSON would lose or change is an issue.
 */
function copyPlainData(value: unknown, path: string, issues: DataIssue[]): PlainData {
  return copy(value, path, issues, [])
}

function copy(value: unknown, path: string, issues: DataIssue[], parents: object[]): PlainData {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      if (!Number.isFinite(value)) return refuse(`${String(value)} is not JSON`)
      if (Object.is(value, -0)) return refuse('-0 is not JSON: it would be read as 0')
      return value
    case 'bigint':
      return refuse('a bigint is not JSON: store a string')
    case 'object':
      if (value === null) return null
      if (parents.includes(value)) return refuse('is part of a cycle')
      if (parents.length >= MAX_DEPTH) return refuse(`is nested deeper than ${String(MAX_DEPTH)} levels`)
      return copyObject(value)
    default:
      return refuse(value === undefined ? 'undefined is not JSON' : `a ${typeof value} is not JSON`)
  }

  function refuse(message: string): null {
    issues.push({ path, message })
    return null
  }

  function copyObject(object: object): PlainData {
    parents.push(object)
    const result = Array.isArray(object) ? copyArray(object) : copyRecord(object)
    parents.pop()
    return result
  }

  function copyArray(array: readonly unknown[]): PlainData {
    const result: PlainData[] = []
    for (let i = 0; i < array.length; i++) {
      result.push(copy(array[i], `${path}[${String(i)}]`, issues, parents))
    }
    return Object.freeze(result)
  }

  function copyRecord(object: object): PlainData {
    if (!isPlain(object)) return refuse(`a ${nameOf(object)} is not plain JSON data`)
    const result: Record<string, PlainData> = {}
    for (const key of Reflect.ownKeys(object)) {
      if (!Object.prototype.propertyIsEnumerable.call(object, key)) continue
      if (typeof key === 'symbol') return refuse('a symbol as key is not JSON')
      if (key === '__proto__') return refuse("a key named '__proto__' is refused")
      const item = (object as Record<string, unknown>)[key]
      if (item !== undefined) result[key] = copy(item, member(path, key), issues, parents)
    }
    return Object.freeze(result)
  }
}

/** Deeper data would overflow the stack of what reads it. */
const MAX_DEPTH = 500

/** Whether an object is a record of no class; of any realm, because test runners and workers have their own. */
export function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOf(object: object): string {
  const { constructor } = object as { constructor?: { name?: unknown } }
  return typeof constructor?.name === 'string' && constructor.name !== ''
    ? constructor.name
    : 'class instance'
}

function member(path: string, key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`
}
