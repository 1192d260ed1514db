import { environment } from '../base/environment.ts'
import { isMnemeError, ProjectionVersionError, StoreFailedError, UnsupportedError } from '../base/errors.ts'
import {
  ask,
  causesOf,
  HandlerMisuse,
  HandlerTimeoutError,
  settle,
  type TargetSteps,
} from '../adapter/projection-target.ts'
import { contextOf, LostRace, withDeadline } from './batch.ts'
import type { Deadline } from './deadline.ts'
import {
  adoptVersion,
  beginBuild,
  type Build,
  findBuilds,
  holdBackLive,
  ofKind,
  promote,
  restart,
  retire,
} from './builds.ts'
import type { Definition } from './define.ts'
import { NextLook } from './next-look.ts'
import { dropParked } from './parked.ts'
import { projecting } from './projecting.ts'
import { type Task, Worker } from './worker.ts'

/** Makes a projection's first build, unless there is one. @throws what `setup` throws. */
export async function ensureLive(definition: Definition, lease: number): Promise<Build> {
  const { name, version, target } = definition
  for (;;) {
    const { live, next } = await target.read(() => findBuilds(name))
    if (live) return ofKind(live, definition.kind)
    const first = { name, version, generation: next, role: 'live' } as const
    const create = function* (tx: unknown, _: unknown, deadline: Deadline): TargetSteps<void> {
      if (!(yield* beginBuild(first))) return
      yield* callOwn(definition, 'setup', { tx, build: first, deadline })
    }
    await withDeadline(definition, create, lease)
  }
}

/**
 * Calls the projection's own `setup` or `reset`.
 *
 * @throws an error that names the projection, whose cause is what the function threw; Mneme's own errors as they are.
 */
function* callOwn(
  definition: Definition,
  which: 'setup' | 'reset',
  {
    tx,
    build,
    deadline,
  }: {
    readonly tx: unknown
    readonly build: Pick<Build, 'role' | 'generation'>
    readonly deadline: Deadline
  },
): TargetSteps<void> {
  const what = `'${which}' of projection '${definition.name}'`
  try {
    yield* settle(definition[which]?.(tx, contextOf(definition, build)), deadline, what)
  } catch (error) {
    if (error instanceof HandlerMisuse) throw error.of(what)
    if (isMnemeError(error) || error instanceof HandlerTimeoutError) throw error
    const said = error instanceof Error ? error.message : String(error)
    throw new Error(`${what} failed: ${said}`, { cause: error })
  }
}

/** What a worker is told that builds the next live build. */
export interface RebuildTask extends Omit<Task, 'definition' | 'choose' | 'caughtUp' | 'handle'> {
  /** The generation of the build that will become the live one. */
  readonly generation: number
}

/**
 * Begins a build of this version beside the live one, unless that was begun before; a build of another version is given
 * up.
 *
 * @returns the generation of the build.
 * @throws UnsupportedError if the projection does not name its tables; what `setup` throws.
 */
export function beginBeside(definition: Definition, lease: number): Promise<number> {
  const { name, tables } = definition
  if (tables.length === 0) throw new UnsupportedError(`projection '${name}' does not name its tables`)
  return untilFirst(() =>
    withDeadline(definition, (tx, _, deadline) => begin(definition, tx, deadline), lease),
  )
}

/**
 * Works on a build that was begun, and replaces the live one with it once it has caught up; continues where an earlier
 * attempt was interrupted. Resolves when this process or another one has done so, or when it was stopped.
 *
 * @throws ProjectionVersionError if the build was given up for another version.
 */
export async function finishBeside(
  definition: Definition,
  { generation, ...task }: RebuildTask,
): Promise<void> {
  const { name, version, target } = definition
  const owner = environment.uuid()
  const worker = new Worker({
    ...task,
    definition,
    handle: (holder) => projecting(definition, holder),
    choose: ({ building }) => (building?.generation === generation ? building : undefined),
    caughtUp: async (build) => {
      if (await replaceLive(definition, build, task.lease)) return false
      // Beside a busy writer the live build may always be a little ahead: its worker rests until this one has caught up.
      await target.transaction(() => holdBackLive(name, owner, HOLD_BACK_MS), task.lease)
      NextLook.isChanged(name)
      return true
    },
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

/** The generation of the build that will become the live one; begins that build if need be. */
function* begin(definition: Definition, tx: unknown, deadline: Deadline): TargetSteps<number> {
  const { name, version } = definition
  const { building, next } = yield* findBuilds(name)
  if (building?.version === version) return building.generation
  if (building) yield* giveUp(definition, building)
  const build = { name, version, generation: next, role: 'building' } as const
  if (!(yield* beginBuild(build))) throw new LostRace()
  yield* callOwn(definition, 'setup', { tx, build, deadline })
  return next
}

function* giveUp(definition: Definition, building: Build): TargetSteps<void> {
  if (!(yield* retire(building))) throw new LostRace()
  yield* dropTables(definition, building)
  yield* dropParked(building)
}

/** Continues the live build of an earlier version as one of this version, from its checkpoint. */
export async function continueLive(definition: Definition, lease: number, from: number): Promise<void> {
  const { name, version, target } = definition
  await untilFirst(() =>
    target.transaction(function* () {
      const { live, building } = yield* findBuilds(name)
      if (live?.version !== from) return
      if (!(yield* adoptVersion(live, version))) throw new LostRace()
      if (building) yield* giveUp(definition, building)
    }, lease),
  )
  NextLook.isChanged(name)
}

/** Replaces the live build, unless that one has handled more. Returns whether it was replaced. */
async function replaceLive(definition: Definition, build: Build, lease: number): Promise<boolean> {
  const { name, target } = definition
  try {
    await target.transaction(function* (tx) {
      const { live } = yield* findBuilds(name)
      if (live) {
        // From here on, the live build does not move.
        const retired = yield* retire(live)
        if (!retired) throw new LostRace()
        if ((build.checkpoint?.position ?? '') < (retired.position ?? '')) throw new Behind()
        yield* dropParked(live)
      }
      yield* ask(BEFORE_SWAP[target.dialect])
      yield* dropTables(definition, { role: 'live', generation: 0 })
      for (const [table, built] of Object.entries(contextOf(definition, build).tables)) {
        yield* ask(`ALTER TABLE ${quoted(built)} RENAME TO ${quoted(table.split('.').at(-1)!)}`)
      }
      if (target.dialect === 'sqlite') {
        yield* renameWithin(tx as SqliteTx, contextOf(definition, build).tables)
        yield* ask(AFTER_SQLITE_SWAP)
      }
      if (!(yield* promote(build))) throw new LostRace()
    }, lease)
    NextLook.isChanged(name)
    return true
  } catch (error) {
    if (target.dialect === 'sqlite') await target.read(() => ask(AFTER_SQLITE_SWAP)).catch(() => undefined)
    // The events that the live build has handled already come next.
    if (error instanceof Behind) return false
    throw explained(error, name)
  }
}

/** What is needed of SQLite's handle to run a statement as it stands. */
interface SqliteTx {
  exec(sql: string): unknown
}

/** SQLite then renames a table, but not where triggers and views name it: those that `setup` made are made again. */
function* renameWithin(tx: SqliteTx, tables: Readonly<Record<string, string>>): TargetSteps<void> {
  const rows = yield* ask("SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view')")
  for (const row of rows) {
    const { type, name, sql } = row as { readonly type: string; readonly name: string; readonly sql: string }
    let renamed = sql
    for (const [table, built] of Object.entries(tables)) {
      renamed = renamed.replace(new RegExp(`\\b${built}\\b`, 'g'), table)
    }
    if (renamed === sql) continue
    tx.exec(`DROP ${type} "${name.replaceAll('"', '""')}"`)
    tx.exec(renamed)
  }
}

/** An error of a database that keeps a table because something depends on it, with what to do. Others stay as they are. */
function explained(error: unknown, name: string): unknown {
  const refusal = [...causesOf(error)].find(isOfDependents)
  if (refusal === undefined) return error
  const { message } = refusal as Error
  return new StoreFailedError(
    `the tables of projection '${name}' cannot be dropped, because something depends on them (${message}): ` +
      'drop that, and create it again after the rebuild',
    { cause: refusal },
  )
}

function isOfDependents(error: unknown): boolean {
  const { code, errcode } = error as { readonly code?: unknown; readonly errcode?: unknown }
  return code === '2BP01' || code === 'SQLITE_CONSTRAINT_FOREIGNKEY' || errcode === SQLITE_FOREIGN_KEY
}

const SQLITE_FOREIGN_KEY = 787

/** How long the worker of the live build rests, so that the new one can replace it; readers see no later events meanwhile. */
const HOLD_BACK_MS = 2_000

/** The live build has handled events that this one has not. */
class Behind extends Error {}

/**
 * Moves the live build back to the start, and deletes what it has written.
 *
 * @param from does nothing if the live build has another version than this; `undefined`: any version.
 * @throws UnsupportedError if the projection has neither `reset` nor `tables`.
 */
export async function restartLive(definition: Definition, lease: number, from?: number): Promise<void> {
  const { name, version, reset, tables } = definition
  if (!reset && tables.length === 0) {
    throw new UnsupportedError(
      `projection '${name}' has neither 'tables' nor 'reset', so what it wrote cannot be undone`,
    )
  }
  await untilFirst(() => withDeadline(definition, restartIn, lease)).catch((error: unknown) => {
    throw explained(error, name)
  })
  NextLook.isChanged(name)
  function* restartIn(tx: unknown, _: unknown, deadline: Deadline): TargetSteps<void> {
    const { live, next } = yield* findBuilds(name)
    if (!live || (from !== undefined && live.version !== from)) return
    if (!(yield* restart(live, { generation: next, version }))) throw new LostRace()
    yield* dropParked(live)
    if (reset) yield* callOwn(definition, 'reset', { tx, build: live, deadline })
    else {
      yield* dropTables(definition, live)
      yield* callOwn(definition, 'setup', { tx, build: live, deadline })
    }
  }
}

/** Tries again if another worker was faster: there is less to do then, or nothing. */
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

/** How long to wait for transactions that use the replaced tables, while new ones queue up behind. */
const LOCK_TIMEOUT_MS = 2_000
/** SQLite would refuse to rename a table while a view on the dropped one stands, although the view fits afterwards. */
const BEFORE_SWAP = {
  postgres: `SELECT set_config('lock_timeout', '${String(LOCK_TIMEOUT_MS)}', true)`,
  sqlite: 'PRAGMA legacy_alter_table = ON',
}
/** The setting is the connection's, not the transaction's. */
const AFTER_SQLITE_SWAP = 'PRAGMA legacy_alter_table = OFF'
