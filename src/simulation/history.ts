import type { StoredEvent } from '../adapter/store-adapter.ts'
import { listStreams, onStreams, placeOnOne, placeOnSeveral, readBoundary } from '../execution/boundary.ts'
import type { FoldedState } from '../execution/fold.ts'
import { type Boundary, type Command, isRejection } from '../model/command.ts'
import type { StreamEvent } from '../model/event.ts'
import type { Metadata } from '../model/metadata.ts'
import { type AnyStream, isStream } from '../model/stream.ts'
import type { Revision } from '../base/revision.ts'
import type { CommandClock } from './clock.ts'

/** A command, with what its decision is given. */
export interface Decider {
  readonly command: Command<Boundary, unknown>
  readonly needs: object
  readonly metadata: Metadata
  readonly clock: CommandClock
}

/** What a command decides on the history up to some place: once for each time that it was told. */
export interface Redecisions {
  readonly decisions: readonly Redecided[]
  readonly streams: readonly string[]
}

/** What a command decides on the history up to some place. */
export type Redecided =
  | { readonly kind: 'events'; readonly events: readonly string[] }
  | { readonly kind: 'rejected'; readonly rejection: string }
  | { readonly kind: 'threw'; readonly error: unknown }

/**
 * The log of a run, folded for checks. It folds by itself and shares no code with what it checks (caching, verifying,
 * appending): only the shapes of `reads` and `on` are the library's. It does not upcast: a simulation begins with an empty
 * store.
 */
export class History {
  readonly log: readonly StoredEvent[]
  readonly #streams = new Map<string, { readonly places: number[]; readonly events: StreamEvent[] }>()
  readonly #states = new Map<unknown, Map<string, unknown[]>>()
  #known = 0

  constructor(log: readonly StoredEvent[]) {
    this.log = log
  }

  /** The streams that have events. */
  streams(): string[] {
    this.#update()
    return [...this.#streams.keys()]
  }

  /** The revision of a stream when the log had so many events. */
  revisionAt(stream: string, length: number): Revision {
    this.#update()
    const places = this.#streams.get(stream)?.places ?? []
    let [low, high] = [0, places.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (places[middle]! < length) low = middle + 1
      else high = middle
    }
    return low === 0 ? 'none' : low - 1
  }

  /** The state of a stream when the log had so many events. */
  stateAt(stream: AnyStream, length = this.log.length): unknown {
    const revision = this.revisionAt(stream.stream, length)
    return this.#stateOf(stream, revision === 'none' ? 0 : revision + 1)
  }

  /** What a command decides when the log has so many events. */
  async decide(decider: Decider, length: number): Promise<Redecisions> {
    const { clock } = decider
    if (clock.times.size === 0) {
      const { decided, streams } = await this.#decide(decider, length)
      return { decisions: [decided], streams }
    }
    const decisions: Redecided[] = []
    let streams: readonly string[] = []
    for (const time of clock.times) {
      clock.stopAt(time)
      const redecided = await this.#decide(decider, length)
      decisions.push(redecided.decided)
      streams = redecided.streams
    }
    return { decisions, streams }
  }

  async #decide(
    { command, needs, metadata }: Decider,
    length: number,
  ): Promise<{ readonly decided: Redecided; readonly streams: readonly string[] }> {
    const load = (stream: AnyStream) => Promise.resolve(this.#folded(stream, length))
    const context = { runInAsyncScope: <T>(run: () => T) => run() }
    let streams: readonly string[] = []
    try {
      const { boundary, states, threw } = await readBoundary({ command, context }, command.reads, load)
      const revisions = states.revisions()
      streams = [...revisions.keys()]
      if (threw) return { decided: { kind: 'threw', error: threw.error }, streams }
      const place = isStream(boundary)
        ? { revision: revisions.get(boundary.stream) }
        : { on: onStreams(boundary, states) }
      const given = { attempt: 1, signal: NEVER, metadata, revisions, ...place, ...needs }
      const returned: unknown = await command.handle(states.shape(boundary) as never, given as never)
      return { decided: decidedOf(returned, boundary), streams }
    } catch (error) {
      return { decided: { kind: 'threw', error }, streams }
    }
  }

  #folded(stream: AnyStream, length: number): FoldedState {
    const revision = this.revisionAt(stream.stream, length)
    return {
      stream,
      revision,
      lastId: undefined,
      state: this.stateAt(stream, length),
      cached: false,
      snapshotAt: 'none',
    }
  }

  #stateOf(stream: AnyStream, count: number): unknown {
    const { fold } = stream
    let ofFold = this.#states.get(fold)
    if (!ofFold) this.#states.set(fold, (ofFold = new Map<string, unknown[]>()))
    let states = ofFold.get(stream.stream)
    if (!states) ofFold.set(stream.stream, (states = [fold.initial()]))
    const events = this.#streams.get(stream.stream)?.events ?? []
    while (states.length <= count) {
      const before = states.at(-1)
      const state = fold.isolation === 'copy' ? (before as { clone(): unknown }).clone() : before
      states.push(fold.evolve(state as never, events[states.length - 1]!))
    }
    const state = states[count]
    return fold.isolation === 'copy' ? (state as { clone(): unknown }).clone() : state
  }

  #update(): void {
    for (; this.#known < this.log.length; this.#known++) {
      const stored = this.log[this.#known]!
      let stream = this.#streams.get(stored.stream)
      if (!stream) this.#streams.set(stored.stream, (stream = { places: [], events: [] }))
      stream.places.push(this.#known)
      const [data, metadata] = [stored.data, stored.metadata].map((text) => JSON.parse(text) as unknown)
      stream.events.push({ ...stored, data, metadata } as StreamEvent)
    }
  }
}

const NEVER = new AbortController().signal

interface Made {
  readonly type: string
  readonly data: unknown
}

function decidedOf(returned: unknown, boundary: Boundary): Redecided {
  const place = isStream(boundary) ? placeOnOne(boundary) : placeOnSeveral(listStreams(boundary))
  const placed = isRejection(returned) ? returned : place([returned].flat())
  if (isRejection(placed)) return { kind: 'rejected', rejection: JSON.stringify(placed.rejection) }
  return {
    kind: 'events',
    events: placed.map(({ stream, event }) => described(stream.stream, event as Made)),
  }
}

/** An event in a form that can be compared. */
function described(stream: string, { type, data }: Made): string {
  return JSON.stringify([stream, type, data])
}

/** A stored event in the same form. */
export function describedStored({ stream, type, data }: StoredEvent): string {
  return described(stream, { type, data: JSON.parse(data) as unknown })
}
