import { mapStreams } from './boundary-shape.ts'
import type { Boundary } from '../model/boundary.ts'
import type { StreamEvent } from '../model/event.ts'
import { evolve, see, type FoldedState } from './fold.ts'
import { isStream, type AnyStream } from '../model/stream.ts'

/** The folded states of a boundary: one for each stream and each fold of it, however often it is named. */
export class StateSet {
  readonly #states = new Map<string, FoldedState[]>()

  get({ stream, fold }: AnyStream): FoldedState | undefined {
    return this.#states.get(stream)?.find((folded) => folded.stream.fold === fold)
  }

  /** The states of one stream: several where different aggregates fold it. */
  of(stream: string): readonly FoldedState[] {
    return this.#states.get(stream) ?? []
  }

  add(folded: FoldedState): void {
    this.#states.set(folded.stream.stream, [...this.of(folded.stream.stream), folded])
  }

  /** One state of each stream. */
  byStream(): FoldedState[] {
    return [...this.#states.values()].flatMap(([first]) => first ?? [])
  }

  all(): FoldedState[] {
    return [...this.#states.values()].flat()
  }

  /** The states with further events, each applied to the states of its stream. @throws FoldError */
  evolve(events: readonly StreamEvent[]): StateSet {
    const byStream = new Map<string, StreamEvent[]>()
    for (const event of events) {
      const own = byStream.get(event.stream)
      if (own) own.push(event)
      else byStream.set(event.stream, [event])
    }
    const result = new StateSet()
    for (const folded of this.all()) result.add(evolve(folded, byStream.get(folded.stream.stream) ?? []))
    return result
  }

  /** The states in the shape of the boundary, to be handed out. */
  shape(boundary: Boundary, handOut = see): unknown {
    const seen = (stream: AnyStream) => handOut(this.get(stream)!)
    return isStream(boundary) ? seen(boundary) : mapStreams(boundary, seen)
  }
}
