import {
  ask,
  type ProjectionTarget,
  transactionEnded,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
} from '../adapter/projection-target.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Checkpoint } from '../store/event-store.ts'
import type { LogPlace } from '../adapter/store-adapter.ts'

/**
 * A build of a read model: the row in the target that holds its checkpoint. One build is live; during a rebuild there is
 * a second one beside it. Each has a generation of its own, which is never used again.
 */
export interface Build {
  readonly kind: FollowerKind
  readonly name: string
  readonly generation: number
  readonly version: number
  readonly role: Role
  /** Up to where events were handled; `undefined`: none yet. */
  readonly checkpoint: Checkpoint | undefined
  readonly state: 'running' | 'retrying' | 'blocked'
  /** Why it is retried, or blocked. */
  readonly failure: Failure | undefined
  /** How many events were handled. */
  readonly applied: number
  /** Whether it was reset, and has not caught up since. */
  readonly isRebuilding: boolean
  /** The worker that has the lease. */
  readonly owner: string | undefined
  /** Milliseconds until the lease expires, unless it is renewed. */
  readonly leaseLeft: number
  /** What a reaction has begun, and not yet finished, as JSON. */
  readonly plan: string | undefined
  /** Counts the transactions of a reaction: each is refused if another worker had one meanwhile. */
  readonly step: number
}

/** What follows the log. */
export type FollowerKind = 'projection' | 'reaction' | 'relay'

/** `'live'` is read by users; `'building'` replaces it once it has caught up; `'retired'` was replaced or given up. */
type Role = 'live' | 'building' | 'retired'

/** Why a projection does not go on, or why an event was set aside. */
export interface Failure {
  readonly name: string
  readonly message: string
  /** The error's `code`: of Mneme's errors, or of a database's. */
  readonly code: string | undefined
  /** Where it was thrown, as the error's `stack` says; the first 4,000 characters. */
  readonly stack?: string | undefined
  /** What caused it: the error's `cause`, and its cause, outermost first. */
  readonly causes?: readonly FailureCause[] | undefined
  /** How often the handler, or the work, was attempted. */
  readonly attempts: number
  /** The time of the last failure: ISO 8601. */
  readonly time: string
  /** The event on which the handler failed; `undefined` if no handler was called. */
  readonly event: FailedEvent | undefined
  /** The events that failed together, if it is not known which of them did: they are handled again in parts. */
  readonly page?: FailedPage | undefined
  /** The timer whose command failed, if it was one of a reaction. */
  readonly timer?: string | undefined
  /** What was thrown. Only `onFailure` is given it, in the process where it happened: it is not stored. */
  readonly error?: unknown
}

/** The cause of a failure. */
export type FailureCause = Pick<Failure, 'name' | 'message' | 'code' | 'stack'>

/** An event on which a handler failed. */
export interface FailedEvent {
  readonly position: string
  readonly id: string
  readonly type: string
  readonly stream: string
  readonly revision: number
}

/** Events on which a handler of pages, or a commit, failed. */
export interface FailedPage {
  readonly first: FailedEvent
  readonly last: FailedEvent
  /** How many events it has. */
  readonly events: number
}

/** The suffix of a build's table names. */
export function suffixOf({ role, generation }: Pick<Build, 'role' | 'generation'>): string {
  return role === 'live' ? '' : `__${String(generation)}`
}

/** The builds of a projection. */
export interface Builds {
  /** The one that users read. */
  readonly live: Build | undefined
  /** The one that will replace it. */
  readonly building: Build | undefined
  /** The generation of the next one. */
  readonly next: number
}

export function* findBuilds(name: string): TargetSteps<Builds> {
  const rows = yield* ask(`SELECT ${COLUMNS} FROM PROJECTIONS WHERE name = $1 ORDER BY generation`, name)
  const builds = rows.map((row) => buildOf(name, row))
  const ofRole = (wanted: Role) => builds.find(({ role }) => role === wanted)
  return { live: ofRole('live'), building: ofRole('building'), next: (builds.at(-1)?.generation ?? 0) + 1 }
}

/** @throws InvalidArgumentError if a build belongs to something else of the same name. */
export function ofKind(build: Build, kind: FollowerKind): Build {
  if (build.kind === kind) return build
  const message = `'${build.name}' is the name of a ${build.kind} in this database; give the ${kind} another name`
  throw new InvalidArgumentError('name', { message })
}

/** @throws InvalidArgumentError if a name is that of something else in a database. */
export async function checkKind(
  target: ProjectionTarget<unknown>,
  name: string,
  kind: FollowerKind,
): Promise<void> {
  const { live } = await target.read(() => findBuilds(name))
  if (live) ofKind(live, kind)
}

/** Begins a build, unless there is one of that role, or a later one. Returns whether it was begun. */
export function* beginBuild(
  build: Pick<Build, 'name' | 'generation' | 'version' | 'role'> &
    Partial<Pick<Build, 'kind' | 'checkpoint'>>,
): TargetSteps<boolean> {
  const { name, generation, version, role, kind = 'projection', checkpoint } = build
  const rows = yield* ask(
    `INSERT INTO PROJECTIONS
        (name, generation, version, role, state, applied, rebuilding, lease_until, kind, store, position, event_id)
      SELECT $1, CAST($2 AS INTEGER), CAST($3 AS INTEGER), $4, 'running', 0, 0, 0, $5, $6, $7, $8
      WHERE NOT EXISTS (SELECT 1 FROM PROJECTIONS WHERE name = $1 AND (role = $4 OR generation >= $2))
      ON CONFLICT DO NOTHING RETURNING name`,
    ...[name, generation, version, role, kind],
    ...[checkpoint?.store ?? null, checkpoint?.position ?? null, checkpoint?.id ?? null],
  )
  // The last retired build is kept until now, so that its generation is not used again.
  yield* ask(
    "DELETE FROM PROJECTIONS WHERE name = $1 AND role = 'retired' AND generation < $2",
    ...[name, generation],
  )
  return rows.length > 0
}

/**
 * Locks a build whose checkpoint is where it was read: until the transaction ends, it is neither reset nor replaced.
 * Returns a row if so. The lock is shared: it spares a late worker its work, and {@link advance} is the fence.
 */
export function pinOf({ name, generation, version, role, checkpoint }: Build): TargetQuery {
  return {
    sql: `SELECT name FROM PROJECTIONS WHERE name = $1 AND generation = $2 AND version = $3 AND role = $4
      AND position IS NOT DISTINCT FROM $5 AND event_id IS NOT DISTINCT FROM $6 PINNED`,
    values: [name, generation, version, role, checkpoint?.position ?? null, checkpoint?.id ?? null],
  }
}

/** Locks the live build, wherever its checkpoint is. Returns whether it is still the live one. */
export function* pinLive({ name, generation }: Build): TargetSteps<boolean> {
  const rows = yield* ask(
    "SELECT name FROM PROJECTIONS WHERE name = $1 AND generation = $2 AND role = 'live' PINNED",
    ...[name, generation],
  )
  return rows.length > 0
}

/** Counts an event that was handled out of order, after it had been set aside. */
export function* countHandled({ name, generation }: Build): TargetSteps<void> {
  const rows = yield* ask(
    'UPDATE PROJECTIONS SET applied = applied + 1 WHERE name = $1 AND generation = $2 AND STANDS RETURNING name',
    ...[name, generation],
  )
  if (rows.length === 0) throw transactionEnded()
}

/**
 * The fence: moves a build's checkpoint, if it is still where it was read. What handlers wrote in the same transaction
 * counts only if this does.
 */
export function* advance(
  { name, generation, version, role, checkpoint }: Build,
  to: Checkpoint,
  { count, owner, lease }: { readonly count: number; readonly owner: string; readonly lease: number },
): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET store = $1, position = $2, event_id = $3, applied = applied + $4,
        state = 'running', failure = NULL,
        lease_until = CASE WHEN owner = $5 THEN NOW + $6 ELSE lease_until END
      WHERE name = $7 AND generation = $8 AND version = $9 AND role = $10
        AND position IS NOT DISTINCT FROM $11 AND event_id IS NOT DISTINCT FROM $12 AND STANDS RETURNING name`,
    ...[to.store, to.position, to.id, count, owner, lease, name, generation, version, role],
    ...[checkpoint?.position ?? null, checkpoint?.id ?? null],
  )
  if (rows.length > 0) return true
  const [row] = yield* ask('SELECT STANDS AS stands')
  // The transaction was ended before this: what was written is committed, or lost, without the checkpoint.
  if (row?.stands !== true && row?.stands !== 1) throw transactionEnded()
  return false
}

/**
 * A lease ends at a time of its owner's clock, which may be wrong, or may have been set back since: one that ends later
 * than its own length from now was not taken by this clock, and is worth nothing.
 */
const IS_EXPIRED = '(lease_until <= NOW OR lease_until - lease_ms > NOW)'

/** Takes or renews the lease of a build. It only saves double work: {@link advance} is the fence. */
export function* takeLease(build: Build, owner: string, lease: number): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET owner = $1, lease_until = NOW + $2, lease_ms = $2
      WHERE name = $3 AND generation = $4 AND (owner = $1 OR ${IS_EXPIRED}) RETURNING name`,
    ...[owner, lease, build.name, build.generation],
  )
  return rows.length > 0
}

/** Takes the lease of the live build from its worker, for a while. */
export function* holdBackLive(name: string, owner: string, milliseconds: number): TargetSteps<void> {
  yield* ask(
    "UPDATE PROJECTIONS SET owner = $1, lease_until = NOW + $2, lease_ms = $2 WHERE name = $3 AND role = 'live'",
    ...[owner, milliseconds, name],
  )
}

/** Gives a lease back. */
export function* giveLease(build: Build, owner: string): TargetSteps<void> {
  yield* ask(
    'UPDATE PROJECTIONS SET owner = NULL, lease_until = 0 WHERE name = $1 AND generation = $2 AND owner = $3',
    ...[build.name, build.generation, owner],
  )
}

/** Stores why a build is retried or blocked, if its checkpoint has not moved and no other worker has the lease. */
export function* noteFailure(
  { name, generation, checkpoint }: Build,
  owner: string,
  { state, failure }: { readonly state: 'retrying' | 'blocked'; readonly failure: Failure },
): TargetSteps<void> {
  yield* ask(
    `UPDATE PROJECTIONS SET state = $1, failure = $2
      WHERE name = $3 AND generation = $4 AND position IS NOT DISTINCT FROM $5 AND owner = $6`,
    ...[state, JSON.stringify(failure), name, generation, checkpoint?.position ?? null, owner],
  )
}

/** Unblocks a projection. Returns whether it was blocked. */
export function* clearBlock(name: string): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET state = 'running', failure = NULL WHERE name = $1 AND state = 'blocked' RETURNING name`,
    name,
  )
  return rows.length > 0
}

/**
 * Moves the live build back to the start, under a new generation: this waits for a worker in a batch, and later batches
 * of the old generation are refused.
 */
export function* restart(
  { name, generation }: Build,
  to: { generation: number; version: number },
): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET generation = $1, version = $2, store = NULL, position = NULL, event_id = NULL,
        state = 'running', failure = NULL, applied = 0, rebuilding = 1
      WHERE name = $3 AND generation = $4 RETURNING name`,
    ...[to.generation, to.version, name, generation],
  )
  return rows.length > 0
}

/** Gives the live build another version, at its checkpoint. Batches of workers of the former version are refused. */
export function* adoptVersion({ name, generation, version }: Build, to: number): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET version = $1
      WHERE name = $2 AND generation = $3 AND role = 'live' AND version = $4 RETURNING name`,
    ...[to, name, generation, version],
  )
  return rows.length > 0
}

/** The build has caught up: a rebuild in place, or a retry, is over. */
export function* settleDown({ name, generation }: Build): TargetSteps<void> {
  yield* ask(
    `UPDATE PROJECTIONS SET rebuilding = 0, state = 'running', failure = NULL
      WHERE name = $1 AND generation = $2 AND state <> 'blocked'`,
    ...[name, generation],
  )
}

/**
 * Ends a build: this waits for a worker in a batch, and later batches are refused. Returns its last position, or nothing
 * if the build had ended before.
 */
export function* retire({
  name,
  generation,
  role,
}: Build): TargetSteps<{ position: string | undefined } | undefined> {
  yield* ask('SELECT name FROM PROJECTIONS WHERE name = $1 AND generation = $2 CLAIMED', name, generation)
  const [row] = yield* ask(
    `UPDATE PROJECTIONS SET role = 'retired', owner = NULL WHERE name = $1 AND generation = $2 AND role = $3
      RETURNING position`,
    ...[name, generation, role],
  )
  return row && { position: (row.position as string | null) ?? undefined }
}

/** Makes a build the live one, if its checkpoint has not moved. */
export function* promote({ name, generation, checkpoint }: Build): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET role = 'live', rebuilding = 0 WHERE name = $1 AND generation = $2 AND role = 'building'
      AND position IS NOT DISTINCT FROM $3 RETURNING name`,
    ...[name, generation, checkpoint?.position ?? null],
  )
  return rows.length > 0
}

/** A build after a batch. */
export function movedTo(build: Build, checkpoint: Checkpoint, count: number): Build {
  return { ...build, checkpoint, applied: build.applied + count, state: 'running', failure: undefined }
}

/** A place of a store as a checkpoint. */
export function checkpointAt(store: string, { position, id }: LogPlace): Checkpoint {
  return { store, position, id }
}

const COLUMNS = `generation, version, role, store, position, event_id, state, failure, applied, rebuilding, owner,
  kind, plan, step, CASE WHEN ${IS_EXPIRED} THEN 0 ELSE lease_until - NOW END AS lease_left`

function buildOf(name: string, row: TargetRow): Build {
  const text = (column: string) => (row[column] as string | null) ?? undefined
  const [store, position, id] = ['store', 'position', 'event_id'].map(text)
  const isSomewhere = store !== undefined && position !== undefined && id !== undefined
  const failure = text('failure')
  return {
    kind: row.kind as FollowerKind,
    name,
    generation: Number(row.generation),
    version: Number(row.version),
    role: row.role as Role,
    checkpoint: isSomewhere ? { store, position, id } : undefined,
    state: row.state as Build['state'],
    failure: failure === undefined ? undefined : (JSON.parse(failure) as Failure),
    applied: Number(row.applied),
    isRebuilding: Number(row.rebuilding) === 1,
    owner: text('owner'),
    leaseLeft: Number(row.lease_left),
    plan: text('plan'),
    step: Number(row.step),
  }
}
