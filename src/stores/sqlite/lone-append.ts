import { after } from '../../adapter/append-rules.ts'
import { currentTime } from '../../base/clock.ts'
import { formatPosition } from '../../adapter/position.ts'
import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import type { Connection } from './connection.ts'
import type { BatchOutcome } from './batch.ts'
import { isBusy, isTaken } from './errors.ts'

/**
 * The most frequent append, one event for one stream under an exact expectation, as one statement that is its
 * own transaction. The unique index of stream and revision judges it: an insert at the next revision fails if
 * the stream has moved on. That the stream has come so far is known of those that this connection wrote to.
 *
 * @returns undefined where the append is another, or where the stream stands elsewhere: that is then judged in a
 *   transaction.
 */
export function appendAlone(
  { sql, reached }: Connection,
  { conditions, events, keys }: AppendRequest,
): BatchOutcome | undefined {
  const [condition] = conditions
  const [event] = events
  if (!condition || !event || conditions.length > 1 || events.length > 1 || keys.length > 0) return undefined
  const { stream, expected } = condition
  if (expected === 'any' || expected === 'exists') return undefined
  if (expected !== 'none' && !((reached.get(stream) ?? -1) >= expected)) return undefined
  const revision = after(expected)
  const time = currentTime()
  const { id, type, version, data, metadata } = event
  const verdict = { kind: 'appended', revisions: [revision], positions: [], time, heads: [revision] } as const
  try {
    const { lastInsertRowid } = sql.insert.run(stream, revision, id, type, version, time, data, metadata)
    return {
      kind: 'committed',
      verdicts: [{ ...verdict, positions: [formatPosition(Number(lastInsertRowid))] }],
    }
  } catch (error) {
    if (isTaken(error)) return undefined
    return isBusy(error)
      ? { kind: 'failed', tried: 1, error }
      : { kind: 'doubtful', verdicts: [verdict], error }
  }
}

/** Notes how far streams have come, once that is committed. */
export function noteReached(
  { reached }: Connection,
  { conditions }: AppendRequest,
  verdict: AppendVerdict,
): void {
  if (verdict.kind !== 'appended') return
  if (reached.size > MOST_NOTED) reached.clear()
  for (let i = 0; i < conditions.length; i++) {
    const head = verdict.heads[i]
    if (typeof head === 'number') reached.set(conditions[i]!.stream, head)
  }
}

/** Streams of which it is noted how far they have come. */
const MOST_NOTED = 10_000
