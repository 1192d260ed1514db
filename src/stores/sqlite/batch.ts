import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import { append, asStored } from './append.ts'
import type { Connection } from './connection.ts'
import { appendAlone, noteReached } from './lone-append.ts'

/** What became of a batch: of the first appends that it was given. */
export type BatchOutcome =
  /** Committed: each one's verdict. */
  | { readonly kind: 'committed'; readonly verdicts: readonly AppendVerdict[] }
  /** Nothing was written; the first `tried` have failed by this error. */
  | { readonly kind: 'failed'; readonly tried: number; readonly error: unknown }
  /** COMMIT failed by this error, and it is to be found out whether it took effect. */
  | { readonly kind: 'doubtful'; readonly verdicts: readonly AppendVerdict[]; readonly error: unknown }

/**
 * Commits appends together: as many as there are, but for no longer than the event loop can spare. Each is
 * judged after those before it, as if they had been made one after the other.
 *
 * After an error nothing of the batch counts. SQLite may have rolled back by itself (a full disk does that), and
 * what follows would then commit on its own.
 */
export function commitBatch(
  connection: Connection,
  appends: readonly { readonly request: AppendRequest }[],
): BatchOutcome {
  const verdicts: AppendVerdict[] = []
  let isCommitting = false
  try {
    connection.ensureNoTransaction()
    if (appends.length === 1) {
      const outcome = appendAlone(connection, appends[0]!.request)
      if (outcome?.kind === 'committed') return committed(connection, appends, outcome.verdicts)
      if (outcome) return outcome
    }
    const { sql } = connection
    sql.begin.run()
    const started = performance.now()
    let inserted = 0
    let size = 0
    for (const { request } of appends) {
      verdicts.push(append(sql, request))
      for (const { data, metadata } of request.events) size += data.length + metadata.length
      inserted += request.events.length + 1
      if (size > LARGEST || (inserted > FEW && performance.now() - started > LONGEST)) break
    }
    isCommitting = true
    sql.commit.run()
    return committed(connection, appends, verdicts)
  } catch (error) {
    connection.endTransaction()
    const mayCount = isCommitting && verdicts.some(hasWritten)
    return mayCount
      ? { kind: 'doubtful', verdicts, error }
      : { kind: 'failed', tried: isCommitting ? verdicts.length : verdicts.length + 1, error }
  }
}

function committed(
  connection: Connection,
  appends: readonly { readonly request: AppendRequest }[],
  verdicts: readonly AppendVerdict[],
): BatchOutcome {
  for (let i = 0; i < verdicts.length; i++) noteReached(connection, appends[i]!.request, verdicts[i]!)
  return { kind: 'committed', verdicts }
}

/**
 * The verdicts of a batch whose COMMIT failed, if it took effect after all.
 *
 * @throws what the driver throws; it is then to be asked again.
 */
export function tookEffect(
  connection: Connection,
  appends: readonly { readonly request: AppendRequest }[],
  verdicts: readonly AppendVerdict[],
): readonly AppendVerdict[] | undefined {
  connection.ensureNoTransaction()
  const settled = verdicts.map((verdict, i) =>
    hasWritten(verdict) ? asStored(connection.sql, appends[i]!.request, verdict) : verdict,
  )
  return settled.every((verdict) => verdict !== undefined) ? settled : undefined
}

/** Whether an append has written something. */
export function hasWritten(verdict: AppendVerdict): verdict is AppendVerdict & { kind: 'appended' } {
  return verdict.kind === 'appended' && verdict.revisions.length > 0
}

/** Appends and events that are never too many: were they slow, it would be the machine. */
const FEW = 256
/** Milliseconds that a batch of more may take before its commit. */
const LONGEST = 2
/** UTF-16 units of JSON in a batch; one append alone may be larger. */
const LARGEST = 1024 * 1024
