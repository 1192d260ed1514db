import { checkEvents, checkRequest, type EncodedEvent } from '../store/encode.ts'
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
import { appendDecisions, type Candidate, conditionsOf } from './append-decisions.ts'
import { backOff, type Call, type Decided } from './call.ts'
import type { ExecutionContext } from './context.ts'
import { type FoldedState, foldStream } from './fold.ts'
import { streamEventOfNew } from '../store/decode.ts'
import type { Conflict } from '../adapter/store-adapter.ts'
import type { AnyStream } from '../model/stream.ts'
import { environment } from '../base/environment.ts'

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
      for (;;) {
        const taken = named.filter((name) => locks.isTaken(name))
        const wanted = [...this.#contended, ...taken]
        this.#call.checkNotNested([...named, ...wanted])
        const release = await locks.take(wanted)
        const delay = await this.#attempt().finally(release)
        if (delay === undefined) return
        if (delay > 0) await backOff([this.#call], delay)
      }
    } catch (error) {
      this.#call.reject(error)
    }
  }

  /** @returns the delay before the next attempt; undefined if there is none. */
  async #attempt(): Promise<number | undefined> {
    const call = this.#call
    if (call.isOver) return undefined
    const reading = await this.#read()
    if (!reading) return 0
    const bases = reading.states.byStream()
    call.isCached = bases.length > 0 && bases.every(({ cached }) => cached)
    const candidate = await this.#decide(reading)
    if (call.isSettled) return undefined
    const { conflict } = await appendDecisions(this.#context, bases, [candidate])
    return conflict && this.#conflicted(conflict, candidate, reading)
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
      checkRequest(conditionsOf(reading.states.byStream()), [], core.capabilities)
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
    const standing = { call: this.#call, boundary: this.#boundary, first: 0 }
    const nothing = { ...standing, events: [], states: states.byStream(), result: undefined }
    try {
      const on = onStreams(boundary as Streams, states)
      const streams = states.all().map(({ stream }) => stream)
      const revisions = states.revisions()
      const decided: Decided = reading.threw
        ? { kind: 'threw', error: this.#call.unmet(revisions) ?? reading.threw.error }
        : await this.#call.decide(states.shape(boundary), { on }, placeOnSeveral(streams), revisions)
      if (decided.kind !== 'events') return { ...nothing, decided }
      const { events } = decided
      checkEvents(events, states.byStream().length)
      const after = this.#fold(states, events)
      return { ...standing, decided, events, states: after.byStream(), result: after.shape(boundary) }
    } catch (error) {
      return { ...nothing, decided: { kind: 'threw', error } }
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

  #conflicted(conflict: Conflict, { events }: Candidate, { states }: Reading): number | undefined {
    const { stream } = conflict
    const behind = states.of(stream)
    if (behind[0]) this.#old.set(stream, behind[0])
    this.#contended = [stream, ...events.map((event) => event.stream)]
    return this.#call.conflicted(conflict, !behind.some(({ cached }) => cached), environment.random())
  }
}
