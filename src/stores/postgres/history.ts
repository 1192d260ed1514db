import { HistoryRewoundError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { Session } from './session.ts'
import { numberOf } from './position.ts'
import { IS_THERE, type Statements } from './statements.ts'

/**
 * The last event of the log that this process has seen or written. A server that lacks it has a different history: it
 * was restored to an earlier point, or a standby took over that had not replayed everything. Cached states are then based
 * on events that no longer exist.
 */
export class History {
  readonly #statements: Statements
  #position: Position | undefined
  #id = ''

  constructor(statements: Statements) {
    this.#statements = statements
  }

  /** Its position. */
  get position(): Position | undefined {
    return this.#position
  }

  /** The number of its append's call. */
  get number(): number {
    return this.#position === undefined ? 0 : numberOf(this.#position)
  }

  /** Remembers an event if it is the last one so far. */
  saw({ position, id }: { readonly position: Position; readonly id: string }): void {
    if (this.#position !== undefined && position <= this.#position) return
    this.#position = position
    this.#id = id
  }

  /** A new connection may reach a server with a different history. @throws HistoryRewoundError */
  async check(session: Session): Promise<void> {
    if (this.#position === undefined) return
    const [row] = await session.query(this.#statements.of(IS_THERE), [this.#position, this.#id])
    if (row?.[0] !== 't') throw historyRewound()
  }

  /**
   * @param drawn the last number that the server has given out.
   * @param seen the last number that was known before the server was asked.
   * @throws HistoryRewoundError
   */
  checkNumber(drawn: number, seen: number): void {
    if (drawn < seen) throw historyRewound()
  }
}

function historyRewound(): HistoryRewoundError {
  return new HistoryRewoundError(
    'the store lacks events that this program has seen: it was restored to an earlier point, or a standby that lagged ' +
      'behind took over. Close the store and open it again',
  )
}
