import { environment } from '../../base/environment.ts'
import { currentTime } from '../../base/clock.ts'
import { isMnemeError } from '../../base/errors.ts'
import { nextRevision, unneededErasure } from '../../adapter/append-rules.ts'
import { parsePosition } from '../../adapter/position.ts'
import type { Appended, EraseRequest, EraseVerdict } from '../../adapter/store-adapter.ts'
import { append, headOf } from './append.ts'
import type { Connection } from './connection.ts'
import { firstRevisionOf, isDeleted, overwriting, TOMBSTONE_REVISION } from './erased.ts'
import { faultOf } from './errors.ts'
import { emptyLog } from './forgetting.ts'
import type { SharedFile } from './shared-file.ts'

/** Truncates or deletes a stream, and sees to it that the bytes are gone from the file and from its write-ahead log. */
export async function erase(
  { connection, queue, signal: commits, recent, unfinished }: SharedFile,
  request: EraseRequest,
  timeout: number,
  signal?: AbortSignal,
): Promise<EraseVerdict> {
  const verdict = await queue
    .write(() => eraseRows(connection, request), timeout, signal)
    .catch((error: unknown) => {
      throw isMnemeError(error) || signal?.aborted ? error : faultOf(error)
    })
  if (verdict.kind === 'done') {
    connection.history.saw(parsePosition(verdict.position), request.notice.id)
    connection.knownHeads.delete(request.stream)
    recent.clear()
    commits.committed()
  }
  if (verdict.kind === 'conflict' || verdict.kind === 'beyond') return verdict
  const erasure = `${String(request.before)} ${request.stream}`
  if (verdict.kind === 'done') unfinished.set(erasure, verdict.position)
  // Also if there was nothing to erase: another process may have been interrupted after its commit.
  await emptyLog(connection, timeout, BYTES_LEFT)
  // A call that makes up for one that failed has done what it was asked for.
  const position = unfinished.get(erasure)
  unfinished.delete(erasure)
  return position === undefined ? verdict : { kind: 'done', position }
}

/** Within a transaction that has the write lock. @throws what the driver throws */
function eraseRows(connection: Connection, request: EraseRequest): EraseVerdict {
  const { sql, history, database } = connection
  const { stream, before, notice } = request
  history.confirm(sql)
  const head = headOf(sql, stream)
  if (isDeleted(head)) return { kind: 'erased', stream, firstRevision: undefined }
  const unneeded = unneededErasure(request, head, firstRevisionOf(sql, stream, head))
  if (unneeded) return unneeded
  return overwriting(database, () => {
    const end = before ?? TOMBSTONE_REVISION
    connection.prepare(ERASE).run(stream, end)
    // A snapshot goes with its event.
    connection.prepare(ERASE_SNAPSHOTS).run(stream, end)
    if (before === undefined) {
      const time = currentTime()
      for (const revision of [nextRevision(head), TOMBSTONE_REVISION])
        sql.insert.run(stream, revision, environment.uuid(), '', 0, time, '', '')
    }
    const conditions = [{ stream: notice.stream, expected: 'any' }] as const
    const noted = append(sql, { conditions, events: [notice], keys: [], ids: 'made' }) as Appended
    return { kind: 'done', position: noted.positions[0]! }
  })
}

const ERASE =
  "UPDATE mneme_events SET type = '', version = 0, data = '', metadata = '' WHERE stream = ? AND revision < ? AND version > 0"
const ERASE_SNAPSHOTS = 'DELETE FROM mneme_snapshots WHERE stream = ? AND revision < ?'

const BYTES_LEFT =
  'the events are erased, but their bytes are still in the write-ahead log, which another process is reading: call it again'
