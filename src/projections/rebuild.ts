import { ProjectionVersionError, UnsupportedError } from '../base/errors.ts'
import { ask, settle, type TargetSteps } from '../adapter/projection-target.ts'
import { contextOf, LostRace } from './batch.ts'
import { beginBuild, type Build, findBuilds, promote, restart, retire } from './builds.ts'
import type { Definition } from './define.ts'
import { dropParked } from './failures.ts'
import { type Task, Worker } from './worker.ts'

/** Makes a projection's first build, unless there is one. What `setup` throws, it throws. */
export async function ensureLive(definition: Definition, lease: number): Promise<Build> {
  const { name, version, target, setup } = definition
  for (;;) {
    const { live, next } = await target.read(() => findBuilds(name))
    if (live) return live
    const first = { name, version, generation: next, role: 'live' } as const
    await target.transaction(function* (tx) {
      if (yield* beginBuild(first)) yield* settle(setup?.(tx, contextOf(definition, first)))
    }, lease)
  }
}

/** How a rebuild goes on. */
export interface RebuildTask extends Omit<Task, 'definition' | 'choose' | 'caughtUp'> {
  /** The generation of the build that is to become the live one. */
  readonly generation: number
}

/**
 * Begins to build a projection anew beside the live one, unless that was begun before; what is being built in another
 * version is given up.
 *
 * @returns the generation of the build.
 * @throws UnsupportedError where the projection does not name its tables; what `setup` throws.
 */
export function beginBeside(definition: Definition, lease: number): Promise<number> {
  const { name, target, tables } = definition
  if (tables.length === 0) throw new UnsupportedError(`projection '${name}' does not name its tables`)
  return untilFirst(() => target.transaction((tx) => begin(definition, tx), lease))
}

/**
 * Builds what was begun, and puts it in the place of the live one when it has caught up; goes on where an earlier
 * attempt was interrupted. Resolves when that is done, by whichever process, or when it was stopped.
 *
 * @throws ProjectionVersionError where it was given up for another version.
 */
export async function finishBeside(
  definition: Definition,
  { generation, ...task }: RebuildTask,
): Promise<void> {
  const { name, version, target } = definition
  const worker = new Worker({
    ...task,
    definition,
    choose: ({ building }) => (building?.generation === generation ? building : undefined),
    caughtUp: async (build) => !(await replaceLive(definition, build, task.lease)),
  })
  await worker.run()
  if (task.signal.aborted) return
  const { live, building } = await target.read(() => findBuilds(name))
  if (live?.version === version && live.generation >= generation) return
  const built = building?.version ?? live?.version ?? version
  throw new ProjectionVersionError(
    { projection: name, defined: version, built },
    'it was given up for that one',
  )
}

/** The generation of the build that is to become the live one, begun unless it was. */
function* begin(definition: Definition, tx: unknown): TargetSteps<number> {
  const { name, version, setup } = definition
  const { building, next } = yield* findBuilds(name)
  if (building?.version === version) return building.generation
  if (building) {
    if (!(yield* retire(building))) throw new LostRace()
    yield* dropTables(definition, building)
    yield* dropParked(building)
  }
  const build = { name, version, generation: next, role: 'building' } as const
  if (!(yield* beginBuild(build))) throw new LostRace()
  yield* settle(setup?.(tx, contextOf(definition, build)))
  return next
}

/** Puts a build in the place of the live one, unless that has come further. Returns whether it is there now. */
async function replaceLive(definition: Definition, build: Build, lease: number): Promise<boolean> {
  const { name, target } = definition
  try {
    await target.transaction(function* () {
      const { live } = yield* findBuilds(name)
      if (live) {
        // From here on the live build stands still.
        const retired = yield* retire(live)
        if (!retired) throw new LostRace()
        if ((build.checkpoint?.position ?? '') < (retired.position ?? '')) throw new Behind()
        yield* dropParked(live)
      }
      if (target.dialect === 'postgres') {
        yield* ask(`SELECT set_config('lock_timeout', '${String(LOCKED)}', true)`)
      }
      yield* dropTables(definition, { role: 'live', generation: 0 })
      for (const [table, built] of Object.entries(contextOf(definition, build).tables)) {
        yield* ask(`ALTER TABLE ${quoted(built)} RENAME TO ${quoted(table.split('.').at(-1)!)}`)
      }
      if (!(yield* promote(build))) throw new LostRace()
    }, lease)
    return true
  } catch (error) {
    // What the live one has had is about to come.
    if (error instanceof Behind) return false
    throw error
  }
}

/** The live build has come further. */
class Behind extends Error {}

/**
 * Puts the live build back to the start, and empties what it has written.
 *
 * @param from the version that it is to be built in at present; `undefined`: whichever.
 * @throws UnsupportedError where the projection has neither `reset` nor `tables`.
 */
export async function restartLive(definition: Definition, lease: number, from?: number): Promise<void> {
  const { name, version, target, reset, setup, tables } = definition
  if (!reset && tables.length === 0) {
    throw new UnsupportedError(
      `projection '${name}' has neither 'tables' nor 'reset', so what it wrote cannot be undone`,
    )
  }
  await untilFirst(() =>
    target.transaction(function* (tx) {
      const { live, next } = yield* findBuilds(name)
      if (!live || (from !== undefined && live.version !== from)) return
      if (!(yield* restart(live, { generation: next, version }))) throw new LostRace()
      yield* dropParked(live)
      const context = contextOf(definition, live)
      if (reset) yield* settle(reset(tx, context))
      else {
        yield* dropTables(definition, live)
        yield* settle(setup?.(tx, context))
      }
    }, lease),
  )
}

/** Tries again where another was faster: then there is less to do, or nothing. */
async function untilFirst<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof LostRace)) throw error
    }
  }
}

function* dropTables(definition: Definition, build: Pick<Build, 'role' | 'generation'>): TargetSteps<void> {
  for (const table of Object.values(contextOf(definition, build).tables)) {
    yield* ask(`DROP TABLE IF EXISTS ${quoted(table)}`)
  }
}

function quoted(table: string): string {
  return table
    .split('.')
    .map((part) => `"${part}"`)
    .join('.')
}

/** Milliseconds to wait for those who read the tables that are replaced, while others wait behind. */
const LOCKED = 2_000
