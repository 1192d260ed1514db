import { closeSync, type FSWatcher, openSync, watch, writeSync } from 'node:fs'
import type { Connection, Statements } from './connection.ts'
import type { Appended, AppendRequest, StoredEvent } from '../../adapter/store-adapter.ts'

/**
 * Tells when something was committed to a file, by this process or by another.
 *
 * Whoever commits touches a small file beside the database afterwards, which the others watch: watching SQLite's own
 * log would tell too early, before the commit is there to be read, and miss the last one. A process can die in between,
 * and not every file system tells of changes, so those that wait also ask SQLite, twice a second.
 */
export class CommitSignal {
  readonly #connection: Connection
  readonly #path: string | undefined
  readonly #waiting = new Set<() => void>()
  #descriptor: number | undefined
  #touched = -Infinity
  #touchTimer: NodeJS.Timeout | undefined
  #isTelling = false
  #watcher: FSWatcher | undefined
  #poll: NodeJS.Timeout | undefined
  #version: unknown

  /** @param path of the file that is touched; none where there are no other processes. */
  constructor(connection: Connection, path: string | undefined) {
    this.#connection = connection
    this.#path = path
  }

  /** Whether anybody waits for it. */
  get isWatched(): boolean {
    return this.#waiting.size > 0
  }

  /** This process has committed something. */
  committed(): void {
    if (this.#waiting.size > 0) this.#tell()
    if (this.#path === undefined || this.#touchTimer) return
    const early = this.#touched + PACE - performance.now()
    if (early <= 0) this.#touch()
    else {
      this.#touchTimer = setTimeout(() => {
        this.#touch()
      }, early).unref()
    }
  }

  /** Calls back after each commit, once for several. @returns what ends it. */
  watch(changed: () => void): () => void {
    this.#waiting.add(changed)
    if (this.#waiting.size === 1) this.#begin()
    return () => {
      if (this.#waiting.delete(changed) && this.#waiting.size === 0) this.#end()
    }
  }

  close(): void {
    if (this.#touchTimer) this.#touch()
    this.#end()
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #begin(): void {
    if (this.#path === undefined) return
    this.#version = this.#dataVersion()
    this.#poll = setInterval(this.#look, POLL)
    try {
      // One that is not there cannot be watched.
      this.#descriptor ??= openSync(this.#path, 'a')
      this.#watcher = watch(this.#path, this.#look)
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      // Too many are watched on this machine, or the folder takes no new file: asking has to do.
    }
  }

  #end(): void {
    clearInterval(this.#poll)
    this.#watcher?.close()
    this.#watcher = undefined
  }

  readonly #look = (): void => {
    const version = this.#dataVersion()
    if (version !== undefined && version === this.#version) return
    this.#version = version
    this.#tell()
  }

  /** `undefined` where it cannot be had at the moment. */
  #dataVersion(): unknown {
    try {
      return this.#connection.reading(dataVersionOf)
    } catch {
      return undefined
    }
  }

  /** When whoever has committed has been answered. */
  #tell(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    setImmediate(() => {
      this.#isTelling = false
      for (const changed of this.#waiting) changed()
    })
  }

  #touch(): void {
    clearTimeout(this.#touchTimer)
    this.#touchTimer = undefined
    this.#touched = performance.now()
    try {
      this.#descriptor ??= openSync(this.#path!, 'a')
      writeSync(this.#descriptor, TOUCH, 0, 1, 0)
    } catch {
      // A full disk, say. Who waits asks before long.
    }
  }
}

/** Changes with each commit of another connection. */
export function dataVersionOf({ dataVersion }: Statements): unknown {
  return (dataVersion.get() as { readonly data_version: unknown }).data_version
}

const TOUCH = Buffer.from('.')
/** Milliseconds between two touches, at least. */
const PACE = 2
/** Milliseconds between two questions: how late an event can be of which no signal came. */
const POLL = 500

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
