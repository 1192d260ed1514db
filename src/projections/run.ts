import { checkOptions, checkWhole } from '../base/arguments.ts'
import { checkFunction } from '../base/functions.ts'
import { coreOf } from '../store/create-store.ts'
import { InvalidArgumentError, isTransient, ProjectionVersionError } from '../base/errors.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Failure } from './builds.ts'
import { checkPolicy, type Definition, type NewVersionPolicy } from './define.ts'
import { definedProjection, type DefinedProjection, LEASE_MS, type Projection } from './projection.ts'
import { beginBeside, continueLive, ensureLive, finishBeside, restartLive } from './rebuild.ts'
import { projecting } from './projecting.ts'
import { type CommonTask, Running } from './running.ts'
import { prepareTarget } from './schema.ts'
import type { ProjectionStatus } from './status.ts'
import { Worker } from './worker.ts'

/** Options of `runProjections`. */
export interface RunOptions {
  /**
   * What to do with a read model of an earlier version, unless its projection has an `onNewVersion` of its own:
   * `'refuse'` throws; `'rebuild'` builds it anew, beside the live one if the projection names its `tables`, and otherwise
   * in place; `'continue'` goes on from its checkpoint. A projection that cannot be rebuilt does not start: `onFailure` is
   * called and `caughtUp` rejects, and the others start. Default: `'refuse'`.
   */
  readonly onNewVersion?: NewVersionPolicy | undefined
  /**
   * Milliseconds after which another process takes over from a silent one; on PostgreSQL also how long a transaction may
   * be idle. Default: 10,000 ms.
   */
  readonly lease?: number | undefined
  /**
   * Called with each failure, also with those that are retried; and once with why a projection is blocked, if an earlier
   * run or another process blocked it. Log it.
   */
  readonly onFailure?: ((failure: Failure, projection: Projection) => void) | undefined
}

/** Running projections. Made by `runProjections`. */
export interface RunningProjections {
  /**
   * Resolves when every event that is stored now has been handled, by this process or another one, in the version that this
   * program defines: a rebuild has then replaced the earlier version. Waits as long as it takes, also for a database that cannot be reached, unless a `timeout` is given, in milliseconds.
   *
   * @throws NotCaughtUpError after the timeout; ProjectionBlockedError, also if a rebuild is blocked; the error that ended one of
   *   the projections; StoreClosedError after `stop`, or if it is called meanwhile.
   */
  caughtUp(options?: { readonly timeout?: number | undefined }): Promise<void>
  /** The status of each of them. */
  status(): Promise<readonly ProjectionStatus[]>
  /** Ends the work after the current batches, and gives the leases back. Closing the store does so, too. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Runs projections: catches up, then handles each event as it is appended. Call it in as many processes as you like: one
 * worker runs each projection; the others stand by.
 *
 * Resolves when all of them have been started. Nothing is thrown afterwards: a failure is retried, or blocks the
 * projection, which its `status` shows; `onFailure` is called with each.
 *
 * @throws ProjectionVersionError if a read model has another version, and `onNewVersion` does not say to change it;
 *   OpenError, StoreUnavailableError and so on if the target cannot be reached; an `Error` that names the
 *   projection if its `setup` fails: its `cause` is what was thrown.
 * @example
 * ```ts
 * const running = await runProjections(store, [doors])
 * await running.caughtUp()
 * await running.stop()
 * ```
 */
export async function runProjections(
  store: EventStore,
  projections: readonly Projection[],
  options: RunOptions = {},
): Promise<RunningProjections> {
  const {
    onNewVersion = 'refuse',
    lease = LEASE_MS,
    onFailure = () => undefined,
  } = checkOptions(options, 'options', ['onNewVersion', 'lease', 'onFailure'])
  checkPolicy(onNewVersion, 'options.onNewVersion')
  checkWhole(lease, 'options.lease', 100)
  checkFunction(onFailure, 'options.onFailure')
  const core = coreOf(store)
  const defined = checkProjections(projections)
  const begun: Begun[] = []
  for (const projection of defined) begun.push(await begin(projection, lease, onNewVersion))
  const refused = begun.find(({ error }) => error !== undefined)
  if (refused && begun.every(({ error }) => error !== undefined)) throw refused.error as Error
  const all = begun.map((each) => ({
    progress: each.projection.progress,
    work: (task: CommonTask) => work(each, task),
    failed: (failure: Failure): unknown => onFailure(failure, each.projection),
  }))
  const running = new Running(store, all, { core, lease })
  const stop = () => running.stop()
  return {
    caughtUp: (given) => running.caughtUp(given),
    status: () => Promise.all(defined.map((projection) => projection.status(store))),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** A projection whose tables exist, and the generation of the build that will replace them, if any. */
interface Begun {
  readonly projection: DefinedProjection
  readonly rebuild?: number | undefined
  /** Why it does not start, if so. */
  readonly error?: unknown
}

/** Works on a projection: first on the build that will replace the live one, if any. */
async function work({ projection: { definition }, rebuild, error }: Begun, task: CommonTask): Promise<void> {
  if (error !== undefined) throw error as Error
  if (rebuild !== undefined) await finishBeside(definition, { ...task, generation: rebuild })
  const worker = new Worker({
    ...task,
    definition,
    handle: (holder) => projecting(definition, holder),
    choose: ({ live }) => live,
    caughtUp: () => Promise.resolve(true),
  })
  await worker.run()
}

/**
 * Creates what a projection needs in its target, and begins a new version of it as its policy says.
 *
 * @throws ProjectionVersionError if the read model has another version and the run refuses it.
 */
async function begin(
  projection: DefinedProjection,
  lease: number,
  runPolicy: NewVersionPolicy,
): Promise<Begun> {
  const { definition } = projection
  await prepareTarget(definition.target)
  const { version: built } = await ensureLive(definition, lease)
  if (built === definition.version) return { projection }
  try {
    const rebuild = await beginVersion(definition, lease, {
      built,
      policy: definition.onNewVersion ?? runPolicy,
    })
    return { projection, rebuild }
  } catch (error) {
    // Only the default of the whole run keeps all of them from starting.
    const isRunRefused = definition.onNewVersion === undefined && runPolicy === 'refuse'
    if (isRunRefused || isTransient(error)) throw error
    return { projection, error }
  }
}

/**
 * @returns the generation of the build that will replace the live one; `undefined` if none will.
 * @throws ProjectionVersionError, UnsupportedError; what `setup` or `reset` throws.
 */
async function beginVersion(
  definition: Definition,
  lease: number,
  { built, policy }: { readonly built: number; readonly policy: NewVersionPolicy },
): Promise<number | undefined> {
  const { name, version, tables } = definition
  const at = { projection: name, defined: version, built }
  if (built > version) throw new ProjectionVersionError(at, 'run the newer program, or raise the version')
  if (policy === 'refuse') {
    const advice = `await its rebuild(store), or run it with { onNewVersion: 'rebuild' }`
    throw new ProjectionVersionError(at, advice)
  }
  if (policy === 'rebuild' && tables.length > 0) return beginBeside(definition, lease)
  if (policy === 'rebuild') await restartLive(definition, lease, built)
  else await continueLive(definition, lease, built)
  return undefined
}

function checkProjections(projections: readonly Projection[]): readonly DefinedProjection[] {
  const expected = 'a list of projections that defineProjection made'
  if (!Array.isArray(projections)) throw new InvalidArgumentError('projections', expected)
  const names = new Map<string, object>()
  return (projections as readonly Projection[]).map((projection, i) => {
    const argument = `projections[${String(i)}]`
    const defined = definedProjection(projection)
    if (!defined) throw new InvalidArgumentError(argument, 'made by defineProjection')
    const { name, target } = defined.definition
    if (names.get(name) === target)
      throw new InvalidArgumentError(argument, 'of another name than those before')
    names.set(name, target)
    return defined
  })
}
