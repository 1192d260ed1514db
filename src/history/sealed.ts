import { isSealed } from '../model/sealed.ts'

/**
 * Whether what a schema says of a path may be due to a sealed value: there is one on the way to it, or below it, as in an
 * alternative of a union. A schema checks the plain values, when an event is made.
 */
export function isSealedAt(data: unknown, path: readonly PropertyKey[]): boolean {
  let value = data
  for (const key of path) {
    if (isSealed(value)) return true
    value = (Object(value) as Record<PropertyKey, unknown>)[key]
  }
  return hasSealed(value)
}

function hasSealed(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return isSealed(value) || Object.values(value).some(hasSealed)
}
