import { environment } from '../../base/environment.ts'
import { anchorOf, conflictOf, placeEvents, repeatOf, streamsOf } from '../../adapter/append-rules.ts'
import { currentTime } from '../../base/clock.ts'
import { formatPosition, parsePosition } from '../../adapter/position.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type {
  Appended,
  AppendRequest,
  AppendVerdict,
  KeyClaim,
  KeyUse,
  NewEvent,
  Repeated,
  StoredEvent,
} from '../../adapter/store-adapter.ts'
import type { Connection, Statements } from './connection.ts'
import { eventOf } from './rows.ts'
import { erasedAmong, isDeleted } from './erased.ts'
import { isBusy, isTaken } from './errors.ts'

/**
 * Judges an append and inserts its events, within a transaction that has the write lock.
 *
 * @throws what the driver throws; the transaction is then of no more use.
 */
export function append(sql: Statements, request: AppendRequest): AppendVerdict {
  const uses = request.keys.flatMap(({ key }) => useOf(sql, key) ?? [])
  if (uses.length > 0) {
    const events = uses.flatMap((use) => use.events)
    return erasedAmong(sql, events, headOf) ?? { kind: 'used', uses }
  }
  const before = request.conditions.map(({ stream }) => headOf(sql, stream))
  const deleted = before.findIndex(isDeleted)
  if (deleted >= 0)
    return { kind: 'erased', stream: request.conditions[deleted]!.stream, firstRevision: undefined }
  const repeated = firstAppendOf(sql, request, before)
  if (repeated) return erasedAmong(sql, repeated.events, headOf) ?? repeated
  const conflict = conflictOf(request, before)
  if (conflict) return conflict
  const { revisions, heads } = placeEvents(request, before)
  const time = currentTime()
  const positions = request.events.map((event, i) => insert(sql, event, revisions[i]!, time))
  if (request.keys.length > 0) keepKeys(sql, request, { before, revisions, positions })
  return { kind: 'appended', revisions, positions: positions.map(formatPosition), time, heads }
}

/**
 * Appends without looking at the stream first, if it is the only one and its next revision is foreseen: the unique index
 * refuses the first event if the stream has moved on.
 *
 * @returns `undefined` if the append is of another kind, or was refused: nothing was written, and {@link append} judges it.
 * @throws what the driver throws; the transaction is then of no more use.
 */
function appendForeseen(connection: Connection, request: AppendRequest): Appended | undefined {
  const first = foreseenRevision(connection, request)
  if (first === undefined) return undefined
  const { sql } = connection
  const { events } = request
  const time = currentTime()
  const [revisions, positions] = [[first], [] as Position[]]
  try {
    positions.push(formatPosition(insert(sql, events[0]!, first, time)))
  } catch (error) {
    if (isTaken(error)) return undefined
    throw error
  }
  for (let i = 1; i < events.length; i++) {
    positions.push(formatPosition(insert(sql, events[i]!, first + i, time)))
    revisions.push(first + i)
  }
  return { kind: 'appended', revisions, positions, time, heads: [first + events.length - 1] }
}

/**
 * The revision of the first event of an append to one stream under an exact expectation, if the stream has reached the
 * expected revision. That is known of those that this connection wrote to, if the file still holds the known history.
 */
function foreseenRevision(
  { knownHeads }: Connection,
  { conditions, events, keys }: AppendRequest,
): number | undefined {
  if (conditions.length > 1 || events.length === 0 || keys.length > 0) return undefined
  const { stream, expected } = conditions[0]!
  if (expected === 'none') return 0
  if (expected === 'any' || expected === 'exists') return undefined
  return (knownHeads.get(stream) ?? -1) >= expected ? expected + 1 : undefined
}

/** Inserts an event; returns its position. */
function insert(sql: Statements, event: NewEvent, revision: number, now: string): number {
  const { stream, id, type, version, data, metadata, time = now } = event
  return Number(sql.insert.run(stream, revision, id, type, version, time, data, metadata).lastInsertRowid)
}

/** The revision of a stream's last event; that of its tombstone if it was deleted. */
export function headOf(sql: Statements, stream: string): Revision {
  const { revision } = sql.head.get(stream) as { revision: number | null }
  return revision ?? 'none'
}

/** The verdict of an append whose commit is in doubt, if its events are there; with the positions that they have. */
function asStored(sql: Statements, { events }: AppendRequest, verdict: Appended): Appended | undefined {
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
  // Usually the stream is at the expected revision, and there is nothing behind it to compare.
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

/** Keeps each key with the heads of the streams after its events, which include those of earlier keys. */
function keepKeys(
  sql: Statements,
  { conditions, events, keys }: AppendRequest,
  placed: { before: readonly Revision[]; revisions: readonly number[]; positions: readonly number[] },
): void {
  const heads = new Map(conditions.map(({ stream }, i) => [stream, placed.before[i]!]))
  let passed = 0
  const kept = keys.filter(({ count }) => count > 0).sort((a, b) => endOf(a) - endOf(b))
  for (const claim of kept) {
    const { key, fingerprint, first, count } = claim
    for (; passed < first + count; passed++) {
      heads.set(events[passed]!.stream, placed.revisions[passed]!)
    }
    const named = streamsOf(claim, heads).map((stream) => [stream, heads.get(stream)!])
    sql.insertKey.run(key, fingerprint, placed.positions[first]!, count, JSON.stringify(named))
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

/** The outcome of a batch, which is the first of the appends that were given. */
export type BatchOutcome =
  /** Committed: each one's verdict. */
  | { readonly kind: 'committed'; readonly verdicts: readonly AppendVerdict[] }
  /** Nothing was written; the first `tried` appends failed with this error. */
  | { readonly kind: 'failed'; readonly tried: number; readonly error: unknown }
  /** COMMIT failed with this error, and it is unknown yet whether it took effect. */
  | { readonly kind: 'doubtful'; readonly verdicts: readonly AppendVerdict[]; readonly error: unknown }

/**
 * Commits appends together: all of them, or as many as fit into `MAX_BATCH_MS`. Each is judged after those before it, as if
 * they had been made one after the other.
 *
 * After an error nothing of the batch counts. SQLite may have rolled back by itself (it does on a full disk), and later
 * statements would then commit on their own.
 */
export function commitBatch(
  connection: Connection,
  appends: readonly { readonly request: AppendRequest }[],
): BatchOutcome {
  const verdicts: AppendVerdict[] = []
  let isCommitting = false
  try {
    connection.ensureNoTransaction()
    connection.history.ensureFile()
    if (appends.length === 1) {
      const outcome = appendAlone(connection, appends[0]!.request)
      if (outcome?.kind === 'committed') return committed(connection, appends, outcome.verdicts)
      if (outcome) return outcome
    }
    const { sql } = connection
    sql.begin.run()
    connection.history.confirm(sql)
    const started = environment.now()
    let inserted = 0
    let size = 0
    for (const { request } of appends) {
      verdicts.push(appendForeseen(connection, request) ?? append(sql, request))
      size += unitsOf(request.events)
      inserted += request.events.length + 1
      if (size > MAX_BATCH_UNITS || (inserted > UNTIMED_WRITES && environment.now() - started > MAX_BATCH_MS))
        break
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

/** UTF-16 units of JSON. */
function unitsOf(events: readonly NewEvent[]): number {
  let units = 0
  // eslint-disable-next-line @typescript-eslint/prefer-for-of -- until it is compiled, it takes half the time by index
  for (let i = 0; i < events.length; i++) units += events[i]!.data.length + events[i]!.metadata.length
  return units
}

function committed(
  connection: Connection,
  appends: readonly { readonly request: AppendRequest }[],
  verdicts: readonly AppendVerdict[],
): BatchOutcome {
  for (let i = 0; i < verdicts.length; i++) note(connection, appends[i]!.request, verdicts[i]!)
  const last = verdicts.findLastIndex(hasWritten)
  if (last >= 0) {
    const position = (verdicts[last] as Appended).positions.at(-1)!
    connection.history.saw(parsePosition(position), appends[last]!.request.events.at(-1)!.id)
  }
  return { kind: 'committed', verdicts }
}

/**
 * The verdicts of a batch whose COMMIT failed, if it took effect nevertheless.
 *
 * @throws what the driver throws; then it is still unknown.
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

/** Whether an append has written an event. */
export function hasWritten(verdict: AppendVerdict): verdict is AppendVerdict & { kind: 'appended' } {
  return verdict.kind === 'appended' && verdict.revisions.length > 0
}

/** Appends and events that a batch may hold before its time is looked at. */
const UNTIMED_WRITES = 256
/** Milliseconds that a larger batch may take before its commit. */
const MAX_BATCH_MS = 2
/** UTF-16 units of JSON in a batch; a single append may be larger. */
const MAX_BATCH_UNITS = 1024 * 1024

/**
 * The most frequent append, one event for one stream at a foreseen revision, as one statement that is its own transaction.
 * It checks that the file still holds the known history.
 *
 * @returns `undefined` if the append is of another kind, or does not fit: it is then judged in a transaction.
 */
function appendAlone(connection: Connection, request: AppendRequest): BatchOutcome | undefined {
  const revision = request.events.length === 1 ? foreseenRevision(connection, request) : undefined
  if (revision === undefined) return undefined
  const { sql, history } = connection
  const { stream, id, type, version, data, metadata, time = currentTime() } = request.events[0]!
  const verdict = (positions: Position[]): Appended => ({
    kind: 'appended',
    revisions: [revision],
    positions,
    time,
    heads: [revision],
  })
  try {
    const { last } = history
    const { changes, lastInsertRowid } = last
      ? sql.insertAfter.run(stream, revision, id, type, version, time, data, metadata, last[0], last[1])
      : sql.insert.run(stream, revision, id, type, version, time, data, metadata)
    if (Number(changes) !== 1) return undefined
    return { kind: 'committed', verdicts: [verdict([formatPosition(Number(lastInsertRowid))])] }
  } catch (error) {
    if (isTaken(error)) return undefined
    return isBusy(error)
      ? { kind: 'failed', tried: 1, error }
      : { kind: 'doubtful', verdicts: [verdict([])], error }
  }
}

/** Notes the heads of the streams of a committed append. */
function note({ knownHeads }: Connection, { conditions }: AppendRequest, verdict: AppendVerdict): void {
  if (verdict.kind !== 'appended') return
  if (knownHeads.size > MAX_KNOWN_HEADS) knownHeads.clear()
  for (let i = 0; i < conditions.length; i++) {
    const head = verdict.heads[i]
    if (typeof head === 'number') knownHeads.set(conditions[i]!.stream, head)
  }
}

/** Streams of which it is noted how far they have come. */
const MAX_KNOWN_HEADS = 10_000
