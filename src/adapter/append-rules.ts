import type { ExpectedRevision, Revision } from '../base/revision.ts'
import type { AppendRequest, Conflict, Repeated, StoredEvent } from './store-adapter.ts'

/** Whether a stream at revision `actual` meets its expected revision. */
function holds(expected: ExpectedRevision, actual: Revision): boolean {
  return expected === 'any' || (expected === 'exists' ? actual !== 'none' : expected === actual)
}

/** The first condition that does not hold. @param heads the revision of each condition's stream. */
export function conflictOf({ conditions }: AppendRequest, heads: readonly Revision[]): Conflict | undefined {
  for (let i = 0; i < conditions.length; i++) {
    const { stream, expected } = conditions[i]!
    const actual = heads[i]!
    if (!holds(expected, actual)) return { kind: 'conflict', stream, expected, actual }
  }
  return undefined
}

/** The revision of each event of an append, and the heads of its streams after it. */
export function place(
  { conditions, events }: Pick<AppendRequest, 'conditions' | 'events'>,
  before: readonly Revision[],
): { revisions: number[]; heads: Revision[] } {
  const heads = [...before]
  const index = conditions.length > 1 ? new Map(conditions.map(({ stream }, i) => [stream, i])) : undefined
  const revisions = events.map(({ stream }) => {
    const i = index?.get(stream) ?? 0
    return (heads[i] = after(heads[i]!))
  })
  return { revisions, heads }
}

/** The revision after this one. */
export function after(revision: Revision): number {
  return revision === 'none' ? 0 : revision + 1
}

/**
 * The first event by which a repeat of an append is recognised: it was written to a stream under an exact expected
 * revision. The other events of the append are adjacent to it, in order.
 */
export function anchorOf({
  conditions,
  events,
}: AppendRequest): { index: number; revision: number } | undefined {
  for (const { stream, expected } of conditions) {
    if (expected === 'any' || expected === 'exists') continue
    const index = events.findIndex((event) => event.stream === stream)
    if (index >= 0) return { index, revision: after(expected) }
  }
  return undefined
}

/**
 * The answer to an append if it is a repeat, that is, if its events are those stored around its anchor.
 *
 * @param stored as many stored events as it has, from where its first one would be.
 * @param now the present head of each condition's stream.
 */
export function repeatOf(
  { conditions, events }: AppendRequest,
  stored: readonly StoredEvent[],
  now: readonly Revision[],
): Repeated | undefined {
  const isSame = events.every(({ id, stream }, i) => stored[i]?.id === id && stored[i].stream === stream)
  if (!isSame) return undefined
  const last = new Map(stored.map(({ stream, revision }) => [stream, revision]))
  const heads = conditions.map(({ stream, expected }, i) => {
    const isExact = expected !== 'any' && expected !== 'exists'
    return last.get(stream) ?? (isExact ? expected : now[i]!)
  })
  return { kind: 'repeated', events: stored, heads }
}
