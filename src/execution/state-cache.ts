import type { FoldedState } from './fold.ts'
import type { AnyStream } from '../model/stream.ts'

/**
 * The states of the streams that were used last, so that a command need not read its stream again: its append is
 * conditional on the state's revision, so the store detects a state that is out of date.
 */
export class StateCache {
  /** In the order of use, the least recent first. */
  readonly #states = new Map<string, FoldedState>()
  readonly #maxStates: number

  constructor(maxStates: number) {
    this.#maxStates = maxStates
  }

  /** The cached state, if it is one of this stream's fold. */
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
    if (this.#maxStates === 0) return
    if (this.#states.size >= this.#maxStates) {
      const oldest = this.#states.keys().next()
      if (!oldest.done) this.#states.delete(oldest.value)
    }
    this.#states.set(stream, { ...folded, cached: true })
  }

  delete(stream: string): void {
    this.#states.delete(stream)
  }
}
