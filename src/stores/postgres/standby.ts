import { environment } from '../../base/environment.ts'
import type { Connections } from './connection.ts'
import { faultOf } from './errors.ts'
import type { History } from './history.ts'
import { formatNumber } from './position.ts'
import { NOTE_HORIZON, type Statements } from './statements.ts'

/**
 * Notes for standbys how far the log is complete (its horizon): {@link NOTE_INTERVAL_MS} after an append, and again after
 * as long until the horizon has passed every event that this process has seen.
 */
export class StandbyHorizon {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #history: History
  #cancelNote: (() => void) | undefined
  #isClosed = false

  constructor(connections: Connections, statements: Statements, history: History) {
    this.#connections = connections
    this.#statements = statements
    this.#history = history
  }

  /** This process appended something: notes the horizon soon. */
  appended(): void {
    if (this.#isClosed) return
    this.#cancelNote ??= environment.after(NOTE_INTERVAL_MS, () => {
      this.#cancelNote = undefined
      void this.note()
    })
  }

  /** Notes the horizon once more if that is due. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (!this.#cancelNote) return
    this.#cancelNote()
    await this.note()
  }

  /** Notes the horizon now; if that fails, again later. */
  async note(): Promise<void> {
    try {
      const statement = this.#statements.of(NOTE_HORIZON)
      const [row] = await this.#connections.use((session) => session.query(statement))
      const noted = formatNumber(row?.[0] ?? '0')
      // An earlier append is still being committed, or another process was noting the horizon.
      if (noted < (this.#history.position ?? '')) this.appended()
    } catch (error) {
      // On a standby nothing can be noted.
      if (faultOf(error) !== 'read-only') this.appended()
    }
  }
}

/** Milliseconds from an append to the note, and between two notes. */
const NOTE_INTERVAL_MS = 100
