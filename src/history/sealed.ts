/** Whether a value is a sealed personal one, in the form in which events hold it. Its content is nobody's business here. */
export function isSealed(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { $sealed } = value as { readonly $sealed?: unknown }
  return typeof $sealed === 'string' || Object.hasOwn(value, '$unsealed')
}

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
