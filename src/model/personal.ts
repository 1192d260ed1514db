import { InvalidArgumentError, InvalidDataError, SealBrokenError } from '../base/errors.ts'
import { checkFunction, isAsyncFunction } from '../base/functions.ts'
import type { StreamEvent } from './event.ts'
import { pathStep } from './json.ts'
import {
  checkSubject,
  isSealed,
  isSealedText,
  isUnsealed,
  type Sealed,
  type SealedAt,
  sealLater,
  type SealedText,
  type Subject,
} from './sealed.ts'

/**
 * The personal fields of an event's data: for each one a function that names its subject. An object of fields stands for a
 * nested object, or for each item of an array.
 */
export type PersonalFields<Data, Root = Data> = {
  readonly [K in keyof Data]?:
    | SubjectOf<Root, Data>
    | (Data[K] extends readonly (infer Item)[] | undefined
        ? PersonalFields<Item, Root>
        : Data[K] extends object | undefined
          ? PersonalFields<Data[K], Root>
          : never)
}

/**
 * Names the subject of a value.
 *
 * @param data the event's data. Read no personal field in it: it may be sealed already.
 * @param holder the object that holds the value, if it is nested.
 */
type SubjectOf<Root, Holder> = (data: Root, holder: Holder) => Subject

/** Data with its personal fields sealed. */
export type WithSealed<Data, Fields> = {
  [K in keyof Data]: K extends keyof Fields
    ? Fields[K] extends (...args: never) => unknown
      ? AsSealed<Data[K]>
      : Data[K] extends readonly (infer Item)[]
        ? readonly WithSealed<Item, Fields[K]>[]
        : WithSealed<Data[K], Fields[K]>
    : Data[K]
}
type AsSealed<T> = [Exclude<T, undefined>] extends [Sealed] ? T : Sealed<Exclude<T, undefined>>

/** What an event is made with: each personal field plain, or sealed before. */
export type WithPersonal<Data, Fields> = {
  [K in keyof Data]: K extends keyof Fields
    ? Fields[K] extends (...args: never) => unknown
      ? Plain<Data[K]> | Sealed<Exclude<Plain<Data[K]>, undefined>>
      : Data[K] extends readonly (infer Item)[]
        ? readonly WithPersonal<Item, Fields[K]>[]
        : WithPersonal<Data[K], Fields[K]>
    : Data[K]
}
type Plain<T> = T extends Sealed<infer Value> ? Value : T

/** A personal field at run time. */
export interface PersonalField {
  readonly key: string
  /** Its path, if it is not nested. */
  readonly path: string
  readonly subjectOf: SubjectOf<unknown, unknown> | undefined
  /** The fields of the nested object. */
  readonly fields: readonly PersonalField[]
}

/** @throws InvalidArgumentError */
export function personalFields(given: unknown, argument = 'personal'): readonly PersonalField[] {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new InvalidArgumentError(
      argument,
      'a function that returns subject(kind, id), or an object of these',
    )
  }
  const entries = Object.entries(given).filter(([, field]) => field !== undefined)
  if (entries.length === 0) throw new InvalidArgumentError(argument, 'an object that names a field')
  return entries.map(([key, field]: [string, unknown]) => {
    const name = `${argument}${pathStep(key)}`
    const path = PLAIN_KEY.test(key) ? key : pathStep(key)
    if (typeof field !== 'function')
      return { key, path, subjectOf: undefined, fields: personalFields(field, name) }
    checkFunction(field, name)
    if (isAsyncFunction(field)) throw new InvalidArgumentError(name, 'synchronous')
    return { key, path, subjectOf: field as SubjectOf<unknown, unknown>, fields: [] }
  })
}

/** What becomes of a personal value; the value itself if nothing does. */
export type MapPersonal = (value: unknown, path: string, field: PersonalField, holder: object) => unknown

/** Data with its personal values mapped; the same object if none changes. */
export function mapPersonal<T extends object>(
  data: T,
  fields: readonly PersonalField[],
  map: MapPersonal,
  before = '',
): T {
  let copy: Record<string, unknown> | undefined
  for (const field of fields) {
    const value = (data as Readonly<Record<string, unknown>>)[field.key]
    if (value === undefined || !Object.hasOwn(data, field.key)) continue
    const path = before === '' ? field.path : before + pathStep(field.key)
    const mapped = field.subjectOf
      ? map(value, path, field, data)
      : mapNested(value, (item, step) => mapPersonal(item, field.fields, map, path + step))
    if (mapped === value) continue
    copy ??= { ...(data as Readonly<Record<string, unknown>>) }
    copy[field.key] = mapped
  }
  // The caller freezes the data itself.
  return copy ? ((before === '' ? copy : Object.freeze(copy)) as T) : data
}

function mapNested(value: unknown, map: (item: object, step: string) => object): unknown {
  if (typeof value !== 'object' || value === null || isSealed(value)) return value
  if (!Array.isArray(value)) return map(value, '')
  const items = (value as readonly unknown[]).map((item, i) =>
    typeof item === 'object' && item !== null ? map(item, pathStep(i)) : item,
  )
  return items.some((item, i) => item !== value[i]) ? Object.freeze(items) : value
}

const PLAIN_KEY = /^[A-Za-z_$][\w$]*$/

/**
 * Wraps the personal values of an event that is being made. Data is frozen where it is nested.
 *
 * @param sealed the values that are sealed already.
 * @throws InvalidDataError if one of these stands elsewhere; InvalidArgumentError if a field names no subject.
 */
export function wrapPersonal<T extends object>(
  data: T,
  fields: readonly PersonalField[],
  type: string,
  sealed: readonly SealedAt[],
): T {
  const named = new Set<string>()
  const wrapped = mapPersonal(data, fields, (value, path, field, holder) => {
    named.add(path)
    return isSealed(value) ? value : sealLater(value, subjectIn(field, data, holder, path))
  })
  const elsewhere = sealed.filter(({ path }) => !named.has(path))
  if (elsewhere.length === 0) return wrapped
  const message = `holds a sealed value, but ${type} does not name the field in personal(...)`
  throw new InvalidDataError(
    type,
    elsewhere.map(({ path }) => ({ path: `data.${path}`, message })),
  )
}

/** The subject that a field names. @throws InvalidArgumentError */
export function subjectIn(field: PersonalField, data: object, holder: object, path: string): Subject {
  return checkSubject(field.subjectOf!(data, holder), `what personal says of ${path}`)
}

/**
 * A stored event, with its personal values sealed in this very place, or boxed if they were recorded before their field became
 * personal.
 *
 * @throws SealBrokenError if a sealed value was sealed for another event or field.
 */
export function checkedPersonal<E extends StreamEvent>(event: E, fields: readonly PersonalField[]): E {
  if (fields.length === 0 || isInPlace(event, fields)) return event
  return mapEvent(event, fields, (value, path) => {
    if (!isSealedText(value)) return boxed(value)
    if (isSealedFor(value.$sealed, event.id, path)) return value
    throw new SealBrokenError(
      `the sealed value at ${path} of ${event.type} belongs to another event or field: it was moved there by hand`,
    )
  })
}

/** Whether all values are sealed for the event, found out fast: it is asked for every event that is read. */
function isInPlace({ id, data }: StreamEvent, fields: readonly PersonalField[]): boolean {
  for (const field of fields) {
    const value = (data as Readonly<Record<string, Partial<SealedText> | null | undefined>>)[field.key]
    if (value === undefined) continue
    const text = value?.$sealed
    if (field.subjectOf === undefined || typeof text !== 'string' || !isSealedFor(text, id, field.path))
      return false
  }
  return true
}

/** An event after upcasts, which may have moved sealed values, and may have made personal ones. */
export function boxedPersonal<E extends StreamEvent>(event: E, fields: readonly PersonalField[]): E {
  return mapEvent(event, fields, boxed)
}

/** An event's data as a schema knows it, except for sealed values. */
export function unboxedPersonal(data: object, fields: readonly PersonalField[]): object {
  return mapPersonal(data, fields, (value) => (isUnsealed(value) ? value.$unsealed : value))
}

function boxed(value: unknown): unknown {
  return isSealed(value) ? value : Object.freeze({ $unsealed: value })
}

function mapEvent<E extends StreamEvent>(event: E, fields: readonly PersonalField[], map: MapPersonal): E {
  if (fields.length === 0 || typeof event.data !== 'object' || event.data === null) return event
  const data = mapPersonal(event.data, fields, map)
  return data === event.data ? event : { ...event, data }
}

/** Whether a text was sealed for this event and path. */
export function isSealedFor(text: string, id: string, path: string): boolean {
  const start = id.length + 1
  const end = start + path.length
  if (text.charCodeAt(end) !== COLON) return false
  // eslint-disable-next-line @typescript-eslint/prefer-string-starts-ends-with -- takes twice as long, for each event that is read
  return text.substring(0, id.length) === id && text.substring(start, end) === path
}

const COLON = 0x3a
