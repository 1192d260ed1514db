import type { Connections } from './connection.ts'
import { faultOf } from './errors.ts'
import type { History } from './history.ts'
import { formatNumber } from './position.ts'
import { NOTE_HORIZON, type Statements } from './statements.ts'

/**
 * Notes for standbys how far the log is complete: a moment after something was appended, and not more often; again
 * and again, until what this process has seen is below it.
 */
export class HorizonNotes {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #history: History
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(connections: Connections, statements: Statements, history: History) {
    this.#connections = connections
    this.#statements = statements
    this.#history = history
  }

  /** Something was appended. */
  due(): void {
    if (this.#isClosed) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.note()
    }, EVERY)
  }

  /** Notes what is still to be noted. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (!this.#timer) return
    clearTimeout(this.#timer)
    await this.note()
  }

  /** Notes it now, if that can be. */
  async note(): Promise<void> {
    try {
      const statement = this.#statements.of(NOTE_HORIZON)
      const [row] = await this.#connections.use((session) => session.query(statement))
      const noted = formatNumber(row?.[0] ?? '0')
      // An earlier append is still being committed, or another process was at it.
      if (noted < (this.#history.position ?? '')) this.due()
    } catch (error) {
      // A standby notes nothing itself.
      if (faultOf(error) !== 'read-only') this.due()
    }
  }
}

/** Milliseconds. */
const EVERY = 100
