import type { NamedSnapshot, Snapshot, SnapshotKeeper } from '../../adapter/store-adapter.ts'
import { StoreUnavailableError } from '../../base/errors.ts'
import type { Connections } from './connection.ts'
import type { Statements } from './statements.ts'

/** Snapshots in a table of the schema. */
export function snapshotsIn(connections: Connections, statements: Statements): Required<SnapshotKeeper> {
  return {
    get: async (stream, name) => {
      const [row] = await connections.ask(statements.of(GET), [stream, name])
      return row && snapshotOf(row as [string, string, string])
    },
    put: (snapshot) => put(connections, statements, snapshot),
    delete: async (stream) => {
      await connections.ask(statements.of(DELETE), [stream])
    },
    list: async ({ name, after = '', limit }) => {
      const rows = await connections.ask(statements.of(LIST), [name, after, String(limit)])
      return rows.map(([stream]) => stream!)
    },
  }
}

function snapshotOf([revision, id, content]: [string, string, string]): Snapshot {
  return { revision: Number(revision), id, content }
}

async function put(
  connections: Connections,
  statements: Statements,
  { stream, name, revision, id, content }: NamedSnapshot,
): Promise<boolean> {
  // A statement that a standby refuses would cost the connection.
  const [settings] = await connections.ask(statements.of(IS_READ_ONLY))
  if (settings![0] === 'on') throw new StoreUnavailableError('the server takes no snapshots: it only reads')
  const values = [stream, name, String(revision), id, content]
  try {
    const answers = await connections.askAll([
      { statement: statements.of(DO_NOT_WAIT), values: [] },
      { statement: statements.of(LOCK_STREAM), values: [stream] },
      { statement: statements.of(PUT), values },
    ])
    return answers.at(-1)!.length > 0
  } catch (error) {
    const { cause } = error as { readonly cause?: { readonly code?: unknown } }
    // The event was deleted meanwhile.
    if (cause?.code === FOREIGN_KEY_VIOLATION) return false
    throw error
  }
}

const GET = 'SELECT revision, id, content FROM SCHEMA.snapshots WHERE stream = $1 AND name = $2'
const DELETE = 'DELETE FROM SCHEMA.snapshots WHERE stream = $1'
const LIST = 'SELECT stream FROM SCHEMA.snapshots WHERE name = $1 AND stream > $2 ORDER BY stream LIMIT $3'
const IS_READ_ONLY = "SELECT current_setting('transaction_read_only')"
/** A snapshot may be lost in a crash, so it does not wait for the disk; nor long for the lock of a busy stream. */
const DO_NOT_WAIT =
  "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '1s', true)"
/** The lock of the functions that append and erase: no event is erased between the look for it and the commit. */
const LOCK_STREAM = `SELECT pg_advisory_xact_lock(hashtextextended($1, 'POSITIONS'::regclass::oid::bigint))`
const PUT = `INSERT INTO SCHEMA.snapshots (stream, name, revision, id, content)
  SELECT e.stream, $2, e.revision, e.id, $5 FROM SCHEMA.events e
    WHERE e.stream = $1 AND e.revision = $3 AND e.id = $4 AND e.version > 0
  ON CONFLICT (stream, name) DO UPDATE
    SET revision = EXCLUDED.revision, id = EXCLUDED.id, content = EXCLUDED.content
  RETURNING 1`
const FOREIGN_KEY_VIOLATION = '23503'
