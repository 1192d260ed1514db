import { after } from '../adapter/append-rules.ts'
import { checkEvents } from '../store/append-request.ts'
import type { EncodedEvent } from '../store/encode.ts'
import { limits } from '../base/limits.ts'
import { streamEventOfNew } from '../store/decode.ts'
import type { AnyStream } from '../model/stream.ts'
import { placeOnOne } from './boundary-shape.ts'
import type { Call, Decided } from './call.ts'
import { evolve, isShareable, see, seeAfter, type FoldedState } from './fold.ts'

/** A command that waits for the stream. */
export interface Waiting {
  readonly call: Call
  readonly stream: AnyStream
}

/** A decided command: what it stands on are the events of those before it in its group. */
export interface Candidate extends Waiting {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the group. */
  readonly first: number
  /** The state with its events. */
  readonly state: FoldedState
  /** The same as the caller gets it; made before the append, because making it may fail. */
  readonly result: unknown
}

/** Commands decided one after the other, and those that are left for another append. */
export interface Sequence {
  readonly candidates: readonly Candidate[]
  readonly rest: readonly Waiting[]
}

/** Decides each command on the state that the one before it leaves, as far as they go into one append. */
export async function decideInSequence(group: readonly Waiting[], base: FoldedState): Promise<Sequence> {
  const candidates: Candidate[] = []
  const deferred: Waiting[] = []
  const events: EncodedEvent[] = []
  const keys = new Set<string>()
  const ids = new Set<string>()
  let state = base
  let isSeen = false
  let total = 0
  for (const [i, waiting] of group.entries()) {
    const { call } = waiting
    if (call.isOver) continue
    if (call.key !== undefined && keys.has(call.key)) {
      deferred.push(waiting)
      continue
    }
    if (isSeen && !isShareable(state)) return { candidates, rest: [...deferred, ...group.slice(i)] }
    isSeen = true
    const deciding = decide(waiting, state)
    const decided = deciding instanceof Promise ? await deciding : deciding
    if (call.isSettled) continue
    const own = decided.kind === 'events' ? decided.events : []
    const size = sizeOf(own)
    const isFull = events.length + own.length > limits.appendEvents || total + size > limits.appendBytes
    if (own.some(({ id }) => ids.has(id)) || (events.length > 0 && own.length > 0 && isFull)) {
      return { candidates, rest: [...deferred, ...group.slice(i)] }
    }
    const candidate = fold(waiting, decided, own, state, events.length)
    candidates.push(candidate)
    for (const event of candidate.events) {
      events.push(event)
      ids.add(event.id)
    }
    total += size
    state = candidate.state
    if (call.key !== undefined) keys.add(call.key)
  }
  return { candidates, rest: deferred }
}

function decide({ call, stream }: Waiting, state: FoldedState): Decided | Promise<Decided> {
  try {
    return call.decide(see(state), { revision: state.revision }, placeOnOne(stream))
  } catch (error) {
    // Of `clone()`: like an error of `handle`, it stands or falls with the state.
    return { kind: 'threw', error }
  }
}

/** At the most so many bytes of JSON in UTF-8; counting exactly, again and again, would cost too much. */
function sizeOf(events: readonly EncodedEvent[]): number {
  let size = 0
  for (const { data, metadata } of events) size += 3 * (data.length + metadata.length)
  return size
}

/**
 * Without those given up while others were decided after them; these stand on what they left, and are decided
 * anew.
 */
export function withoutGivenUp({ candidates, rest }: Sequence): Sequence {
  const givenUp = candidates.findIndex(({ call }) => call.isSettled)
  if (givenUp < 0) return { candidates, rest }
  return { candidates: candidates.slice(0, givenUp), rest: [...candidates.slice(givenUp), ...rest] }
}

/** Checks and folds a decision's events: what the aggregate cannot fold is never stored. */
function fold(
  waiting: Waiting,
  decided: Decided,
  events: readonly EncodedEvent[],
  state: FoldedState,
  first: number,
): Candidate {
  try {
    checkEvents(events, 1)
    let { revision } = state
    const placed = events.map((event) =>
      streamEventOfNew(event, (revision = after(revision)), waiting.call.metadata),
    )
    const next = evolve(state, placed)
    return { ...waiting, decided, events, first, state: next, result: seeAfter(next) }
  } catch (error) {
    return { ...waiting, decided: { kind: 'threw', error }, events: [], first, state, result: undefined }
  }
}
