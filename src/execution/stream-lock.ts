/**
 * Turns of this process's commands at a stream, in order of arrival. They only save conflicts between
 * commands of one process; that a decision stands is the store's to say.
 */
export class StreamLocks {
  readonly #last = new Map<string, Promise<void>>()

  /** Whether somebody has a turn at the stream, or waits for one. */
  isTaken(stream: string): boolean {
    return this.#last.has(stream)
  }

  /** Waits for turns at all of the streams. Taken in one order by everybody, so that nobody waits in a circle. */
  async take(streams: readonly string[]): Promise<() => void> {
    const releases: (() => void)[] = []
    for (const stream of [...new Set(streams)].sort()) {
      const before = this.#last.get(stream)
      releases.push(this.#line(stream))
      if (before) await before
    }
    return () => {
      for (const release of releases) release()
    }
  }

  #line(stream: string): () => void {
    let done!: () => void
    const turn = new Promise<void>((resolve) => {
      done = resolve
    })
    this.#last.set(stream, turn)
    return () => {
      if (this.#last.get(stream) === turn) this.#last.delete(stream)
      done()
    }
  }
}
