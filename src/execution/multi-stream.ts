import { checkEvents, checkRequest, type EncodedEvent, idsOf } from '../store/encode.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import {
  listStreams,
  onStreams,
  placeOnSeveral,
  readBoundary,
  type Reading,
  type StateSet,
} from './boundary.ts'
import type { Streams } from '../model/command.ts'
import { backOff, type Call, type Decided, report } from './call.ts'
import type { ExecutionContext } from './context.ts'
import { type FoldedState, foldStream } from './fold.ts'
import { streamEventOfNew } from '../store/decode.ts'
import type { Appended, Condition, Conflict, Repeated } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'
import { environment } from '../base/environment.ts'

/** A decision with its events, and the states with them. */
interface Candidate {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  readonly reading: Reading
  readonly after: StateSet
  /** The state for the caller; made before the append, because `clone()` may throw. */
  readonly result: unknown
}

/**
 * A command over several streams: read, decided and appended under a condition on each of them. It never depends on
 * uncommitted events of other commands. The first attempt runs at once; after a conflict it takes the locks of the streams
 * in question, so that this process's other commands do not starve it.
 */
export class MultiStreamDecision {
  readonly #context: ExecutionContext
  readonly #call: Call
  readonly #boundary: Streams
  /** Streams on which it lost a race. */
  #contended: readonly string[] = []
  /** States that were out of date, to which later events are added. */
  readonly #old = new Map<string, FoldedState>()

  constructor(context: ExecutionContext, call: Call, boundary: Streams) {
    this.#context = context
    this.#call = call
    this.#boundary = boundary
  }

  /** Settles the call. */
  async run(): Promise<void> {
    const { locks } = this.#context
    try {
      const named = listStreams(this.#boundary).map(({ stream }) => stream)
      while (!this.#call.isSettled) {
        const taken = named.filter((name) => locks.isTaken(name))
        const wanted = [...this.#contended, ...taken]
        this.#call.checkNotNested([...named, ...wanted])
        const release = await locks.take(wanted)
        const delay = await this.#attempt().finally(release)
        if (delay > 0) await backOff([this.#call], delay)
      }
    } catch (error) {
      this.#call.reject(error)
    }
  }

  /** @returns the delay before the next attempt, if the call is not settled. */
  async #attempt(): Promise<number> {
    const call = this.#call
    if (call.isOver) return 0
    const { cache } = this.#context
    const reading = await this.#read()
    if (!reading) return 0
    const bases = reading.states.byStream()
    const conditions = conditionsOf(reading.states)
    call.isCached = bases.length > 0 && bases.every(({ cached }) => cached)
    const candidate = await this.#decide(reading)
    if (call.isSettled) return 0
    const { events } = candidate
    const { key, fingerprint } = call
    const keys = key === undefined ? [] : [{ key, fingerprint, first: 0, count: events.length }]
    if (events.length === 0 && keys.length === 0 && bases.length < 2 && !bases.some(({ cached }) => cached)) {
      this.#report(candidate)
      return 0
    }
    try {
      const verdict = await this.#context.append({ conditions, events, keys, ids: idsOf(events) }, [call])
      if (verdict.kind === 'conflict') return this.#conflicted(verdict, candidate)
      if (verdict.kind === 'used') {
        for (const base of bases) if (!base.cached) cache.set(base)
        await this.#context.repeated.settle(call, this.#boundary, verdict.uses[0]!)
      } else this.#report(candidate, verdict)
      return 0
    } catch (error) {
      for (const { stream } of bases) cache.delete(stream.stream)
      throw error
    }
  }

  /**
   * Reads all streams. If that fails with cached states, which may be out of date and follow the wrong streams, everything
   * has to be read again.
   *
   * @returns undefined if everything has to be read again.
   */
  async #read(): Promise<Reading | undefined> {
    const { core, cache } = this.#context
    const call = this.#call
    const named = listStreams(this.#boundary)
    const atHand = named.filter((stream) => cache.get(stream) !== undefined)
    try {
      const reading = await readBoundary(call, this.#boundary, (...args) => this.#load(...args))
      checkRequest(conditionsOf(reading.states), [], core.capabilities)
      return reading
    } catch (error) {
      if (atHand.length === 0) throw error
      for (const { stream } of atHand) cache.delete(stream)
      return undefined
    }
  }

  /** From the cache or from the store; up to the revision of another fold of the stream, if there is one. */
  async #load(stream: AnyStream, beside?: FoldedState): Promise<FoldedState> {
    const { core, cache } = this.#context
    const cached = cache.get(stream)
    if (cached && (!beside || beside.revision === cached.revision)) return cached
    if (beside) return foldStream(core, stream, { upTo: beside.revision })
    const known = this.#old.get(stream.stream)
    return foldStream(core, stream, { known })
  }

  async #decide(reading: Reading): Promise<Candidate> {
    const { states, boundary } = reading
    const nothing = { events: [], reading, after: states, result: undefined }
    try {
      const on = onStreams(boundary as Streams, states)
      const streams = states.all().map(({ stream }) => stream)
      const revisions = states.revisions()
      const decided: Decided = reading.threw
        ? { kind: 'threw', error: this.#call.unmet(revisions) ?? reading.threw.error }
        : await this.#call.decide(states.shape(boundary), { on }, placeOnSeveral(streams), revisions)
      if (decided.kind !== 'events') return { decided, ...nothing }
      const { events } = decided
      checkEvents(events, states.byStream().length)
      const after = this.#fold(states, events)
      return { decided, events, reading, after, result: after.shape(boundary) }
    } catch (error) {
      return { decided: { kind: 'threw', error }, ...nothing }
    }
  }

  /** The states with the decision's events, so that an event that an aggregate cannot fold is never stored. */
  #fold(states: StateSet, events: readonly EncodedEvent[]): StateSet {
    const heads = states.revisions()
    const placed = events.map((event) => {
      const revision = nextRevision(heads.get(event.stream)!)
      heads.set(event.stream, revision)
      return streamEventOfNew(event, revision, this.#call.metadata)
    })
    return states.evolve(placed)
  }

  #conflicted(conflict: Conflict, { events, reading }: Candidate): number {
    const behind = reading.states.of(conflict.stream)
    this.#context.cache.delete(conflict.stream)
    if (behind[0]) this.#old.set(conflict.stream, behind[0])
    this.#contended = [conflict.stream, ...events.map(({ stream }) => stream)]
    return this.#call.conflicted(conflict, !behind.some(({ cached }) => cached), environment.random()) ?? 0
  }

  #report(candidate: Candidate, verdict?: Appended | Repeated): void {
    const states = candidate.after.byStream()
    for (const folded of states) {
      if (verdict?.kind === 'repeated') this.#context.cache.delete(folded.stream.stream)
      else this.#context.cache.set(folded)
    }
    report(this.#call, { ...candidate, first: 0, revisions: candidate.after.revisions() }, verdict)
  }
}

/** Expects each stream at the revision of its state. */
function conditionsOf(states: StateSet): Condition[] {
  return states.byStream().map(({ stream, revision }) => ({ stream: stream.stream, expected: revision }))
}
