import { fingerprint } from '../../model/fingerprint.ts'
import { TOMBSTONE } from './functions.ts'
import { inSchema } from './schema.ts'
import type { Row, Statement } from './wire.ts'
import type { Revision } from '../../base/revision.ts'
import { timeOf } from '../../base/clock.ts'
import type { StoredEvent } from '../../adapter/store-adapter.ts'
import { formatNumber } from './position.ts'

/** The columns of every statement that selects events; {@link eventOf} takes its rows. */
const HEADER = 'position, stream, revision, id, type, version, (extract(epoch FROM time) * 1000)::bigint'
const COLUMNS = `${HEADER}, data, metadata`

/** The statements of a store in one schema. */
export class Statements {
  readonly #quoted: string
  readonly #known = new Map<string, Statement>()

  constructor(quoted: string) {
    this.#quoted = quoted
  }

  /** A statement with the schema's names put in, under a name that depends only on its text. */
  of(sql: string): Statement {
    let statement = this.#known.get(sql)
    if (!statement) {
      const text = inSchema(sql, this.#quoted)
      statement = { name: `mneme_${fingerprint([text]).slice(0, 24)}`, text }
      this.#known.set(sql, statement)
    }
    return statement
  }
}

export const APPEND_ONE = 'SELECT SCHEMA.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9)'

const append = (name: string, parameters: number) =>
  `SELECT verdict, heads, number, milliseconds, there FROM SCHEMA.${name}(
    ${Array.from({ length: parameters }, (_, i) => `$${String(i + 1)}`).join(', ')})`

export const APPEND = append('append', 24)

/** The same with one more parameter: the times of imported events. */
export const APPEND_AT = append('append_at', 25)

export const ERASE =
  'SELECT verdict, head, number FROM SCHEMA.erase($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)'

/** The first revision that a stream ($1) has below its head ($2), or that comes next. */
export const FIRST_REVISION = 'SELECT SCHEMA.first_revision($1, $2)'

export const HORIZON = 'SELECT reached, drawn, standby FROM SCHEMA.horizon()'

/**
 * The horizon for a reader that continues behind a position ($1): with the id of the event there, and up to where the
 * statements that follow in this transaction may read ({@link UNTIL}). That is the horizon, as text; or '' if they must not
 * read, because they would see no more than this statement (the isolation is not READ COMMITTED), or on a standby. Planning
 * those statements anew for a few events takes several times as long as finding them.
 */
export const HORIZON_BEHIND = `SELECT h.reached, h.drawn, h.standby,
    (SELECT e.id FROM SCHEMA.events e WHERE e.position = $1),
    set_config('mneme.until', CASE WHEN h.standby OR current_setting('transaction_isolation') <> 'read committed'
      THEN '' ELSE h.reached::text END, true),
    set_config('plan_cache_mode', 'force_generic_plan', true)
  FROM SCHEMA.horizon() h`

/** Up to where {@link HORIZON_BEHIND} lets the statements behind it read; null if it is not in their transaction. */
export const UNTIL = `nullif(current_setting('mneme.until', true), '')::bigint`

/**
 * The id of the event at the horizon ($1, or the one found before), and whether an event stands above it. The latter is
 * told by the last event of all: for an EXISTS the planner may read every event before.
 */
export const AT_HORIZON = `SELECT (SELECT e.id FROM SCHEMA.events e WHERE e.position = horizon.position),
    horizon.position < (SELECT max(last.position) FROM SCHEMA.events last)
  FROM (SELECT coalesce($1::bigint, ${UNTIL}) AS position) horizon`

/** The last event up to a position. */
export const LAST_UP_TO =
  'SELECT position, id FROM SCHEMA.events WHERE position <= $1 ORDER BY position DESC LIMIT 1'

export const ID_AT = 'SELECT id FROM SCHEMA.events WHERE position = $1'

export const NOTE_HORIZON = 'SELECT SCHEMA.note_horizon()'

/** The lock that all listeners of this store share; its key is not that of any stream or idempotency key. */
const LISTENERS = `hashtextextended('', 'POSITIONS'::regclass::oid::bigint + 2)`

/** Says that a session listens, until it ends or takes it back. */
export const SAY_LISTENING = `SELECT pg_advisory_lock_shared(${LISTENERS})`
export const SAY_NOT_LISTENING = `SELECT pg_advisory_unlock_shared(${LISTENERS})`

/** Notifies a channel ($1) of a text ($2) if a session listens. Losing it costs nothing, so it does not wait for the disk. */
export const NOTIFY_LISTENERS = `SELECT set_config('synchronous_commit', 'off', true),
  CASE WHEN pg_try_advisory_xact_lock(${LISTENERS}) THEN NULL ELSE pg_notify($1, $2)::text END`

/** The same in any case. */
export const NOTIFY = `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`

/** The heads of streams ($1), in the order given. */
export const HEADS = `SELECT
  (SELECT revision FROM SCHEMA.events WHERE stream = named.stream ORDER BY revision DESC LIMIT 1)
  FROM unnest($1::text[]) WITH ORDINALITY AS named (stream, place) ORDER BY place`

/**
 * The streams from a name ($1) on, and below another if there is one: PostgreSQL cannot skip to the next name of an index by
 * itself. Two steps in the index a stream; $2: how many at most.
 */
export function streamsFrom(before: boolean): string {
  const upTo = before ? ' AND e.stream < $3' : ''
  const first = (from: string) =>
    `SELECT e.stream FROM SCHEMA.events e WHERE e.stream ${from}${upTo} ORDER BY e.stream LIMIT 1`
  return `WITH RECURSIVE names (stream, n) AS (
      SELECT f.stream, 1::bigint FROM (${first('>= $1')}) f
      UNION ALL
      SELECT f.stream, p.n + 1 FROM names p CROSS JOIN LATERAL (${first('> p.stream')}) f WHERE p.n < $2
    )
    SELECT names.stream, h.revision,
        CASE WHEN h.revision < ${TOMBSTONE} THEN SCHEMA.first_revision(names.stream, h.revision) END
      FROM names CROSS JOIN LATERAL (
      SELECT e.revision FROM SCHEMA.events e WHERE e.stream = names.stream ORDER BY e.revision DESC LIMIT 1) h
    ORDER BY names.n`
}

/** The events of a few ranges of positions. */
export const STORED = `SELECT ${COLUMNS} FROM unnest($1::bigint[], $2::bigint[]) AS range(first, last)
  JOIN SCHEMA.events e ON e.position >= range.first AND e.position <= range.last`

export const KEYS = `SELECT key, fingerprint, position, first, count, array_to_json(streams), heads
  FROM SCHEMA.keys WHERE key = ANY ($1)`

/** Keys behind a place ($1: position, $2: key), in the order of their events; $3: how many at most. */
export const KEYS_BEHIND = `SELECT key, fingerprint, (position + first)::text, (position + first + count - 1)::text,
    array_to_json(streams)
  FROM SCHEMA.keys WHERE (position + first, key) > ($1::bigint, $2::text) ORDER BY position + first, key LIMIT $3`

/** Whether an event that was seen exists; a standby may lag behind, and is not asked. */
export const IS_THERE = `SELECT pg_is_in_recovery() OR EXISTS (
  SELECT FROM SCHEMA.events WHERE position = $1 AND id = $2)`

/** The statements for a page; the first one serves nearly all pages. */
export interface PageStatements {
  /** All rows up to the limit, but for those larger than {@link SMALL_EVENT_BYTES}, data and metadata are null. */
  readonly small: string
  /** Ends with the row that makes it larger than {@link PAGE_BYTES}; adding sizes up takes half as long again. */
  readonly measured: string
}

/** A page of the rows that a query gives in `order`. The server knows the size of a row without reading it. */
export function page(rows: string, order: string): PageStatements {
  const size = '(octet_length(e.data) + octet_length(e.metadata))'
  const ifSmall = (column: string) => `CASE WHEN ${size} <= ${String(SMALL_EVENT_BYTES)} THEN e.${column} END`
  return {
    small: `SELECT ${HEADER}, ${ifSmall('data')}, ${ifSmall('metadata')} FROM (${rows}) e ORDER BY ${order}`,
    measured: `SELECT ${COLUMNS} FROM (
      SELECT e.*, sum(${size}) OVER (ORDER BY ${order} ROWS UNBOUNDED PRECEDING) - ${size} AS before
      FROM (${rows}) e) p WHERE before < ${String(PAGE_BYTES)} ORDER BY ${order}`,
  }
}

/** A page on a standby, with one more row: up to where the log was complete for this statement. */
export function withNoted({ small, measured }: PageStatements): PageStatements {
  const and = (page: string) => `(${page}) UNION ALL
    SELECT h.position, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM SCHEMA.horizon h`
  return { small: and(small), measured: and(measured) }
}

/** Bytes of JSON after which a page ends. */
export const PAGE_BYTES = 1024 * 1024
/** Bytes of JSON up to which an event is small. */
export const SMALL_EVENT_BYTES = 1024

/** The event of a row. */
export function eventOf(row: Row): StoredEvent {
  const [position, stream, revision, id, type, version, time, data, metadata] = row as EventRow
  return {
    position: formatNumber(position),
    stream,
    revision: Number(revision),
    id,
    type,
    version: Number(version),
    time: timeOf(Number(time)),
    data,
    metadata,
  }
}

/** The head of a stream, and the version of its first row from a revision on, both of one moment: 0 if that was erased. */
export const LEFT_FROM = `SELECT
  (SELECT revision FROM SCHEMA.events WHERE stream = $1 ORDER BY revision DESC LIMIT 1),
  (SELECT version FROM SCHEMA.events WHERE stream = $1 AND revision >= $2 ORDER BY revision LIMIT 1)`

/** Whether a stream with this head was deleted: its last row is no event, and its number far above those of events. */
export function isDeleted(head: Revision): boolean {
  return head !== 'none' && head > Number.MAX_SAFE_INTEGER
}

/** What is left of an erased event is none. */
export const NOT_ERASED = 'version > 0'

/** The items of an array of numbers, as PostgreSQL writes it: `{1,2,NULL}`. */
export function numbersIn(array: string): (number | undefined)[] {
  if (array === '{}') return []
  return array
    .slice(1, -1)
    .split(',')
    .map((item) => (item === 'NULL' ? undefined : Number(item)))
}

type EventRow = [string, string, string, string, string, string, string, string, string]
