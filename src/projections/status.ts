import type { StoreCore } from '../store/lifecycle.ts'
import type { Position } from '../base/revision.ts'
import type { Checkpoint } from '../store/event-store.ts'
import { type Build, type Failure, findBuilds } from './builds.ts'
import type { Definition } from './define.ts'
import { countParked } from './failures.ts'

/** Where a projection stands. */
export interface ProjectionStatus {
  readonly name: string
  /** The version in which its read model is built; `undefined`: it was never run. */
  readonly version: number | undefined
  /**
   * `'running'`: a worker has it; `'stopped'`: none has; `'rebuilding'`: it was reset, and has not caught up since;
   * `'retrying'`: a handler or a database failed and is tried again; `'blocked'`: it does not go on until it is unblocked.
   */
  readonly state: 'running' | 'stopped' | 'rebuilding' | 'retrying' | 'blocked'
  /** Up to which position all was handled; `undefined`: none was. */
  readonly position: Position | undefined
  readonly lag: Lag
  /** How many events were handled in all. */
  readonly handled: number
  /** Why it is tried again, or blocked. */
  readonly failure: Failure | undefined
  /** How many events were set aside. */
  readonly parked: number
  /** What is being built to take its place. */
  readonly rebuild: RebuildStatus | undefined
}

/** How far behind a projection is. */
export interface Lag {
  /** How many events are still to be handled, up to 10,000. */
  readonly events: number
  /** Whether there are more than that. */
  readonly isMore: boolean
  /** How long the first of them has waited, in seconds; 0 where there is none. */
  readonly seconds: number
}

/** How a rebuild goes on. */
export interface RebuildStatus {
  readonly version: number
  readonly state: ProjectionStatus['state']
  readonly position: Position | undefined
  /** How many events were handled; that of the live one says how many it will be, about. */
  readonly handled: number
  readonly lag: Lag
  readonly failure: Failure | undefined
}

/** Where a projection stands in the history of a store. */
export async function statusOf(definition: Definition, core: StoreCore): Promise<ProjectionStatus> {
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

function stateOf({ state, owner, leaseLeft, isRebuilding }: Build): ProjectionStatus['state'] {
  if (state === 'blocked') return state
  if (owner === undefined || leaseLeft <= 0) return 'stopped'
  if (state === 'retrying') return state
  return isRebuilding ? 'rebuilding' : 'running'
}

/** Counts what is still to be handled: stores know no other way that is the same for all of them. */
async function lagOf({ selection }: Definition, core: StoreCore, build: Build | undefined): Promise<Lag> {
  const { filter, typeOf } = selection
  // Of another store, or of one that was restored: all of it is still to be handled, if anything.
  const after =
    build?.checkpoint && (await isOf(core, build.checkpoint)) ? build.checkpoint.position : undefined
  const pages = core.readAllForUser({ ...filter, direction: 'forwards', after, limit: MOST + 1 })
  let events = 0
  let first: string | undefined
  for await (const page of pages) {
    for (const event of page) {
      if (typeOf(event) === undefined) continue
      first ??= event.time
      events++
    }
  }
  const seconds = first === undefined ? 0 : Math.max(0, (Date.now() - Date.parse(first)) / 1_000)
  return { events: Math.min(events, MOST), isMore: events > MOST, seconds }
}

async function isOf(core: StoreCore, { store, position, id }: Checkpoint): Promise<boolean> {
  return store === (await core.identity()) && id === (await core.idAt(position))
}

const MOST = 10_000
