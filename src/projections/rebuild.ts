import { UnsupportedError } from '../errors.ts'
import { ask, settle, type Steps } from '../projection-target.ts'
import type { StoreCore } from '../store-core.ts'
import { contextOf, Overtaken } from './batch.ts'
import { beginBuild, findBuilds, promote, restart, retire, type Build, type Failure } from './build.ts'
import type { Definition } from './definition.ts'
import { dropParked } from './parked.ts'
import { Worker } from './worker.ts'

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
export interface RebuildTask {
  readonly core: StoreCore
  readonly lease: number
  readonly signal: AbortSignal
  readonly failed: (failure: Failure) => void
  readonly moved: (build: Build) => void
}

/**
 * Builds a projection anew beside the live one, and puts it in its place when it has caught up; goes on where an
 * earlier attempt was interrupted. Resolves when that is done, by whichever process, or when it was stopped.
 *
 * @throws UnsupportedError where the projection does not name its tables.
 */
export async function rebuildBeside(definition: Definition, task: RebuildTask): Promise<void> {
  const { name, version, target, tables } = definition
  if (tables.length === 0) throw new UnsupportedError(`projection '${name}' does not name its tables`)
  const begun = await target.transaction((tx) => begin(definition, tx), task.lease)
  const worker = new Worker({
    ...task,
    definition,
    choose: ({ building }) =>
      building?.generation === begun && building.version === version ? building : undefined,
    caughtUp: async (build) => !(await replaceLive(definition, build, task.lease)),
  })
  await worker.run()
}

/** The generation of the build that is to become the live one, begun unless it was. */
function* begin(definition: Definition, tx: unknown): Steps<number> {
  const { name, version, setup } = definition
  const { building, next } = yield* findBuilds(name)
  if (building?.version === version) return building.generation
  if (building) {
    yield* retire(building)
    yield* dropTables(definition, building)
    yield* dropParked(building)
  }
  const build = { name, version, generation: next, role: 'building' } as const
  if (!(yield* beginBuild(build))) throw new Overtaken()
  yield* settle(setup?.(tx, contextOf(definition, build)))
  return next
}

/** Puts a build in the place of the live one, unless that has come further meanwhile. Returns whether it is there now. */
function replaceLive(definition: Definition, build: Build, lease: number): Promise<boolean> {
  const { name, target } = definition
  return target.transaction(function* () {
    if (target.dialect === 'postgres')
      yield* ask(`SELECT set_config('lock_timeout', '${String(LOCKED)}', true)`)
    const { live } = yield* findBuilds(name)
    // First the tables, then the row, as whoever handles events does: otherwise each might wait for the other.
    yield* dropTables(definition, { role: 'live', generation: 0 })
    if (live) {
      // From here on the live build stands still: whoever is at work on it waits, and then notices.
      const retired = yield* retire(live)
      const hasComeFurther = (build.checkpoint?.position ?? '') < (retired?.position ?? '')
      if (!retired || hasComeFurther) throw new Overtaken()
      yield* dropParked(live)
    }
    for (const [table, built] of Object.entries(contextOf(definition, build).tables)) {
      yield* ask(`ALTER TABLE ${quoted(built)} RENAME TO ${quoted(table.split('.').at(-1)!)}`)
    }
    if (!(yield* promote(build))) throw new Overtaken()
    return true
  }, lease)
}

/**
 * Puts the live build back to the start, and empties what it has written.
 *
 * @throws UnsupportedError where the projection has neither `reset` nor `tables`.
 */
export async function restartLive(definition: Definition, lease: number): Promise<void> {
  const { name, version, target, reset, setup, tables } = definition
  if (!reset && tables.length === 0) {
    throw new UnsupportedError(
      `projection '${name}' has neither 'tables' nor 'reset', so what it wrote cannot be undone`,
    )
  }
  await target.transaction(function* (tx) {
    const { live, next } = yield* findBuilds(name)
    if (!live) return
    if (!(yield* restart(live, { generation: next, version }))) throw new Overtaken()
    yield* dropParked(live)
    const context = contextOf(definition, live)
    if (reset) yield* settle(reset(tx, context))
    else {
      yield* dropTables(definition, live)
      yield* settle(setup?.(tx, context))
    }
  }, lease)
}

function* dropTables(definition: Definition, build: Pick<Build, 'role' | 'generation'>): Steps<void> {
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
