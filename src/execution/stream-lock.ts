/**
 * Locks on streams for the commands of this process, in order of arrival. They only save conflicts between commands of one
 * process; correctness does not depend on them.
 */
export class StreamLocks {
  readonly #last = new Map<string, Promise<void>>()

  /** Whether a command holds the stream's lock, or waits for it. */
  isTaken(stream: string): boolean {
    return this.#last.has(stream)
  }

  /** The lock of one stream, as a function that releases it: at once if it is free. */
  takeOne(stream: string): (() => void) | Promise<() => void> {
    const before = this.#last.get(stream)
    const release = this.#queue(stream)
    return before ? before.then(() => release) : release
  }

  /** Waits for the locks of all streams. Every command takes them in the same order, so there is no deadlock. */
  async take(streams: readonly string[]): Promise<() => void> {
    const releases: (() => void)[] = []
    for (const stream of [...new Set(streams)].sort()) {
      const before = this.#last.get(stream)
      releases.push(this.#queue(stream))
      if (before) await before
    }
    return () => {
      for (const release of releases) release()
    }
  }

  #queue(stream: string): () => void {
    let done!: () => void
    const lock = new Promise<void>((resolve) => {
      done = resolve
    })
    this.#last.set(stream, lock)
    return () => {
      if (this.#last.get(stream) === lock) this.#last.delete(stream)
      done()
    }
  }
}
