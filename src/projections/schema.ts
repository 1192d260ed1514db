import { OpenError } from '../base/errors.ts'
import { ask, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'

/**
 * Step n takes Mneme's tables in a target from version n to n + 1. A step that was published never changes.
 *
 * Positions are text, as the store gives them; times are milliseconds since 1970.
 */
const STEPS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE PROJECTIONS (
      name TEXT NOT NULL,
      generation INTEGER NOT NULL,
      version INTEGER NOT NULL,
      role TEXT NOT NULL,
      store TEXT,
      position TEXT,
      event_id TEXT,
      state TEXT NOT NULL,
      failure TEXT,
      applied BIGINT NOT NULL,
      rebuilding INTEGER NOT NULL,
      owner TEXT,
      lease_until BIGINT NOT NULL,
      PRIMARY KEY (name, generation)
    )`,
    `CREATE TABLE PARKED (
      name TEXT NOT NULL,
      generation INTEGER NOT NULL,
      position TEXT NOT NULL,
      event TEXT NOT NULL,
      failure TEXT NOT NULL,
      PRIMARY KEY (name, generation, position)
    )`,
  ],
  // 0: of a program that did not store it; such a lease counts as expired.
  ['ALTER TABLE PROJECTIONS ADD COLUMN lease_ms BIGINT NOT NULL DEFAULT 0'],
  // Reactions and relays; a timer is due at a time in milliseconds since 1970.
  [
    "ALTER TABLE PROJECTIONS ADD COLUMN kind TEXT NOT NULL DEFAULT 'projection'",
    'ALTER TABLE PROJECTIONS ADD COLUMN plan TEXT',
    'ALTER TABLE PROJECTIONS ADD COLUMN step BIGINT NOT NULL DEFAULT 0',
    'ALTER TABLE PARKED ADD COLUMN sequence TEXT',
    'ALTER TABLE PARKED ADD COLUMN plan TEXT',
    'ALTER TABLE PARKED ADD COLUMN asked INTEGER NOT NULL DEFAULT 0',
    `CREATE TABLE TIMERS (
      name TEXT NOT NULL,
      timer TEXT NOT NULL,
      event_id TEXT NOT NULL,
      state TEXT NOT NULL,
      due BIGINT NOT NULL,
      sequence TEXT NOT NULL,
      stream TEXT NOT NULL,
      revision BIGINT NOT NULL,
      plan TEXT NOT NULL,
      failure TEXT,
      PRIMARY KEY (name, timer, event_id)
    )`,
    // The state first: SQLite would also find a timer of a given name by an index that begins with the reaction's name.
    'CREATE INDEX mneme_timers_by_due ON TIMERS (state, name, due, timer)',
    'CREATE INDEX mneme_parked_by_sequence ON PARKED (name, generation, sequence, position)',
  ],
]

/**
 * Creates or migrates Mneme's tables in a target; one of several processes does it. Only reads if they are up to date.
 *
 * @throws OpenError if they are newer than this program, or older and the target has `migrate: false`.
 */
export async function prepareTarget(target: ProjectionTarget<unknown>): Promise<void> {
  if (prepared.has(target)) return
  const version = await target.read(() => versionOf(target))
  if (version !== STEPS.length) {
    if (target.migrate === false) {
      const found = version === 0 ? 'are not there' : `have version ${String(version)}`
      throw new OpenError(
        version === 0 ? 'no-store' : 'outdated-schema',
        `the tables of projections ${found}: run a program of this version of Mneme first, or leave out migrate: false`,
      )
    }
    await target.transaction(() => migrate(target), MIGRATION_IDLE_TIMEOUT_MS)
  }
  prepared.add(target)
}

const prepared = new WeakSet<ProjectionTarget<unknown>>()

function* migrate(target: ProjectionTarget<unknown>): TargetSteps<void> {
  if (target.dialect === 'postgres') {
    yield* ask("SELECT pg_advisory_xact_lock(hashtextextended('mneme projections', 0))")
    // Even with IF NOT EXISTS, CREATE SCHEMA needs the right to create one.
    const [there] = yield* ask("SELECT 1 AS there FROM pg_namespace WHERE nspname = 'HOME'")
    if (!there) yield* ask('CREATE SCHEMA HOME')
  }
  const version = yield* versionOf(target)
  if (version === 0) yield* ask('CREATE TABLE IF NOT EXISTS VERSIONS (version INTEGER NOT NULL)')
  for (const statement of STEPS.slice(version).flat()) yield* ask(statement)
  yield* ask('DELETE FROM VERSIONS')
  yield* ask(`INSERT INTO VERSIONS (version) VALUES (${String(STEPS.length)})`)
}

/** The version of the tables; 0 if there are none. @throws OpenError if they are newer than this program. */
export function* versionOf({ dialect }: ProjectionTarget<unknown>): TargetSteps<number> {
  const [there] = yield* ask(
    dialect === 'postgres'
      ? `SELECT 1 AS there FROM pg_class WHERE oid = to_regclass('VERSIONS')`
      : `SELECT 1 AS there FROM sqlite_schema WHERE type = 'table' AND name = 'mneme_projection_versions'`,
  )
  if (!there) return 0
  const [row] = yield* ask('SELECT version FROM VERSIONS')
  const version = Number(row?.version ?? 0)
  if (version > STEPS.length) {
    const known = `this version of Mneme knows ${String(STEPS.length)}`
    throw new OpenError('newer-schema', `the tables of projections have version ${String(version)}, ${known}`)
  }
  return version
}

const MIGRATION_IDLE_TIMEOUT_MS = 60_000
