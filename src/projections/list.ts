import { InvalidArgumentError } from '../base/errors.ts'
import { ask, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'
import type { Position } from '../base/revision.ts'
import { type Build, type Failure, findBuilds, type FollowerKind } from './builds.ts'
import { countParked } from './parked.ts'
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
  if (typeof (target as Partial<typeof target> | undefined)?.read !== 'function') {
    throw new InvalidArgumentError('target', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  if ((await target.read(() => versionOf(target))) === 0) return []
  // Tables of an earlier version are brought up to date, as by any program that uses them.
  await prepareTarget(target)
  return target.read(list)
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
