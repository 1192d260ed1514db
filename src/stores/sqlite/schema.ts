import { environment } from '../../base/environment.ts'
import { OpenError } from '../../base/errors.ts'
import type { SqliteDatabase } from './driver.ts'

/**
 * Step n takes a file from version n to n + 1. A step that was published never changes: a change is a new step.
 * The file may hold tables of the user's own, so the version is kept in a table rather than in `user_version`.
 *
 * A snapshot goes with its event, whoever deletes that: a trigger, because drivers differ in whether they heed foreign keys.
 *
 * Of an event, the long columns come last: what is filtered by lies in the first page of its row. There is no
 * index of event ids; a repeated append is found by the revisions that it expects.
 */
const STEPS = [
  `
  CREATE TABLE mneme_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE mneme_events (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    version INTEGER NOT NULL,
    time TEXT NOT NULL,
    data TEXT NOT NULL,
    metadata TEXT NOT NULL,
    UNIQUE (stream, revision)
  ) STRICT;
  CREATE TABLE mneme_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    position INTEGER NOT NULL,
    count INTEGER NOT NULL,
    heads TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE mneme_snapshots (
    stream TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (stream, name)
  ) STRICT;
  CREATE TRIGGER mneme_event_deleted AFTER DELETE ON mneme_events BEGIN
    DELETE FROM mneme_snapshots WHERE stream = old.stream AND revision = old.revision;
  END;
  `,
  // An event may be erased: see erase.ts. Older programs would take what is left of it for an event.
  '-- no new tables',
]

/** The present schema. */
export const VERSION = STEPS.length

/**
 * Brings a database to the present schema under SQLite's write lock: one of several processes does it, and the others
 * find it done. Only reads if there is nothing to do.
 *
 * @throws OpenError if the schema is newer than this program; nothing was written then.
 */
export function migrate(database: SqliteDatabase): void {
  if (versionOf(database) === VERSION) return
  database.exec('BEGIN IMMEDIATE')
  try {
    const version = versionOf(database)
    for (const step of STEPS.slice(version)) database.exec(step)
    const set = database.prepare(
      'INSERT INTO mneme_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    )
    if (version === 0) set.run('identity', environment.uuid())
    set.run('schema', String(VERSION))
    database.exec('COMMIT')
  } catch (error) {
    rollBack(database)
    throw error
  }
}

/** The schema version of a database; 0 if it has none. @throws OpenError if it is newer than this program. */
export function versionOf(database: SqliteDatabase): number {
  const table = database
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mneme_meta'")
    .get()
  if (!table) return 0
  const row = database.prepare("SELECT value FROM mneme_meta WHERE name = 'schema'").get() as Meta | undefined
  const version = Number(row?.value)
  if (version > STEPS.length) {
    throw new OpenError(
      'newer-schema',
      `the file has schema ${version}, and this version of Mneme knows schemas up to ${STEPS.length}: update Mneme`,
    )
  }
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new OpenError('failed', 'the file has a table mneme_meta that Mneme did not make: use another file')
  }
  return version
}

/** The identity that was made with the schema. */
export function identityOf(database: SqliteDatabase): string {
  return (database.prepare("SELECT value FROM mneme_meta WHERE name = 'identity'").get() as Meta).value
}

function rollBack(database: SqliteDatabase): void {
  try {
    database.exec('ROLLBACK')
  } catch {
    // SQLite rolled back by itself; the error that made it do so is the one to report.
  }
}

interface Meta {
  readonly value: string
}
