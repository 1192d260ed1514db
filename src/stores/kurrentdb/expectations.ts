import { conflictOf } from '../../adapter/append-rules.ts'
import type { Revision } from '../../base/revision.ts'
import type { Appended, AppendRequest, Condition, Conflict } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { retryUntilReached } from './retry.ts'
import type { Reader } from './read.ts'

/** Whether an append needs nothing looked up before it is sent. */
export function isPlain({ conditions, events, ids }: AppendRequest): boolean {
  if (ids === 'given') return false
  return conditions.every(({ stream, expected }) => {
    if (expected !== 'any') return expected !== 'exists'
    return events.some((event) => event.stream === stream)
  })
}

/** Expectations of appends that the server does not check in the append itself. */
export class Expectations {
  readonly #calls: Calls
  readonly #reader: Reader

  constructor(calls: Calls, reader: Reader) {
    this.#calls = calls
    this.#reader = reader
  }

  /** An append's conditions in a form that the server can check, or the first one that does not hold. */
  async resolve(request: AppendRequest): Promise<readonly Condition[] | Conflict> {
    if (isPlain(request)) return request.conditions
    const written = new Set(request.events.map(({ stream }) => stream))
    const conditions = await Promise.all(
      request.conditions.map(async (condition): Promise<Condition | Conflict> => {
        const { stream, expected } = condition
        const isExact = expected !== 'any' && expected !== 'exists'
        const isFresh = request.ids === 'made' && written.has(stream)
        if (isExact || (expected === 'any' && isFresh)) return condition
        const actual = await this.#reader.head(stream)
        // The server takes a stream for one that exists as soon as it has metadata.
        if (expected === 'exists' && actual === 'none') return { kind: 'conflict', stream, expected, actual }
        // Given ids need an exact expectation, because the server silently accepts ids that it remembers.
        return isFresh ? condition : { stream, expected: actual }
      }),
    )
    const conflict = conditions.find((condition): condition is Conflict => 'kind' in condition)
    return conflict ?? conditions
  }

  /** The first condition that does not hold now. */
  async check(request: AppendRequest): Promise<Conflict | undefined> {
    const heads = await Promise.all(request.conditions.map(({ stream }) => this.#reader.head(stream)))
    return conflictOf(request, heads)
  }

  /**
   * Whether all conditions hold at one moment, without writing anything. Several streams are asked twice: revisions
   * only rise, so if each stood there both times, all did in between.
   */
  async verify(request: AppendRequest): Promise<Appended | Conflict> {
    const { conditions } = request
    for (let rounds = conditions.length > 1 ? 2 : 1; ; rounds--) {
      const heads = await Promise.all(conditions.map((condition) => this.#ask(condition)))
      const conflict = conflictOf(request, heads)
      if (conflict) return conflict
      if (rounds === 1) return { kind: 'appended', revisions: [], positions: [], time: '', heads }
    }
  }

  /**
   * The head of a stream. The leader is read, since an append without events is written, and brings back a stream that
   * was deleted. Another node may lag behind, so if it agrees with what is expected, such an append asks the leader.
   */
  async #ask({ stream, expected }: Condition): Promise<Revision> {
    const head = await this.#reader.head(stream)
    if (this.#calls.requiresLeader || typeof expected !== 'number' || head !== expected) return head
    try {
      await retryUntilReached(this.#calls, () => this.#calls.appendToStream({ stream, expected }, []))
      return expected
    } catch (error) {
      const fault = faultOf(error)
      const actual = fault.kind === 'violated' ? fault.violations[0]?.actual : undefined
      if (typeof actual === 'number' || actual === 'none') return actual
      if (fault.kind === 'violated') return this.#reader.head(stream)
      throw asMnemeError(error, { stream })
    }
  }
}
