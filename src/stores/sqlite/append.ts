import { anchorOf, conflictOf, place, repeatOf } from '../../adapter/append-rules.ts'
import { currentTime } from '../../base/clock.ts'
import { formatPosition } from '../../adapter/position.ts'
import type { Revision } from '../../base/revision.ts'
import type {
  AppendRequest,
  AppendVerdict,
  Appended,
  KeyClaim,
  KeyUse,
  Repeated,
  StoredEvent,
} from '../../adapter/store-adapter.ts'
import type { Statements } from './connection.ts'
import { eventOf } from './rows.ts'

/**
 * Judges an append and inserts its events, within a transaction that has the write lock.
 *
 * @throws what the driver throws; the transaction is then of no more use.
 */
export function append(sql: Statements, request: AppendRequest): AppendVerdict {
  const uses = request.keys.flatMap(({ key }) => useOf(sql, key) ?? [])
  if (uses.length > 0) return { kind: 'used', uses }
  const before = request.conditions.map(({ stream }) => headOf(sql, stream))
  const repeated = firstAppendOf(sql, request, before)
  if (repeated) return repeated
  const conflict = conflictOf(request, before)
  if (conflict) return conflict
  const { revisions, heads } = place(request, before)
  const time = currentTime()
  const positions = request.events.map(({ stream, id, type, version, data, metadata }, i) => {
    const revision = revisions[i]!
    const { lastInsertRowid } = sql.insert.run(stream, revision, id, type, version, time, data, metadata)
    return Number(lastInsertRowid)
  })
  keepKeys(sql, request, { before, revisions, positions })
  return { kind: 'appended', revisions, positions: positions.map(formatPosition), time, heads }
}

/** Where a stream stands. */
export function headOf(sql: Statements, stream: string): Revision {
  const { revision } = sql.head.get(stream) as { revision: number | null }
  return revision ?? 'none'
}

/** The verdict of an append whose commit is in doubt, if its events are there; with the positions that they have. */
export function asStored(
  sql: Statements,
  { events }: AppendRequest,
  verdict: Appended,
): Appended | undefined {
  const rows = events.map(({ stream }, i) => sql.at.get(stream, verdict.revisions[i]!) as At | undefined)
  if (!events.every(({ id }, i) => rows[i]?.id === id)) return undefined
  return { ...verdict, positions: rows.map((row) => formatPosition(row!.position)) }
}

/** The answer to an append whose events are stored already. */
function firstAppendOf(
  sql: Statements,
  request: AppendRequest,
  now: readonly Revision[],
): Repeated | undefined {
  const anchor = anchorOf(request)
  if (!anchor) return undefined
  const { stream, id } = request.events[anchor.index]!
  // The usual append stands where it was expected: there is nothing behind that to look at.
  const head = now[request.conditions.findIndex((condition) => condition.stream === stream)]!
  if (head === 'none' || head < anchor.revision) return undefined
  const known = sql.at.get(stream, anchor.revision) as At | undefined
  if (known?.id !== id) return undefined
  const first = known.position - anchor.index
  return repeatOf(request, storedAt(sql, first, request.events.length), now)
}

function storedAt(sql: Statements, position: number, count: number): StoredEvent[] {
  return sql.stored.all(position, position + count).map(eventOf)
}

function useOf(sql: Statements, key: string): KeyUse | undefined {
  const row = sql.key.get(key) as KeyRow | undefined
  if (!row) return undefined
  const { fingerprint, position, count } = row
  const events = storedAt(sql, position, count)
  return { key, fingerprint, events, heads: JSON.parse(row.heads) as KeyUse['heads'] }
}

/** Keeps each key with where the streams stood after its events: those of the keys before it included. */
function keepKeys(
  sql: Statements,
  { conditions, events, keys }: AppendRequest,
  placed: { before: readonly Revision[]; revisions: readonly number[]; positions: readonly number[] },
): void {
  if (keys.length === 0) return
  const heads = new Map(conditions.map(({ stream }, i) => [stream, placed.before[i]!]))
  let passed = 0
  const kept = keys.filter(({ count }) => count > 0).sort((a, b) => endOf(a) - endOf(b))
  for (const { key, fingerprint, first, count } of kept) {
    for (; passed < first + count; passed++) {
      heads.set(events[passed]!.stream, placed.revisions[passed]!)
    }
    sql.insertKey.run(key, fingerprint, placed.positions[first]!, count, JSON.stringify([...heads]))
  }
}

function endOf({ first, count }: KeyClaim): number {
  return first + count
}

interface At {
  readonly position: number
  readonly id: string
}

interface KeyRow {
  readonly fingerprint: string
  readonly position: number
  readonly count: number
  readonly heads: string
}
