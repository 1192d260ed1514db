import type { Change, Path } from './api.ts'
import { childOf, isBranch, keysOf, leafOf, show } from './shown.ts'

/** So many differences are listed; nobody reads more. */
const MAX_CHANGES = 200

/**
 * Where two states differ, as deep inside as both have children. What both share is not looked at, so a step of a large state is
 * compared as fast as one of a small.
 *
 * @returns `isMore`: whether there are more than are listed.
 */
export function changesBetween(
  before: unknown,
  after: unknown,
): { readonly changes: readonly Change[]; readonly isMore: boolean } {
  const changes: Change[] = []
  const waiting: { before: unknown; after: unknown; path: Path }[] = [{ before, after, path: [] }]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    if (Object.is(next.before, next.after)) continue
    const [left, right, { path }] = [leafOf(next.before), leafOf(next.after), next]
    if (Object.is(left, right)) continue
    if (!isBranch(left) || !isBranch(right) || Array.isArray(left) !== Array.isArray(right)) {
      if (changes.length === MAX_CHANGES) return { changes, isMore: true }
      changes.push({
        path,
        ...(next.before !== undefined && { before: show(next.before) }),
        ...(next.after !== undefined && { after: show(next.after) }),
      })
      continue
    }
    const keys = [...new Set([...keysOf(left), ...keysOf(right)])]
    // The last one is looked at first: they come out in their order.
    for (const key of keys.reverse()) {
      const [before, after] = [childOf(left, key), childOf(right, key)]
      if (!Object.is(before, after)) waiting.push({ before, after, path: [...path, key] })
    }
  }
  return { changes, isMore: false }
}
