import { isPlain } from './plain-data.ts'

/**
 * Freezes a state deeply, so that it can be kept and handed out again and again: plain objects, arrays, Maps,
 * Sets and Dates.
 *
 * @returns false where something in it cannot be frozen (an instance of a class, a function, a typed array):
 *   then whoever sees the state could change it, and it must not be shared.
 */
export function freezeState(state: unknown): boolean {
  const visited: object[] = []
  if (freeze(state, visited)) return true
  for (const object of visited) frozen.delete(object)
  return false
}

/** What is known to be frozen with all that it holds. */
const frozen = new WeakSet()

function freeze(value: unknown, visited: object[]): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function'
  if (frozen.has(value)) return true
  frozen.add(value)
  visited.push(value)
  if (value instanceof Map)
    return freezeItems(lock(value, MAP_WRITERS), [...value.keys(), ...value.values()], visited)
  if (value instanceof Set) return freezeItems(lock(value, SET_WRITERS), [...value], visited)
  if (value instanceof Date) return freezeItems(lock(value, DATE_WRITERS), [], visited)
  if (Array.isArray(value)) return freezeItems(value, value, visited)
  if (!isPlain(value)) return false
  return freezeItems(value, valuesOf(value), visited)
}

function freezeItems(object: object, items: readonly unknown[] | undefined, visited: object[]): boolean {
  if (!items) return false
  Object.freeze(object)
  for (const item of items) if (!freeze(item, visited)) return false
  return true
}

/** The values of a plain object; `undefined` where it has accessors, which could change what they close over. */
function valuesOf(object: object): unknown[] | undefined {
  const values: unknown[] = []
  for (const key of Reflect.ownKeys(object)) {
    const property = Object.getOwnPropertyDescriptor(object, key)
    if (!property || !('value' in property)) return undefined
    values.push(property.value)
  }
  return values
}

/** Freezing a Map does not freeze its entries: its writers are replaced, as Immer does. */
function lock<T extends object>(object: T, writers: readonly string[]): T {
  if (Object.isFrozen(object)) return object
  for (const name of writers) Object.defineProperty(object, name, { value: refuse })
  return object
}

function refuse(): never {
  throw new TypeError('a state is read-only: return an event, or in apply a changed copy')
}

const MAP_WRITERS = ['set', 'delete', 'clear']
const SET_WRITERS = ['add', 'delete', 'clear']
const DATE_WRITERS = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set'))
