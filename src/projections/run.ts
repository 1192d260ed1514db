import { checkOptions, checkWhole } from '../base/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import { InvalidArgumentError, ProjectionVersionError } from '../base/errors.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { EventStore } from '../store/event-store.ts'
import type { Failure } from './builds.ts'
import { failureOf } from './failures.ts'
import { definedProjection, type DefinedProjection, LEASE, type Projection } from './projection.ts'
import { beginBeside, ensureLive, finishBeside, restartLive } from './rebuild.ts'
import { prepareTarget } from './schema.ts'
import type { ProjectionStatus } from './status.ts'
import { Worker } from './worker.ts'

/** Options of `runProjections`. */
export interface RunOptions {
  /**
   * What to do with a projection that was built in an earlier version: `'refuse'`, where left out, throws;
   * `'rebuild'` builds it anew, beside the live one where it names its `tables`, and else in place.
   */
  readonly onNewVersion?: 'refuse' | 'rebuild' | undefined
  /**
   * Milliseconds after which another process takes over from one that is not heard of; on PostgreSQL also how long a
   * transaction may do nothing. 10,000.
   */
  readonly lease?: number | undefined
  /**
   * Called with whatever goes wrong, each time: also where it is tried again; and with why a projection is blocked,
   * where an earlier run or another process left it so. Log it.
   */
  readonly onFailure?: ((failure: Failure, projection: Projection) => void) | undefined
}

/** Projections at work. */
export interface RunningProjections {
  /**
   * Waits until all that is there now has been handled, by whichever process: for as long as it takes, where no
   * `timeout` (in milliseconds) is given.
   *
   * @throws NotCaughtUpError; ProjectionBlockedError; what ended the work on one of them.
   */
  caughtUp(options?: { readonly timeout?: number | undefined }): Promise<void>
  /** Where each of them stands. */
  status(): Promise<readonly ProjectionStatus[]>
  /** Ends the work, after the batches at hand, and gives the leases back. Closing the store does it, too. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Runs projections: catches up, then handles each event as it comes. In how many processes it is called makes no
 * difference: of each projection one of them works, and the others stand by.
 *
 * Resolves when all have been begun. Afterwards nothing is thrown: what goes wrong is tried again, or blocks the
 * projection where its `status` says so, and `onFailure` is told.
 *
 * @throws ProjectionVersionError where a read model is built in another version, which is not for this program to
 *   change. OpenError, StoreUnavailableError and so on where the target cannot be had; what a `setup` throws.
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
    lease = LEASE,
    onFailure = () => undefined,
  } = checkOptions(options, 'options', ['onNewVersion', 'lease', 'onFailure'])
  if (!['refuse', 'rebuild'].includes(onNewVersion)) {
    throw new InvalidArgumentError('options.onNewVersion', "'refuse' or 'rebuild'")
  }
  checkWhole(lease, 'options.lease', 100)
  const core = coreOf(store)
  const defined = checkProjections(projections)
  const begun: Begun[] = []
  for (const projection of defined) {
    begun.push({ projection, rebuild: await begin(projection, lease, onNewVersion) })
  }
  return new Running(store, begun, { core, lease, onFailure })
}

interface Settings {
  readonly core: StoreCore
  readonly lease: number
  readonly onFailure: (failure: Failure, projection: Projection) => void
}

/** A projection whose tables are there, and the generation of the build that is to take their place, if any. */
interface Begun {
  readonly projection: DefinedProjection
  readonly rebuild: number | undefined
}

class Running implements RunningProjections {
  readonly #store: EventStore
  readonly #projections: readonly DefinedProjection[]
  readonly #ending = new AbortController()
  /** Aborted, with the reason, where the work on a projection has ended for good. */
  readonly #ended: ReadonlyMap<DefinedProjection, AbortController>
  readonly #over: Promise<unknown>
  readonly #forget: () => void

  constructor(store: EventStore, begun: readonly Begun[], settings: Settings) {
    this.#store = store
    this.#projections = begun.map(({ projection }) => projection)
    this.#ended = new Map(this.#projections.map((projection) => [projection, new AbortController()]))
    this.#forget = settings.core.atClose(() => this.stop())
    this.#over = Promise.all(begun.map((each) => this.#run(each, settings)))
  }

  async caughtUp(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { timeout = Number.MAX_SAFE_INTEGER } = checkOptions(options, 'options', ['timeout'])
    const head = await this.#store.logHead()
    const waiting = this.#projections.map((projection) =>
      projection.caughtUpTo(head, { timeout, signal: this.#ended.get(projection)!.signal }),
    )
    await Promise.all(waiting)
  }

  status(): Promise<readonly ProjectionStatus[]> {
    return Promise.all(this.#projections.map((projection) => projection.status(this.#store)))
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    this.#forget()
    await this.#over
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #run({ projection, rebuild }: Begun, { core, lease, onFailure }: Settings): Promise<void> {
    const { definition } = projection
    const failed = (failure: Failure) => {
      try {
        onFailure(failure, projection)
      } catch {
        // It is for telling: what goes wrong there is not to end the work.
      }
    }
    const moved = () => {
      projection.moved()
    }
    const task = { core, lease, signal: this.#ending.signal, isAwaited: false, failed, moved }
    try {
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
      failed(failureOf(error, 1))
    }
  }
}

/**
 * Makes what a projection needs in its target.
 *
 * @returns the generation of the build that is to take the place of the live one; `undefined` where there is none.
 * @throws ProjectionVersionError where that is not for this program to do.
 */
async function begin(
  { definition }: DefinedProjection,
  lease: number,
  onNewVersion: 'refuse' | 'rebuild',
): Promise<number | undefined> {
  await prepareTarget(definition.target)
  const { name, version } = definition
  const { version: built } = await ensureLive(definition, lease)
  if (built === version) return undefined
  const at = { projection: name, defined: version, built }
  if (built > version) throw new ProjectionVersionError(at, 'run the newer program, or raise the version')
  if (onNewVersion === 'refuse') {
    const advice = `await its rebuild(store), or run it with { onNewVersion: 'rebuild' }`
    throw new ProjectionVersionError(at, advice)
  }
  if (definition.tables.length > 0) return beginBeside(definition, lease)
  await restartLive(definition, lease, built)
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
