import type { StoreCore } from '../store/lifecycle.ts'
import type { Position } from '../base/revision.ts'
import type { Checkpoint } from '../store/event-store.ts'
import { type Build, type Failure, findBuilds } from './builds.ts'
import type { Followed } from './handling.ts'
import { countParked } from './parked.ts'
import { environment } from '../base/environment.ts'

/** Where a projection stands. */
export interface ProjectionStatus {
  readonly name: string
  /** The version of its read model; `undefined`: it was never run. */
  readonly version: number | undefined
  /**
   * `'running'`: a worker has its lease; `'stopped'`: no worker has; `'rebuilding'`: it was reset, and has not caught up
   * since; `'retrying'`: a handler or a database failed and is retried; `'blocked'`: it waits for `unblock`.
   */
  readonly state: 'running' | 'stopped' | 'rebuilding' | 'retrying' | 'blocked'
  /** All events up to this position were handled; `undefined`: none yet. */
  readonly position: Position | undefined
  readonly lag: Lag
  /** How many events were handled in all. */
  readonly handled: number
  /** Why it is retried, or blocked. */
  readonly failure: Failure | undefined
  /** How many events were set aside. */
  readonly parked: number
  /** The build that will replace it, if one is under way. */
  readonly rebuild: RebuildStatus | undefined
}

/** How far behind a projection is. */
export interface Lag {
  /** How many events remain to be handled, up to 10,000. */
  readonly events: number
  /** Whether there are more than 10,000. */
  readonly isMore: boolean
  /** How long the first of them has waited, in seconds; 0 if none remains. */
  readonly seconds: number
}

/** The progress of a rebuild. */
export interface RebuildStatus {
  readonly version: number
  readonly state: ProjectionStatus['state']
  readonly position: Position | undefined
  /** How many events were handled; `handled` of the live one says about how many it will be. */
  readonly handled: number
  readonly lag: Lag
  readonly failure: Failure | undefined
}

/** Where a projection stands in the history of a store. */
export async function statusOf(definition: Followed, core: StoreCore): Promise<ProjectionStatus> {
  const { name, target } = definition
  const { live, building, parked } = await target.read(function* () {
    const builds = yield* findBuilds(name)
    return { ...builds, parked: builds.live ? yield* countParked(builds.live) : 0 }
  })
  return {
    name,
    version: live?.version,
    state: live ? stateOf(live) : 'stopped',
    position: live?.checkpoint?.position,
    lag: await lagOf(definition, core, live),
    handled: live?.applied ?? 0,
    failure: live?.failure,
    parked,
    rebuild: building && {
      version: building.version,
      state: stateOf(building),
      position: building.checkpoint?.position,
      handled: building.applied,
      lag: await lagOf(definition, core, building),
      failure: building.failure,
    },
  }
}

/** What a build is doing. */
export function stateOf({ state, owner, leaseLeft, isRebuilding }: Build): ProjectionStatus['state'] {
  if (state === 'blocked') return state
  if (owner === undefined || leaseLeft <= 0) return 'stopped'
  if (state === 'retrying') return state
  return isRebuilding ? 'rebuilding' : 'running'
}

/** Counts the remaining events by reading them: the only way that every store offers. */
async function lagOf({ selection }: Followed, core: StoreCore, build: Build | undefined): Promise<Lag> {
  const { filter, typeOf } = selection
  // With a checkpoint of another store, or of one that was restored, every event remains.
  const after =
    build?.checkpoint && (await isOf(core, build.checkpoint)) ? build.checkpoint.position : undefined
  const pages = core.readAllForUser({
    ...filter,
    direction: 'forwards',
    after,
    to: undefined,
    limit: MAX_COUNTED_EVENTS + 1,
  })
  let events = 0
  let first: string | undefined
  for await (const page of pages) {
    for (const event of page) {
      if (typeOf(event) === undefined) continue
      first ??= event.time
      events++
    }
  }
  const seconds = first === undefined ? 0 : Math.max(0, (environment.date() - Date.parse(first)) / 1_000)
  return { events: Math.min(events, MAX_COUNTED_EVENTS), isMore: events > MAX_COUNTED_EVENTS, seconds }
}

async function isOf(core: StoreCore, { store, position, id }: Checkpoint): Promise<boolean> {
  return store === (await core.identity()) && id === (await core.idAt(position))
}

const MAX_COUNTED_EVENTS = 10_000
