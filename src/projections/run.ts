import { checkOptions, checkWhole } from '../base/arguments.ts'
import { MAX_TIMER_MS, pause, systemClock } from '../base/clock.ts'
import type { Position } from '../base/revision.ts'
import { retryDelays, retryUntilReached } from '../base/retry.ts'
import { coreOf } from '../store/create-store.ts'
import {
  InvalidArgumentError,
  isTransient,
  ProjectionVersionError,
  StoreClosedError,
} from '../base/errors.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Failure } from './builds.ts'
import { checkPolicy, type Definition, type NewVersionPolicy } from './define.ts'
import { failures } from './diagnostics.ts'
import { failureOf } from './failures.ts'
import { definedProjection, type DefinedProjection, LEASE_MS, type Projection } from './projection.ts'
import { beginBeside, continueLive, ensureLive, finishBeside, restartLive } from './rebuild.ts'
import { prepareTarget } from './schema.ts'
import type { ProjectionStatus } from './status.ts'
import { RETRY, Worker } from './worker.ts'
import { environment } from '../base/environment.ts'

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
  const core = coreOf(store)
  const defined = checkProjections(projections)
  const begun: Begun[] = []
  for (const projection of defined) begun.push(await begin(projection, lease, onNewVersion))
  const refused = begun.find(({ error }) => error !== undefined)
  if (refused && begun.every(({ error }) => error !== undefined)) throw refused.error as Error
  return new Running(store, begun, { core, lease, onFailure })
}

interface Settings {
  readonly core: StoreCore
  readonly lease: number
  readonly onFailure: (failure: Failure, projection: Projection) => void
}

/** A projection whose tables exist, and the generation of the build that will replace them, if any. */
interface Begun {
  readonly projection: DefinedProjection
  readonly rebuild?: number | undefined
  /** Why it does not start, if so. */
  readonly error?: unknown
}

class Running implements RunningProjections {
  readonly #store: EventStore
  readonly #projections: readonly DefinedProjection[]
  readonly #ending = new AbortController()
  /** Aborted when a worker of this process has the lease of a projection, or knows who has it. */
  readonly #begun: ReadonlyMap<DefinedProjection, AbortController>
  /** Aborted, with the error as its reason, when the work on a projection has ended for good. */
  readonly #ended: ReadonlyMap<DefinedProjection, AbortController>
  readonly #over: Promise<unknown>
  readonly #forget: () => void

  constructor(store: EventStore, begun: readonly Begun[], settings: Settings) {
    this.#store = store
    this.#projections = begun.map(({ projection }) => projection)
    for (const projection of this.#projections) projection.core = settings.core
    this.#begun = new Map(this.#projections.map((projection) => [projection, new AbortController()]))
    this.#ended = new Map(this.#projections.map((projection) => [projection, new AbortController()]))
    this.#forget = settings.core.atClose(() => this.stop())
    this.#over = Promise.all(begun.map((each) => this.#run(each, settings)))
  }

  async caughtUp(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { timeout = Number.MAX_SAFE_INTEGER } = checkOptions(options, 'options', ['timeout'])
    checkWhole(timeout, 'options.timeout', 0)
    this.#ended.forEach(({ signal }) => {
      signal.throwIfAborted()
    })
    const head = await this.#head(timeout)
    const waiting = this.#projections.map(async (projection) => {
      const { signal } = this.#ended.get(projection)!
      const started = environment.now()
      // Even if nothing remains to be handled: `status` then says that a worker has the lease.
      await pause(systemClock, Math.min(timeout, MAX_TIMER_MS), this.#begun.get(projection)!.signal)
      signal.throwIfAborted()
      const left = Math.max(0, Math.floor(timeout - (environment.now() - started)))
      await projection.builtUpTo(head, { timeout: left, signal })
    })
    await Promise.all(waiting)
  }

  /** The end of the log now. Waits for a store that cannot be reached. */
  async #head(timeout: number): Promise<Position | undefined> {
    const started = environment.now()
    const failed = (error: unknown) => {
      if (this.#ending.signal.aborted || environment.now() - started >= timeout) throw error
    }
    return retryUntilReached(() => this.#store.logHead(), { failed, delays: retryDelays(RETRY) })
  }

  status(): Promise<readonly ProjectionStatus[]> {
    return Promise.all(this.#projections.map((projection) => projection.status(this.#store)))
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    for (const ended of this.#ended.values()) ended.abort(stopped())
    this.#forget()
    await this.#over
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #run(
    { projection, rebuild, error: refusal }: Begun,
    { core, lease, onFailure }: Settings,
  ): Promise<void> {
    const { definition } = projection
    const failed = (failure: Failure) => {
      try {
        onFailure(failure, projection)
      } catch {
        // A listener that fails must not end the work.
      }
    }
    const moved = () => {
      projection.moved()
    }
    const began = () => {
      this.#begun.get(projection)!.abort()
    }
    const task = { core, lease, signal: this.#ending.signal, isAwaited: false, failed, moved, began }
    try {
      if (refusal !== undefined) throw refusal as Error
      if (rebuild !== undefined) await finishBeside(definition, { ...task, generation: rebuild })
      const worker = new Worker({
        ...task,
        definition,
        choose: ({ live }) => live,
        caughtUp: () => Promise.resolve(true),
      })
      await worker.run()
    } catch (error) {
      this.#ended.get(projection)!.abort(error)
      const failure = failureOf(error, 1)
      failures.publish(() => ({ projection: definition.name, failure, outcome: 'ended' }))
      failed(failure)
    } finally {
      // The end of the work, or another process, decides how long `caughtUp` waits.
      began()
    }
  }
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

function stopped(): StoreClosedError {
  return new StoreClosedError(
    'these projections were stopped: wait for them before stop(), or call runProjections again',
  )
}
