import type { EventsErased, StoredEvent } from '../../adapter/store-adapter.ts'
import { StreamDeletedError } from '../../base/errors.ts'
import type { Revision } from '../../base/revision.ts'
import type { Statements } from './connection.ts'
import type { SqliteDatabase } from './driver.ts'

/**
 * What is left of erased events. An erased event keeps its row, with its position, revision and id, so that positions stay
 * consecutive, checkpoints stay valid and repeats are recognised. Its version is 0, its texts are empty, and reading leaves it
 * out. The erased events of a stream are its first ones.
 *
 * A deleted stream has two more such rows. The one at the next revision makes an append fail that judges by the unique index
 * alone, also one of an older program that has the file open. The one at this revision makes each look at the head find out;
 * what an older program appends behind it is no part of the stream.
 */
export const TOMBSTONE_REVISION = 2 ** 52

/** Whether a stream with this head was deleted. */
export function isDeleted(head: Revision): boolean {
  return head !== 'none' && head >= TOMBSTONE_REVISION
}

/** @throws StreamDeletedError */
export function ensureNotDeleted(stream: string, head: Revision): Revision {
  if (isDeleted(head)) throw new StreamDeletedError(stream)
  return head
}

/** Does work in a transaction such that what it frees or replaces is overwritten with zeros. */
export function overwriting<T>(database: SqliteDatabase, work: () => T): T {
  const { secure_delete: usual } = database.prepare('PRAGMA secure_delete').get() as { secure_delete: number }
  database.exec('PRAGMA secure_delete = ON')
  try {
    return work()
  } finally {
    database.exec(`PRAGMA secure_delete = ${usual === 1 ? 'ON' : usual === 2 ? 'FAST' : 'OFF'}`)
  }
}

/** The first revision that a stream has, or that comes next: found by halving. */
export function firstRevisionOf(sql: Statements, stream: string, head: Revision): number {
  if (head === 'none') return 0
  const isErased = (revision: number) =>
    (sql.at.get(stream, revision) as { version: number } | undefined)?.version === 0
  if (!isErased(0)) return 0
  let low = 1
  let high = head + 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (isErased(middle)) low = middle + 1
    else high = middle
  }
  return low
}

/** The verdict on an append that repeats these events, if one of them was erased. */
export function erasedAmong(
  sql: Statements,
  events: readonly StoredEvent[],
  headOf: (sql: Statements, stream: string) => Revision,
): EventsErased | undefined {
  const erased = events.find(({ version }) => version === 0)
  if (!erased) return undefined
  const { stream } = erased
  const head = headOf(sql, stream)
  return {
    kind: 'erased',
    stream,
    firstRevision: isDeleted(head) ? undefined : firstRevisionOf(sql, stream, head),
  }
}
