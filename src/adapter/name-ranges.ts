import { compareNames } from '../model/names.ts'
import type { StreamsRequest } from './store-adapter.ts'

/** Names from one on, inclusive, up to another, exclusive; `undefined`: up to the last. */
export interface NameRange {
  readonly from: string
  readonly before: string | undefined
}

/**
 * The ranges of names, in order, in which the streams lie that a request asks for. A category is its own name, and all names
 * that begin with it and a dash; between the two are names of other categories, like `Door!`.
 */
export function nameRangesOf({ category, after }: StreamsRequest): NameRange[] {
  const from = after === undefined ? '' : behindName(after)
  // A dash ends a category, so none has one in it.
  if (category?.includes('-')) return []
  const ranges =
    category === undefined
      ? [{ from, before: undefined }]
      : [
          { from: category, before: behindName(category) },
          // '.' is the next character after '-'.
          { from: `${category}-`, before: `${category}.` },
        ]
  return ranges
    .map((range) => (compareNames(range.from, from) < 0 ? { ...range, from } : range))
    .filter((range) => range.before === undefined || compareNames(range.from, range.before) < 0)
}

/** Where the names behind a name begin: they have no control characters, so nothing lies between. */
export function behindName(name: string): string {
  return `${name}\u0001`
}
