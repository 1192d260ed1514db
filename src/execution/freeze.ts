import { isPlain } from '../model/json.ts'

/**
 * Freezes a state deeply, so that it can be cached and shared: plain objects, arrays, Maps, Sets and Dates.
 *
 * @returns what in it cannot be frozen, like 'a function'; `undefined` if everything is frozen.
 */
export function freezeState(state: unknown): string | undefined {
  const visited: object[] = []
  const obstacle = freeze(state, visited)
  if (obstacle !== undefined) for (const object of visited) frozen.delete(object)
  return obstacle
}

/**
 * Freezes as much of a state as possible between two steps of a fold. Cheap: a frozen object counts as deeply frozen, and
 * long arrays wait for the end of the fold, because freezing one takes Bun microseconds per item.
 */
export function freezeStep(state: unknown): void {
  if (typeof state !== 'object' || state === null || Object.isFrozen(state)) return
  if (Object.getPrototypeOf(state) === Object.prototype) {
    // Most states. Looking for what cannot be frozen, as the end of the fold does, takes several times as long.
    Object.freeze(state)
    for (const key in state) freezeStep((state as Readonly<Record<string, unknown>>)[key])
    return
  }
  if (Array.isArray(state) && state.length > MAX_ITEMS_PER_STEP) return
  const items = lock(state)
  if (!items) return
  Object.freeze(state)
  for (const item of items) freezeStep(item)
}

/** The longest array that is frozen between two steps. An `apply` that changes its argument fails while it is shorter. */
const MAX_ITEMS_PER_STEP = 100

/** Objects that are known to be deeply frozen. Small ones without objects in them are looked at again, which is cheaper. */
const frozen = new WeakSet()
/** The most values of such an object. */
const MAX_UNMARKED_VALUES = 20

function freeze(value: unknown, visited: object[]): string | undefined {
  if (typeof value !== 'object' || value === null)
    return typeof value === 'function' ? 'a function' : undefined
  if (frozen.has(value)) return undefined
  const items = lock(value)
  if (!items) return kindOf(value)
  Object.freeze(value)
  if (items.length <= MAX_UNMARKED_VALUES && items.every(isPrimitive)) return undefined
  frozen.add(value)
  visited.push(value)
  for (const item of items) {
    const obstacle = freeze(item, visited)
    if (obstacle !== undefined) return obstacle
  }
  return undefined
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== 'function' && (typeof value !== 'object' || value === null)
}

function kindOf(object: object): string {
  if (isPlain(object)) return 'a property with a getter or setter'
  const { constructor } = object as { constructor?: { name?: unknown } }
  const name = typeof constructor?.name === 'string' ? constructor.name : ''
  return name === '' ? 'an instance of a class' : `an instance of ${name}`
}

/**
 * Prevents changes that `Object.freeze` does not prevent.
 *
 * @returns the object's values, which are to be frozen as well; `undefined` if the object can still be changed.
 */
function lock(object: object): readonly unknown[] | undefined {
  const prototype = Object.getPrototypeOf(object) as object | null
  if (Array.isArray(object)) return prototype !== null && isPlain(prototype) ? object : undefined
  // No subclasses: their methods can reach the writers that are replaced here.
  if (prototype === Map.prototype) {
    const map = object as Map<unknown, unknown>
    return refuseWriters(map, MAP_WRITERS) ? [...map.keys(), ...map.values()] : undefined
  }
  if (prototype === Set.prototype) {
    return refuseWriters(object, SET_WRITERS) ? [...(object as Set<unknown>)] : undefined
  }
  if (prototype === Date.prototype) return refuseWriters(object, DATE_WRITERS) ? [] : undefined
  return isPlain(object) ? valuesOf(object) : undefined
}

/** The values of a plain object; `undefined` if it has accessors, which could change variables outside. */
function valuesOf(object: object): unknown[] | undefined {
  const values: unknown[] = []
  for (const key of Reflect.ownKeys(object)) {
    const property = Object.getOwnPropertyDescriptor(object, key)
    if (!property || !('value' in property)) return undefined
    values.push(property.value)
  }
  return values
}

/** Freezing a Map does not freeze its entries, so its writers are replaced, as Immer does. False if they cannot be. */
function refuseWriters(object: object, writers: readonly string[]): boolean {
  const isRefused = (name: string) => Object.getOwnPropertyDescriptor(object, name)?.value === refuse
  if (writers.every(isRefused)) return true
  if (!Object.isExtensible(object)) return false
  for (const name of writers) Object.defineProperty(object, name, { value: refuse })
  return true
}

function refuse(): never {
  throw new TypeError('a state is read-only: return an event, or in apply a changed copy')
}

/** All methods except known readers: a newer runtime may have more writers. */
const MAP_WRITERS = writersOf(Map.prototype, ['get', 'has', 'forEach', 'keys', 'values', 'entries'])
const SET_WRITERS = writersOf(Set.prototype, [
  ...['has', 'forEach', 'keys', 'values', 'entries', 'union', 'intersection', 'difference'],
  ...['symmetricDifference', 'isSubsetOf', 'isSupersetOf', 'isDisjointFrom'],
])
const DATE_WRITERS = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set'))

function writersOf(prototype: object, readers: readonly string[]): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([name, { value }]) => typeof value === 'function' && ![...readers, 'constructor'].includes(name))
    .map(([name]) => name)
}
