import { isShareable, type FoldedState } from './fold.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * The states of the streams used last, so that a command need not read its stream again: it appends under the
 * condition that the stream still stands where the state does. What is old is found out by the store.
 */
export class StateCache {
  /** In the order of use, the least recent first. */
  readonly #states = new Map<string, FoldedState>()
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** The state at hand, as of this stream's fold. */
  get(stream: AnyStream): FoldedState | undefined {
    const folded = this.#states.get(stream.stream)
    if (folded?.stream.fold !== stream.fold) return undefined
    this.#states.delete(stream.stream)
    this.#states.set(stream.stream, folded)
    return folded
  }

  /** Keeps a state that the store confirmed. */
  set(folded: FoldedState): void {
    const { stream } = folded.stream
    this.#states.delete(stream)
    if (this.#most === 0 || !isShareable(folded)) return
    if (this.#states.size >= this.#most) {
      const oldest = this.#states.keys().next()
      if (!oldest.done) this.#states.delete(oldest.value)
    }
    this.#states.set(stream, { ...folded, cached: true })
  }

  delete(stream: string): void {
    this.#states.delete(stream)
  }
}
