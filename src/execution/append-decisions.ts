import type { AppendVerdict, Condition, Conflict, EventsErased, KeyClaim } from '../adapter/store-adapter.ts'
import type { Boundary } from '../model/command.ts'
import { type EncodedEvent, idsOf } from '../store/encode.ts'
import { erasedError } from '../store/erasing.ts'
import { type Call, type Decided, report } from './call.ts'
import type { ExecutionContext } from './context.ts'
import type { Revision } from '../base/revision.ts'
import type { FoldedState } from './fold.ts'

/** A decided command, whose decision is to be appended. */
export interface Candidate {
  readonly call: Call
  readonly boundary: Boundary
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the group. */
  readonly first: number
  /** One state of each stream that it reads, with its events and with those of the commands before it in the group. */
  readonly states: readonly FoldedState[]
  /** The state for the caller; made before the append, because `clone()` may throw. */
  readonly result: unknown
}

/** What has to be decided again. */
export interface Unsettled<C> {
  readonly again: readonly C[]
  /** Why, if a stream is not where it was read. */
  readonly conflict?: Conflict | undefined
}

/**
 * Appends the decisions of a group, all of which were made on the same states, in one append with a condition on each of
 * their streams; and settles every command that this settles. Nothing is reported before everything it depends on is
 * committed.
 *
 * @param bases one state of each stream that the group has read.
 * @returns those that depend on what was not stored, and have to be decided again.
 */
export async function appendDecisions<C extends Candidate>(
  context: ExecutionContext,
  bases: readonly FoldedState[],
  candidates: readonly C[],
): Promise<Unsettled<C>> {
  const { cache } = context
  const forget = () => {
    for (const { stream } of bases) cache.delete(stream.stream)
  }
  const only = candidates.length === 1 ? candidates[0] : undefined
  const events = only ? only.events : candidates.flatMap((candidate) => candidate.events)
  const keys: KeyClaim[] = []
  for (const candidate of candidates)
    if (candidate.call.key !== undefined) keys.push(...claimOf(candidate, context))
  if (events.length === 0 && keys.length === 0 && bases.length < 2 && !bases.some(({ cached }) => cached)) {
    // The state was just read and no event is appended: reading it was the verification.
    for (const candidate of candidates) reportOne(candidate)
    keep(context, candidates)
    return { again: [] }
  }
  const request = { conditions: conditionsOf(bases), events, keys, ids: idsOf(events) }
  let verdict: AppendVerdict
  try {
    verdict = await context.append(
      request,
      candidates.map(({ call }) => call),
    )
  } catch (error) {
    forget()
    // Commands without events cannot be in doubt: they are decided again, without the events of the others.
    const isLost = ({ events: own }: C) => own.length > 0 || events.length === 0
    for (const { call } of candidates.filter(isLost)) call.reject(error)
    return { again: candidates.filter((candidate) => !isLost(candidate)) }
  }
  switch (verdict.kind) {
    case 'conflict':
      cache.delete(verdict.stream)
      return { again: candidates, conflict: verdict }
    case 'used': {
      for (const base of bases) if (!base.cached) context.keep(base)
      const uses = new Map(verdict.uses.map((use) => [use.key, use]))
      const useOf = ({ call: { key } }: C) => (key === undefined ? undefined : uses.get(key))
      for (const candidate of candidates) {
        const use = useOf(candidate)
        if (use) void context.repeated.settle(candidate.call, candidate.boundary, use)
      }
      return { again: candidates.filter((candidate) => !useOf(candidate)) }
    }
    case 'erased': {
      // Nothing was stored. The states still hold, unless their stream is deleted.
      if (verdict.firstRevision === undefined) cache.delete(verdict.stream)
      const own = await erasedOf(context, candidates, verdict)
      for (const [{ call }, erased] of own) call.reject(erasedError(erased))
      return { again: candidates.filter((candidate) => !own.has(candidate)) }
    }
    case 'repeated':
      // The events with given ids were stored before. The other decisions depend on a state that is out of date.
      forget()
      for (const writer of candidates.filter(hasEvents)) reportOne(writer, verdict)
      return { again: candidates.filter((candidate) => !hasEvents(candidate)) }
    default:
      keep(context, candidates)
      for (const candidate of candidates) reportOne(candidate, verdict)
      return { again: [] }
  }
}

/** The commands of a group whose keys stand for events that were erased; if there are none, those on the stream that was. */
async function erasedOf<C extends Candidate>(
  context: ExecutionContext,
  candidates: readonly C[],
  verdict: EventsErased,
): Promise<Map<C, EventsErased>> {
  const found = new Map<C, EventsErased>()
  for (const candidate of candidates.length > 1 ? candidates : []) {
    const keys = claimOf(candidate, context).map((claim) => ({ ...claim, first: 0, count: 0 }))
    if (keys.length === 0) continue
    const conditions = candidate.states.map(({ stream }) => ({
      stream: stream.stream,
      expected: 'any' as const,
    }))
    const asked = await context.append({ conditions, events: [], keys, ids: 'made' }, [])
    if (asked.kind === 'erased') found.set(candidate, asked)
  }
  if (found.size > 0) return found
  const onIt = candidates.filter(({ states }) =>
    states.some(({ stream }) => stream.stream === verdict.stream),
  )
  return new Map((onIt.length > 0 ? onIt : candidates).map((candidate) => [candidate, verdict]))
}

/** Keeps the states with all events of a group. */
function keep(context: ExecutionContext, candidates: readonly Candidate[]): void {
  for (const folded of candidates.at(-1)?.states ?? []) context.keep(folded)
}

/** Expects each stream at the revision of its state. */
export function conditionsOf(states: readonly FoldedState[]): Condition[] {
  return states.map(({ stream, revision }) => ({ stream: stream.stream, expected: revision }))
}

function claimOf({ call, events, first }: Candidate, { core }: ExecutionContext): KeyClaim[] {
  const { key } = call
  if (key === undefined) return []
  return [{ key, fingerprint: core.keptFingerprint(call.fingerprint), first, count: events.length }]
}

function hasEvents({ events }: Candidate): boolean {
  return events.length > 0
}

function reportOne(candidate: Candidate, verdict?: Parameters<typeof report>[3]): void {
  const revisions = new Map<string, Revision>()
  for (const { stream, revision } of candidate.states) revisions.set(stream.stream, revision)
  report(candidate.call, candidate, revisions, verdict)
}
