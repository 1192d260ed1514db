import { statSync } from 'node:fs'
import { parsePosition } from '../../adapter/position.ts'
import type { StoredEvent } from '../../adapter/store-adapter.ts'
import { HistoryRewoundError } from '../../base/errors.ts'
import type { SqliteStatement } from './driver.ts'

/** The statements that it needs. */
interface HistoryStatements {
  readonly idAt: SqliteStatement
  readonly dataVersion: SqliteStatement
}

/**
 * Tells whether a connection still leads to the history that this process knows: to the file that is at the path now, and
 * to the last event that was read from it or written to it. A file may be removed or replaced under a running program,
 * or restored in place. The states and heads that the process remembers are then of a history that is gone, so every
 * later call fails.
 *
 * Positions are consecutive, so an event that is still there with its id proves that all events before it are, too.
 */
export class History {
  readonly #path: string | undefined
  /** The device and the inode of the file that was opened. */
  readonly #file: FileKey | undefined
  /** The position of the last known event; 0 if there is none. */
  #position = 0
  #id = ''
  /** SQLite's `data_version` when that event was last found. */
  #version: unknown
  #failure: HistoryRewoundError | undefined

  /** @param path of the file, which is there already; `undefined` for a database in memory. */
  constructor(path: string | undefined) {
    this.#path = path
    this.#file = path === undefined ? undefined : fileKeyOf(path)
  }

  /** The last known event, for a statement that compares it; `undefined` if there is none. */
  get last(): readonly [position: number, id: string] | undefined {
    return this.#position === 0 ? undefined : [this.#position, this.#id]
  }

  /** Notes an event that was written, or was read from the confirmed history. */
  saw(position: number, id: string): void {
    if (position <= this.#position) return
    this.#position = position
    this.#id = id
  }

  /** @throws HistoryRewoundError if an earlier call has found another history. */
  ensure(): void {
    if (this.#failure) throw this.#failure
  }

  /** @throws HistoryRewoundError if the file at the path is not the one that was opened. */
  ensureFile(): void {
    this.ensure()
    if (this.#path === undefined || !this.#file) return
    const now = fileKeyOf(this.#path)
    if (now?.ino === this.#file.ino && now.dev === this.#file.dev) return
    const what = now ? 'was replaced by another file' : 'was removed'
    this.#fail(`${this.#path} ${what} while it was open. ${REOPEN}`)
  }

  /** Looks for the last known event. In a transaction, this holds until its end. @throws HistoryRewoundError */
  confirm(sql: HistoryStatements): void {
    this.ensure()
    if (this.#position === 0) return
    const row = sql.idAt.get(this.#position) as { readonly id: string } | undefined
    if (row?.id === this.#id) return
    const where = `the event at position ${String(this.#position)}, which this program has read or written`
    this.#fail(`the file lacks ${where}: it was restored to an earlier point. ${REOPEN}`)
  }

  /** After events were read: confirms that they are of the known history, and notes them. @throws HistoryRewoundError */
  confirmRead(sql: HistoryStatements, events: readonly StoredEvent[]): void {
    this.ensure()
    // Without a commit of another connection since, it is the same history.
    const version = dataVersionOf(sql)
    if (version !== this.#version) {
      this.confirm(sql)
      this.#version = version
    }
    for (const event of [events[0], events.at(-1)]) {
      if (event) this.saw(parsePosition(event.position), event.id)
    }
  }

  #fail(message: string): never {
    this.#failure = new HistoryRewoundError(message)
    throw this.#failure
  }
}

/** SQLite's `data_version`, which changes with each commit of another connection. */
export function dataVersionOf({ dataVersion }: Pick<HistoryStatements, 'dataVersion'>): unknown {
  return (dataVersion.get() as { readonly data_version: unknown }).data_version
}

interface FileKey {
  readonly dev: number
  readonly ino: number
}

/** `undefined` if no file is at the path. Not opened for it: closing it would drop SQLite's locks in this process. */
function fileKeyOf(path: string): FileKey | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

const REOPEN = 'Close all stores on it and open it again, or restart the program'
