import type { AppendRequest, Appended, StoredEvent } from '../../adapter/store-adapter.ts'

/**
 * The end of the log, where this process has written it: what it has just appended, its subscribers need not read back.
 * It is kept only while somebody waits for it, until it is taken, and never much of it: what lives on while much is
 * appended, costs the garbage collector more than it saves.
 */
export class RecentEvents {
  #events: StoredEvent[] = []
  /** Of the first one. */
  #first = 0
  #size = 0
  /** What SQLite calls the version of what other connections have committed, when the file was read last. */
  #version: unknown

  /** What was committed. */
  add({ events }: AppendRequest, { revisions, positions, time }: Appended): void {
    const first = Number(positions[0])
    // Another connection may have written in between.
    if (first !== this.#first + this.#events.length) this.clear()
    if (this.#events.length === 0) this.#first = first
    for (const [i, { stream, id, type, version, data, metadata }] of events.entries()) {
      const [revision, position] = [revisions[i]!, positions[i]!]
      this.#events.push({ position, stream, revision, id, type, version, time, data, metadata })
      this.#size += data.length + metadata.length
    }
    if (this.#events.length > MOST_EVENTS || this.#size > MOST_UNITS) this.#forget()
  }

  /**
   * The events behind a position, where they are all known up to the head of the log; then they are not kept any longer.
   *
   * @param version as above, asked for before the head was: another one means that others have written.
   */
  take(start: number, head: number, version: unknown): readonly StoredEvent[] | undefined {
    if (version !== this.#version) {
      this.#version = version
      this.clear()
    }
    const isWhole = start + 1 >= this.#first && head === this.#first + this.#events.length - 1
    if (!isWhole || start >= head) return undefined
    const taken = this.#events.slice(start + 1 - this.#first)
    this.clear()
    return taken
  }

  clear(): void {
    if (this.#events.length > 0) this.#events = []
    this.#first = 0
    this.#size = 0
  }

  /** Keeps the later half, at the most. */
  #forget(): void {
    let kept = 0
    let from = this.#events.length
    const least = from - MOST_EVENTS / 2
    while (from > least && from > 0) {
      const { data, metadata } = this.#events[from - 1]!
      if (kept + data.length + metadata.length > MOST_UNITS / 2) break
      kept += data.length + metadata.length
      from--
    }
    this.#events = this.#events.slice(from)
    this.#first += from
    this.#size = kept
  }
}

/** Events that are kept, and UTF-16 units of their JSON. */
const MOST_EVENTS = 2_000
const MOST_UNITS = 1024 * 1024
