import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Boundary, Command, Streams } from '../model/command.ts'
import type { StreamEvent } from '../model/event.ts'
import type { AnyStream } from '../model/stream.ts'
import type { Revision } from '../base/revision.ts'

/** What a command decides on the history up to some place. */
export type Redecided =
  | { readonly kind: 'events'; readonly events: readonly string[] }
  | { readonly kind: 'rejected'; readonly rejection: string }
  | { readonly kind: 'threw'; readonly error: unknown }

/**
 * The log of a run, folded for checks. It shares no code with what it checks: it folds, reads boundaries and places events
 * by itself. (It does not upcast: a simulation begins with an empty store.)
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
  async decide(
    command: Command<Boundary, unknown>,
    length: number,
    extra: object,
  ): Promise<{ readonly decided: Redecided; readonly streams: readonly AnyStream[] }> {
    const streams: AnyStream[] = []
    const stateOf = (stream: AnyStream) => {
      streams.push(stream)
      return this.stateAt(stream, length)
    }
    const decided = await this.#decide(command, stateOf, length, streams, extra)
    return { decided, streams }
  }

  async #decide(
    command: Command<Boundary, unknown>,
    stateOf: (stream: AnyStream) => unknown,
    length: number,
    streams: readonly AnyStream[],
    extra: object,
  ): Promise<Redecided> {
    try {
      const { reads } = command
      const isOne = 'fold' in reads
      const first = isOne ? stateOf(reads as AnyStream) : mapAll(reads, stateOf)
      const followed = (isOne ? undefined : command.follow?.(first as never)) ?? {}
      const state = isOne ? first : { ...(first as object), ...mapAll(followed, stateOf) }
      const revisions = new Map(
        streams.map(({ stream }) => [stream, this.revisionAt(stream, length)] as const),
      )
      const place = isOne
        ? { revision: revisions.get((reads as AnyStream).stream) }
        : { on: onAll({ ...reads, ...followed }) }
      const context = {
        attempt: 1,
        signal: NEVER,
        metadata: {},
        revisions,
        ...place,
        ...extra,
      }
      const returned: unknown = await command.handle(state as never, context as never)
      if (typeof returned === 'object' && returned !== null && 'rejection' in returned) {
        return { kind: 'rejected', rejection: JSON.stringify(returned.rejection) }
      }
      const items = (Array.isArray(returned) ? returned : [returned]) as (Made | MadeOn)[]
      const events = items.flatMap((item) =>
        'events' in item
          ? item.events.map((event) => described(item.stream, event))
          : [described((reads as AnyStream).stream, item)],
      )
      return { kind: 'events', events }
    } catch (error) {
      return { kind: 'threw', error }
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

interface MadeOn {
  readonly stream: string
  readonly events: readonly Made[]
}

/** An event in a form that can be compared. */
function described(stream: string, { type, data }: Made): string {
  return JSON.stringify([stream, type, data])
}

/** A stored event in the same form. */
export function describedStored({ stream, type, data }: StoredEvent): string {
  return described(stream, { type, data: JSON.parse(data) as unknown })
}

function mapAll(streams: Streams, map: (stream: AnyStream) => unknown): Record<string, unknown> {
  const mapped = Object.entries(streams).map(([key, entry]) => {
    if (entry === undefined || 'fold' in entry) return [key, entry && map(entry as AnyStream)]
    if (Array.isArray(entry)) return [key, entry.map(map)]
    return [
      key,
      Object.fromEntries(
        Object.entries(entry as Record<string, AnyStream>).map(([name, stream]) => [name, map(stream)]),
      ),
    ]
  })
  return Object.fromEntries(mapped) as Record<string, unknown>
}

function onAll(streams: Streams): Record<string, unknown> {
  const on = Object.entries(streams).map(([key, entry]) => {
    if (entry !== undefined && 'fold' in entry) {
      return [key, (...events: Made[]) => ({ stream: (entry as AnyStream).stream, events })]
    }
    return [
      key,
      (which: string, ...events: Made[]) => {
        return { stream: (entry as Record<string, AnyStream>)[which]!.stream, events }
      },
    ]
  })
  return Object.fromEntries(on) as Record<string, unknown>
}
