import { InvalidArgumentError } from '../../base/errors.ts'
import {
  APPEND,
  APPEND_AT,
  APPEND_ONE,
  ERASE,
  FIRST_REVISION,
  HORIZON,
  NOTE_HORIZON,
  REVISION_AFTER,
} from './functions.ts'

/**
 * Step n takes a schema from version n to n + 1. A step that was published never changes: a change is a new
 * step, and what older code of the same minor version calls stays as it is (a function whose parameters or result have to
 * change gets a new name), so that old and new code run side by side. A function that is only mended is replaced.
 *
 * `SCHEMA` stands for the schema's quoted name, `POSITIONS` for its sequence as a literal.
 *
 * Names collate as "C": comparing bytes is fastest, and an index of them outlives an upgrade of the system's
 * collations. Data is text: `jsonb` would change it, and of text the server knows the size without
 * reading it, which bounds a page. Event ids have
 * no index (see docs/decisions/0001-event-ids-are-not-indexed.md).
 *
 * Of events of one type that follow each other in an append, the first one says how many they are (`type_run`), the
 * others 0, and only the first one is in the index of types; categories alike. A large append so costs two entries
 * rather than two for each event.
 */
const STEPS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE SCHEMA.meta (name text PRIMARY KEY, value text NOT NULL)`,
    `CREATE TABLE SCHEMA.events (
  position bigint PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  id uuid NOT NULL,
  type text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  time timestamptz NOT NULL,
  type_run smallint NOT NULL,
  category_run smallint NOT NULL,
  data text NOT NULL,
  metadata text NOT NULL,
  CONSTRAINT events_stream_revision UNIQUE (stream, revision)
)`,
    `CREATE INDEX events_category ON SCHEMA.events (split_part(stream, '-', 1), position) WHERE category_run > 0`,
    `CREATE INDEX events_type ON SCHEMA.events (type, position) WHERE type_run > 0`,
    `CREATE TABLE SCHEMA.keys (
  key text COLLATE "C" PRIMARY KEY,
  fingerprint text NOT NULL,
  position bigint NOT NULL,
  first integer NOT NULL,
  count integer NOT NULL,
  streams text[] NOT NULL,
  heads bigint[] NOT NULL
)`,
    `CREATE TABLE SCHEMA.settled (call uuid PRIMARY KEY, at timestamptz NOT NULL)`,
    `CREATE TABLE SCHEMA.horizon (position bigint NOT NULL)`,
    // Nobody has noted anything.
    `INSERT INTO SCHEMA.horizon VALUES (-1)`,
    `CREATE SEQUENCE SCHEMA.positions AS bigint CACHE 1 NO CYCLE`,
    // A new sequence would say 1 before it has given it out.
    `SELECT nextval('POSITIONS')`,
    ...[HORIZON, NOTE_HORIZON],
    // Version 1 had some of the functions that step 3 makes, in an earlier form.
  ],
  [
    // A snapshot goes with its event, whoever deletes that, also while the snapshot is being put.
    `CREATE TABLE SCHEMA.snapshots (
  stream text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  id uuid NOT NULL,
  content text NOT NULL,
  PRIMARY KEY (stream, name),
  CONSTRAINT snapshots_event FOREIGN KEY (stream, revision)
    REFERENCES SCHEMA.events (stream, revision) ON DELETE CASCADE
)`,
  ],
  // Events may be erased, and streams deleted: then the functions that append refuse, also for older code that has the
  // store open.
  [REVISION_AFTER, APPEND_ONE, APPEND, APPEND_AT, FIRST_REVISION, ERASE],
]

/** The version of the schema that this code brings about. */
export const VERSION = STEPS.length

/** The oldest code that can use that schema, by the version that it knows: before 3, what is left of an erased event was one. */
const COMPATIBLE = 3

/** A schema's quoted name. @throws InvalidArgumentError */
export function quoteSchema(schema: string): string {
  const isName =
    typeof (schema as unknown) === 'string' &&
    schema !== '' &&
    !schema.includes('\0') &&
    !schema.startsWith('pg_')
  if (!isName || Buffer.byteLength(schema) > 63) {
    throw new InvalidArgumentError('options.schema', 'a name of 1 to 63 bytes that does not begin with pg_')
  }
  return `"${schema.replaceAll('"', '""')}"`
}

/** A literal of SQL. */
export function literal(text: string): string {
  return `${text.includes('\\') ? ' E' : ''}'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
}

/** SQL that names the schema's parts, with its names put in. */
export function inSchema(sql: string, quoted: string): string {
  // The tag that ends a function's body must not be in it.
  let tag = 'mneme'
  while (quoted.includes(`$${tag}$`)) tag += '_'
  return sql.replace(/\$mneme\$|'POSITIONS'|SCHEMA\./g, (name) =>
    name === '$mneme$' ? `$${tag}$` : name === 'SCHEMA.' ? `${quoted}.` : literal(`${quoted}.positions`),
  )
}

/** The statements that take a schema of version `from` (0: there is none) to the present one. */
export function migrationSql(quoted: string, from: number, isThere: boolean): string[] {
  if (from >= VERSION) return []
  const sql = STEPS.slice(from)
    .flat()
    .map((statement) => inSchema(statement, quoted).trim())
  if (from === 0) {
    if (!isThere) sql.unshift(`CREATE SCHEMA ${quoted}`)
    sql.push(`INSERT INTO ${quoted}.meta VALUES ('identity', gen_random_uuid()::text)`)
  }
  const versions = `('schema', '${String(VERSION)}'), ('compatible', '${String(COMPATIBLE)}')`
  sql.push(
    `INSERT INTO ${quoted}.meta VALUES ${versions} ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value`,
  )
  return sql
}
