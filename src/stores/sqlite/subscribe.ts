import { every, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import { closeSync, type FSWatcher, openSync, watch, writeSync } from 'node:fs'
import type { Connection } from './connection.ts'
import { dataVersionOf } from './history.ts'
import type { Appended, AppendRequest, StoredEvent } from '../../adapter/store-adapter.ts'

/**
 * Tells when this process or another one has committed something to a file.
 *
 * A process that commits touches a small file beside the database afterwards, which other processes watch. Watching
 * SQLite's own log would tell too early, before the commit can be read, and miss the last one. A process can die before
 * it touches the file, and some file systems report no changes, so processes that wait also ask SQLite every
 * `POLL_INTERVAL_MS`.
 */
export class CommitSignal {
  readonly #connection: Connection
  readonly #path: string | undefined
  readonly #waiting = new Set<() => void>()
  #descriptor: number | undefined
  #touched = -Infinity
  #cancelTouch: (() => void) | undefined
  #isTelling = false
  #watcher: FSWatcher | undefined
  #stopPolling: (() => void) | undefined
  #version: unknown

  /** @param path of the signal file; `undefined` if no other process can have the database open. */
  constructor(connection: Connection, path: string | undefined) {
    this.#connection = connection
    this.#path = path
  }

  /** Whether anything in this process waits for commits. */
  get isWatched(): boolean {
    return this.#waiting.size > 0
  }

  /** This process has committed something. */
  committed(): void {
    if (this.#waiting.size > 0) this.#tell()
    if (this.#path === undefined || this.#cancelTouch) return
    const early = this.#touched + MIN_TOUCH_INTERVAL_MS - environment.now()
    if (early <= 0) this.#touch()
    else {
      this.#cancelTouch = environment.afterInBackground(early, () => {
        this.#touch()
      })
    }
  }

  /** Calls back after commits, once for several. @returns a function that ends the watch. */
  watch(changed: () => void): () => void {
    this.#waiting.add(changed)
    if (this.#waiting.size === 1) this.#begin()
    return () => {
      if (this.#waiting.delete(changed) && this.#waiting.size === 0) this.#end()
    }
  }

  close(): void {
    if (this.#cancelTouch) this.#touch()
    this.#end()
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #begin(): void {
    if (this.#path === undefined) return
    this.#version = this.#dataVersion()
    this.#stopPolling = every(systemClock, POLL_INTERVAL_MS, this.#look)
    try {
      // A file has to exist to be watched.
      this.#descriptor ??= openSync(this.#path, 'a')
      this.#watcher = watch(this.#path, this.#look)
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      // The machine's limit of watched files is reached, or the folder takes no new file: the poll has to do.
    }
  }

  #end(): void {
    this.#stopPolling?.()
    this.#watcher?.close()
    this.#watcher = undefined
  }

  readonly #look = (): void => {
    const version = this.#dataVersion()
    if (version !== undefined && version === this.#version && this.#isInPlace()) return
    this.#version = version
    this.#tell()
  }

  /** Whether the file is still the one at its path: if it is not, subscribers are to hear of it. */
  #isInPlace(): boolean {
    try {
      this.#connection.history.ensureFile()
      return true
    } catch {
      return false
    }
  }

  /** `undefined` if SQLite does not answer at the moment. */
  #dataVersion(): unknown {
    try {
      return this.#connection.reading(dataVersionOf)
    } catch {
      return undefined
    }
  }

  /** Calls back once the callers of the commit have been answered. */
  #tell(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    environment.nextTurn(() => {
      this.#isTelling = false
      for (const changed of this.#waiting) changed()
    })
  }

  #touch(): void {
    this.#cancelTouch?.()
    this.#cancelTouch = undefined
    this.#touched = environment.now()
    try {
      this.#descriptor ??= openSync(this.#path!, 'a')
      writeSync(this.#descriptor, TOUCH, 0, 1, 0)
    } catch {
      // The disk may be full, for example. Other processes find the commit by their poll.
    }
  }
}

const TOUCH = Buffer.from('.')
/** The least milliseconds between two touches. */
const MIN_TOUCH_INTERVAL_MS = 2
/** Milliseconds between two polls: how late an event can be if its signal was lost. */
const POLL_INTERVAL_MS = 500

/**
 * The events at the end of the log that this process has just appended, so that its subscribers need not read them back.
 * They are kept only while a subscriber waits, until they are taken, and only a few: objects that outlive many appends
 * cost the garbage collector more than they save.
 */
export class RecentEvents {
  #events: StoredEvent[] = []
  /** The position of the first one. */
  #first = 0
  #size = 0
  /** SQLite's `data_version` when the file was read last: it changes with each commit of another connection. */
  #version: unknown

  /** Adds the events of a committed append. */
  add({ events }: AppendRequest, { revisions, positions, time }: Appended): void {
    const first = Number(positions[0])
    // Another connection may have written in between.
    if (first !== this.#first + this.#events.length) this.clear()
    if (this.#events.length === 0) this.#first = first
    for (const [
      i,
      { stream, id, type, version, data, metadata, time: recorded = time },
    ] of events.entries()) {
      const [revision, position] = [revisions[i]!, positions[i]!]
      this.#events.push({ position, stream, revision, id, type, version, time: recorded, data, metadata })
      this.#size += data.length + metadata.length
    }
    if (this.#events.length > MAX_RECENT_EVENTS || this.#size > MAX_RECENT_UNITS) this.#forget()
  }

  /**
   * The events behind a position, if all of them up to the head of the log are kept. They are then kept no longer.
   *
   * @param version SQLite's `data_version`, read before the head: if it has changed, another connection has written.
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

  /** Keeps at most the later half. */
  #forget(): void {
    let kept = 0
    let from = this.#events.length
    const least = from - MAX_RECENT_EVENTS / 2
    while (from > least && from > 0) {
      const { data, metadata } = this.#events[from - 1]!
      if (kept + data.length + metadata.length > MAX_RECENT_UNITS / 2) break
      kept += data.length + metadata.length
      from--
    }
    this.#events = this.#events.slice(from)
    this.#first += from
    this.#size = kept
  }
}

/** The most events that are kept, and the most UTF-16 units of their JSON. */
const MAX_RECENT_EVENTS = 2_000
const MAX_RECENT_UNITS = 1024 * 1024
