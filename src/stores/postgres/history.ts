import { HistoryRewoundError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { Session } from './connection.ts'
import { numberOf } from './position.ts'
import { IS_THERE, type Statements } from './statements.ts'

/**
 * The last event of the log that this process has seen or written. A server that lacks it has another history: one
 * restored to an earlier point, or that of a standby which took over and had not got everything. States at hand
 * then stand on events that never were.
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

  /** Takes note of an event. */
  saw({ position, id }: { readonly position: Position; readonly id: string }): void {
    if (this.#position !== undefined && position <= this.#position) return
    this.#position = position
    this.#id = id
  }

  /** Whoever connects anew may meet another history. @throws HistoryRewoundError */
  async check(session: Session): Promise<void> {
    if (this.#position === undefined) return
    const [row] = await session.query(this.#statements.of(IS_THERE), [this.#position, this.#id])
    if (row?.[0] !== 't') throw historyRewound()
  }

  /**
   * @param drawn the last number that the server has given out.
   * @param seen the number that was seen before it was asked: since then, others may have come.
   * @throws HistoryRewoundError
   */
  checkNumber(drawn: number, seen: number): void {
    if (drawn < seen) throw historyRewound()
  }
}

function historyRewound(): HistoryRewoundError {
  return new HistoryRewoundError(
    'the store lacks events that this program has seen: it was restored to an earlier point, or a server took over ' +
      'that had not got everything. Open it anew',
  )
}
