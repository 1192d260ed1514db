import { InvalidArgumentError } from '../base/errors.ts'
import { checkText } from '../model/names.ts'
import { ask, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'
import type { Position } from '../base/revision.ts'
import { type Build, clearBlock, type Failure, findBuilds, type FollowerKind } from './builds.ts'
import { NextLook } from './next-look.ts'
import { countParked, findParked, type ParkedEvent } from './parked.ts'
import { LEASE_MS } from './projection.ts'
import { prepareTarget, versionOf } from './schema.ts'
import { stateOf, type ProjectionStatus } from './status.ts'

/** A projection as a database holds it, whether or not this program defines it. */
export interface StoredProjection extends StoredBuild {
  readonly name: string
  readonly kind: FollowerKind
  /** How many events were set aside. */
  readonly parked: number
  /** The build that will replace it, if one is under way. */
  readonly rebuild: StoredBuild | undefined
}

/** A build of a read model, as a database holds it. */
export interface StoredBuild {
  readonly version: number
  readonly state: ProjectionStatus['state']
  /** The identity of the store whose events it handles; `undefined`: it has handled none yet. */
  readonly store: string | undefined
  readonly position: Position | undefined
  /** How many events were handled in all. */
  readonly handled: number
  /** Why it is retried, or blocked. */
  readonly failure: Failure | undefined
}

/**
 * Lists the projections, reactions and relays that a database holds, by name, for a person on duty: those of every program,
 * also of one that is not deployed any more. If there are none, nothing is created.
 *
 * @throws InvalidArgumentError if it is no target; OpenError, StoreUnavailableError and so on.
 * @example
 * ```ts
 * for (const { name, state, failure } of await projectionsIn(readModels)) console.log(name, state, failure?.message)
 * ```
 */
export async function projectionsIn(target: ProjectionTarget<unknown>): Promise<readonly StoredProjection[]> {
  return (await hasTables(target)) ? target.read(list) : []
}

/**
 * The events that a projection, a reaction or a relay of any program has set aside, in the order of the store.
 *
 * @throws as {@link projectionsIn}
 */
export async function parkedIn(
  target: ProjectionTarget<unknown>,
  name: string,
): Promise<readonly ParkedEvent[]> {
  checkText(name, 'name', 'the name of a projection')
  return (await hasTables(target)) ? target.read(() => findParked(name)) : []
}

/**
 * Lets a projection, a reaction or a relay of any program try again, if it is blocked. Resolves with whether it was.
 *
 * @throws as {@link projectionsIn}
 */
export async function unblockIn(target: ProjectionTarget<unknown>, name: string): Promise<boolean> {
  checkText(name, 'name', 'the name of a projection')
  if (!(await hasTables(target))) return false
  const wasBlocked = await target.transaction(() => clearBlock(name), LEASE_MS)
  NextLook.isChanged(name)
  return wasBlocked
}

/**
 * Whether a database holds anything of projections, in tables of this program's version.
 *
 * @throws InvalidArgumentError if it is no target; OpenError.
 */
export async function hasTables(target: ProjectionTarget<unknown>): Promise<boolean> {
  if (typeof (target as Partial<typeof target> | undefined)?.read !== 'function') {
    throw new InvalidArgumentError('target', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  if ((await target.read(() => versionOf(target))) === 0) return false
  // Tables of an earlier version are brought up to date, as by any program that uses them.
  await prepareTarget(target)
  return true
}

function* list(): TargetSteps<StoredProjection[]> {
  const rows = yield* ask("SELECT name FROM PROJECTIONS WHERE role = 'live' ORDER BY name")
  const found: StoredProjection[] = []
  for (const row of rows) {
    const name = row.name as string
    const { live, building } = yield* findBuilds(name)
    if (!live) continue
    const parked = yield* countParked(live)
    found.push({ name, kind: live.kind, ...storedOf(live), parked, rebuild: building && storedOf(building) })
  }
  return found
}

function storedOf(build: Build): StoredBuild {
  const { version, checkpoint, applied, failure } = build
  return {
    version,
    state: stateOf(build),
    store: checkpoint?.store,
    position: checkpoint?.position,
    handled: applied,
    failure,
  }
}
