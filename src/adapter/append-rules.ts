import type { ExpectedRevision, Revision } from '../base/revision.ts'
import type {
  AppendRequest,
  Conflict,
  EraseRequest,
  EraseVerdict,
  KeyClaim,
  Repeated,
  StoredEvent,
} from './store-adapter.ts'

/** Whether a stream's head is the expected one. */
export function holds(expected: ExpectedRevision, actual: Revision): boolean {
  return expected === 'any' || (expected === 'exists' ? actual !== 'none' : expected === actual)
}

/** The first condition that does not hold, as the verdict of the append. `heads`: the head of each condition's stream. */
export function conflictOf({ conditions }: AppendRequest, heads: readonly Revision[]): Conflict | undefined {
  for (let i = 0; i < conditions.length; i++) {
    const { stream, expected } = conditions[i]!
    const actual = heads[i]!
    if (!holds(expected, actual)) return { kind: 'conflict', stream, expected, actual }
  }
  return undefined
}

/**
 * The verdict on an erasure that has nothing to erase, or must not; `undefined` if there is something to erase.
 *
 * @param head of a stream that is not deleted.
 * @param first the first revision that it has, or that comes next.
 */
export function unneededErasure(
  { stream, expected, before }: EraseRequest,
  head: Revision,
  first: number,
): EraseVerdict | undefined {
  if (!holds(expected, head)) return { kind: 'conflict', stream, expected, actual: head }
  if (before === undefined) return undefined
  if (before > nextRevision(head)) return { kind: 'beyond', head }
  return before <= first ? { kind: 'unchanged' } : undefined
}

/** The revision of each event of an append, and the head of each condition's stream after it. `before`: the heads before it. */
export function placeEvents(
  { conditions, events }: Pick<AppendRequest, 'conditions' | 'events'>,
  before: readonly Revision[],
): { revisions: number[]; heads: Revision[] } {
  const heads = [...before]
  const index = conditions.length > 1 ? new Map(conditions.map(({ stream }, i) => [stream, i])) : undefined
  const revisions = events.map(({ stream }) => {
    const i = index?.get(stream) ?? 0
    return (heads[i] = nextRevision(heads[i]!))
  })
  return { revisions, heads }
}

/** The streams that are kept with a key. @param known those of the conditions */
export function streamsOf({ streams }: KeyClaim, known: ReadonlyMap<string, unknown>): readonly string[] {
  return streams ? streams.filter((stream) => known.has(stream)) : [...known.keys()]
}

/** The revision of the next event after a head. */
export function nextRevision(revision: Revision): number {
  return revision === 'none' ? 0 : revision + 1
}

/**
 * The event by which a repeat of an append is recognised: the first one of a stream with an exact expectation. If the append
 * is a repeat, that event is stored at this revision, and the append's other events around it, in order. `undefined` if
 * the append cannot be a repeat.
 */
export function anchorOf({
  conditions,
  events,
}: AppendRequest): { index: number; revision: number } | undefined {
  for (const { stream, expected } of conditions) {
    if (expected === 'any' || expected === 'exists') continue
    const index = events.findIndex((event) => event.stream === stream)
    if (index >= 0) return { index, revision: nextRevision(expected) }
  }
  return undefined
}

/**
 * The verdict of an append that is a repeat: its events are those that are stored around its anchor. `undefined` if they
 * are not.
 *
 * @param stored as many events as the append has, from the place where its first event would be stored.
 * @param now the current head of each condition's stream.
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
