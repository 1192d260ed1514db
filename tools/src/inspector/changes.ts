import type { Change, Path } from './api.ts'
import { childOf, isBranch, keysOf, leafOf, show } from './shown.ts'

/** So many differences are listed; nobody reads more. */
const MAX_CHANGES = 200

/** Where two values differ: what is there before and after, `undefined` if nothing is. */
export interface Difference {
  readonly path: Path
  readonly before: unknown
  readonly after: unknown
}

/**
 * Where two states differ.
 *
 * @returns `isMore`: whether there are more than are listed.
 */
export function changesBetween(
  before: unknown,
  after: unknown,
): { readonly changes: readonly Change[]; readonly isMore: boolean } {
  const changes: Change[] = []
  for (const difference of differences(before, after)) {
    if (changes.length === MAX_CHANGES) return { changes, isMore: true }
    changes.push({
      path: difference.path,
      ...(difference.before !== undefined && { before: show(difference.before) }),
      ...(difference.after !== undefined && { after: show(difference.after) }),
    })
  }
  return { changes, isMore: false }
}

/**
 * Where two states differ, as deep inside as both have children. What both share is not looked at, so a step of a large state is
 * compared as fast as one of a small.
 */
export function* differences(root: unknown, other: unknown): Generator<Difference> {
  const waiting: Difference[] = [{ before: root, after: other, path: [] }]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    if (Object.is(next.before, next.after)) continue
    const [left, right, { path }] = [leafOf(next.before), leafOf(next.after), next]
    if (Object.is(left, right)) continue
    if (!isBranch(left) || !isBranch(right) || Array.isArray(left) !== Array.isArray(right)) {
      yield next
      continue
    }
    const keys = [...new Set([...keysOf(left), ...keysOf(right)])]
    // The last one is looked at first: they come out in their order.
    for (const key of keys.reverse()) {
      const [before, after] = [childOf(left, key), childOf(right, key)]
      if (!Object.is(before, after)) waiting.push({ before, after, path: [...path, key] })
    }
  }
}
