import { isSealed } from '../model/sealed.ts'

/** Whether data has a sealed value at a path, or on the way to it: a schema checks the plain value, when an event is made. */
export function isSealedAt(
  data: unknown,
  path: readonly (PropertyKey | { readonly key: PropertyKey })[],
): boolean {
  let value = data
  for (const part of path) {
    if (isSealed(value)) return true
    value = (Object(value) as Record<PropertyKey, unknown>)[typeof part === 'object' ? part.key : part]
  }
  return isSealed(value)
}
