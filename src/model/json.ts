import { type DataIssue, InvalidDataError } from '../base/errors.ts'
import { copySealed, isSealed, isUnsealed, type SealedAt } from './sealed.ts'

/** JSON values. */
export type PlainData =
  string | number | boolean | null | readonly PlainData[] | { readonly [key: string]: PlainData }

/**
 * A copy of an event's data as plain JSON data, so that what is read later equals what was written. Everything in the
 * object is deeply frozen; the caller freezes the object itself. `undefined` properties are left out, as JSON does;
 * whatever else JSON would lose or change is refused.
 *
 * @param sealed takes each sealed value, with its path.
 * @throws InvalidDataError with the path of each refused value.
 */
export function copyEventData(
  value: unknown,
  eventType: string,
  sealed: SealedAt[] = [],
): Record<string, PlainData> {
  const issues: DataIssue[] = []
  const data = copyRoot(value, { issues, sealed })
  if (issues.length > 0) throw new InvalidDataError(eventType, issues)
  return data
}

/** What is found while data is copied. */
interface Found {
  readonly issues: DataIssue[]
  readonly sealed: SealedAt[]
}

/**
 * A copy of any value as plain JSON data, as {@link copyEventData} makes it of an event's data.
 *
 * @throws InvalidDataError with the path of each refused value.
 */
export function copyPlainData(value: unknown, subject: string): PlainData {
  const issues: DataIssue[] = []
  const place = { key: 'state', parent: undefined, object: undefined }
  const copied = copy(value, place, { issues, sealed: [] })
  if (issues.length > 0) throw new InvalidDataError(subject, issues)
  return copied
}

function copyRoot(value: unknown, found: Found): Record<string, PlainData> {
  const root = { key: 'data', parent: undefined, object: undefined }
  if (typeof value === 'object' && value !== null && isPlain(value)) {
    return copyRecord(value as Readonly<Record<string, unknown>>, { ...root, object: value }, found)
  }
  if (Array.isArray(value) || copy(value, root, found) !== null || value === null) {
    refuse(root, found, 'must be an object')
  }
  return {}
}

/** The place of a value in the data; its path is built only for an error. */
interface Place {
  readonly key: string | number
  readonly parent: Place | undefined
  /** The object that is there, to find cycles. */
  readonly object: object | undefined
}

function copy(value: unknown, place: Place, found: Found): PlainData {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      if (!Number.isFinite(value)) return refuse(place, found, `${String(value)} is not JSON`)
      if (Object.is(value, -0)) return refuse(place, found, '-0 is not JSON: it would be read as 0')
      return value
    case 'bigint':
      return refuse(place, found, 'a bigint is not JSON: store a string')
    case 'object':
      return value === null ? null : copyObject(value, place, found)
    case 'undefined':
      return refuse(place, found, 'undefined is not JSON')
    default:
      return refuse(place, found, `a ${typeof value} is not JSON`)
  }
}

function copyObject(object: object, { key, parent }: Place, found: Found): PlainData {
  const place: Place = { key, parent, object }
  let depth = 0
  for (let above = parent; above; above = above.parent) {
    if (above.object === object) return refuse(place, found, 'is part of a cycle')
    depth++
  }
  if (depth >= MAX_DEPTH) return refuse(place, found, `is nested deeper than ${String(MAX_DEPTH)} levels`)
  if (Array.isArray(object) && isPlain(Object.getPrototypeOf(object) as object)) {
    return copyArray(object, place, found)
  }
  if (isPlain(object)) {
    if (isSealed(object)) {
      const value = isUnsealed(object)
        ? Object.freeze({
            $unsealed: copy(object.$unsealed, { key: '$unsealed', parent: place, object: undefined }, found),
          })
        : copySealed(object)
      found.sealed.push({ path: pathOf(place).slice(ROOT.length), value })
      return value as unknown as PlainData
    }
    return Object.freeze(copyRecord(object as Readonly<Record<string, unknown>>, place, found))
  }
  return refuse(place, found, `${withArticle(nameOf(object))} is not JSON: ${adviceFor(object)}`)
}

function copyArray(array: readonly unknown[], parent: Place, found: Found): PlainData {
  const result: PlainData[] = []
  if (Object.keys(array).length > array.length)
    refuse(parent, found, 'an array with named properties is not JSON')
  for (let i = 0; i < array.length; i++) {
    const item = array[i]
    result.push(isJsonScalar(item) ? item : copy(item, { key: i, parent, object: undefined }, found))
  }
  return Object.freeze(result)
}

function copyRecord(
  record: Readonly<Record<string, unknown>>,
  parent: Place,
  found: Found,
): Record<string, PlainData> {
  const keys = Object.keys(record)
  if (keys.includes('__proto__')) {
    refuse({ key: '__proto__', parent, object: undefined }, found, "a key named '__proto__' is refused")
    return {}
  }
  // Copied as a whole, which takes a quarter of the time: most values stay as they are.
  const result = Object.assign({}, record) as Record<string, PlainData | undefined>
  let isToLeaveOut = false
  // eslint-disable-next-line @typescript-eslint/prefer-for-of -- takes twice as long until it is compiled
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const item: unknown = result[key]
    if (item === undefined) isToLeaveOut = true
    else if (!isJsonScalar(item)) result[key] = copy(item, { key, parent, object: undefined }, found)
  }
  if (Object.getOwnPropertySymbols(result).length > 0) refuse(parent, found, 'a symbol as key is not JSON')
  return (isToLeaveOut ? withoutUndefined(result) : result) as Record<string, PlainData>
}

function withoutUndefined(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, item]) => item !== undefined))
}

/** Whether a value is JSON that needs no copy. */
function isJsonScalar(value: unknown): value is string | number | boolean | null {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true
  return typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0)
}

/** Data as if it were parsed from its text: flat data, as most is, takes a tenth of the time when it is copied instead. */
export function asParsed(data: object, text: string): unknown {
  const values: unknown[] = Object.values(data)
  return values.every(isJsonScalar) ? Object.assign({}, data) : JSON.parse(text)
}

/** Freezes parsed JSON deeply, without recursion. An object that is frozen already counts as deeply frozen. */
export function freezeJson(value: object): void {
  const waiting = [value]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    Object.freeze(next)
    for (const key in next) {
      const item: unknown = next[key as keyof typeof next]
      if (typeof item === 'object' && item !== null && !Object.isFrozen(item)) waiting.push(item)
    }
  }
}

/** More issues than these would not help to find the mistake. */
const MAX_ISSUES = 20
/** Deeper data would overflow the stack of programs that read it. */
const MAX_DEPTH = 500

/** Whether an object is a record without a class, from any realm: test runners and workers have realms of their own. */
export function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

function refuse(place: Place, found: Found, message: string): null {
  if (found.issues.length < MAX_ISSUES) found.issues.push({ path: pathOf(place), message })
  return null
}

function pathOf({ key, parent }: Place): string {
  if (!parent) return String(key)
  return pathOf(parent) + pathStep(key)
}

/** The path of data itself, before the first step. */
const ROOT = 'data.'

/** The last step of a path: `.email`, `[3]`. */
export function pathStep(key: string | number): string {
  if (typeof key === 'number') return `[${String(key)}]`
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

function nameOf(object: object): string {
  const { constructor } = object as { constructor?: { name?: unknown } }
  return typeof constructor?.name === 'string' && constructor.name !== ''
    ? constructor.name
    : 'class instance'
}

/** What to store instead of an instance of a class; the same words as {@link Json}, if the type is one that it knows. */
function adviceFor(object: object): string {
  const tag = Object.prototype.toString.call(object).slice('[object '.length, -1)
  if (tag === 'Map' || tag === 'Set') return 'store an array or an object'
  if (ArrayBuffer.isView(object) || tag.endsWith('ArrayBuffer')) return 'store a base64 string, or an array'
  if (tag === 'Date') return 'store an ISO string'
  const { toJSON, toISOString } = object as { readonly toJSON?: unknown; readonly toISOString?: unknown }
  const isTime =
    typeof toISOString === 'function' || /^Temporal\.|Date|Time|Instant/.test(`${tag} ${nameOf(object)}`)
  if (isTime) return 'store its ISO string'
  return typeof toJSON === 'function' ? 'store what its toJSON() returns' : 'store a plain object'
}

function withArticle(name: string): string {
  return `${/^[AEIO]/i.test(name) ? 'an' : 'a'} ${name}`
}

/** Maps a type to itself if it is JSON, and otherwise to a sentence that the compiler prints. */
export type Json<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends bigint
    ? 'a bigint is not JSON: store a string'
    : T extends Date
      ? 'a Date is not JSON: store an ISO string'
      : T extends symbol
        ? 'a symbol is not JSON'
        : T extends (...args: never) => unknown
          ? 'a function is not JSON'
          : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
            ? 'a Map or Set is not JSON: store an array or an object'
            : { [K in keyof T]: Json<T[K]> }

/** The same as `Json` for an object, to be used as a constraint. */
export type JsonObject<T> = { [K in keyof T]: Json<T[K]> }
