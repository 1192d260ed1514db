import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import { NotCaughtUpError, ProjectionBlockedError, StoreClosedError } from '../base/errors.ts'
import { pause } from '../adapter/subscription-hub.ts'
import { endingWith } from '../base/abort.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { Position } from '../base/revision.ts'
import type { EventStore } from '../store/event-store.ts'
import { type Build, clearBlock, type Failure, findBuilds } from './builds.ts'
import { checkDefinition, type Definition, type ProjectionDefinition } from './define.ts'
import { findParked, type ParkedEvent, type Retried, retryParked } from './failures.ts'
import { beginBeside, ensureLive, finishBeside, restartLive } from './rebuild.ts'
import { prepareTarget } from './schema.ts'
import type { Source } from './sources.ts'
import { type ProjectionStatus, statusOf } from './status.ts'

/** A read model that follows from events. Made by `defineProjection`, run by `runProjections`. */
export interface Projection {
  readonly name: string
  readonly version: number

  /**
   * Waits until everything up to a position has been handled, by whichever process: to read what one has just written.
   * Without a position, at once.
   *
   * @throws NotCaughtUpError after `timeout` milliseconds (5,000).
   * @throws ProjectionBlockedError where it does not go on.
   * @example
   * ```ts
   * const { position } = await store.append({ stream: Door('front'), events: [Door.events.Opened()] })
   * await doors.caughtUpTo(position, { timeout: 1_000 })
   * ```
   */
  caughtUpTo(position: Position | undefined, options?: CaughtUpOptions): Promise<void>

  /** Where it stands in the history of a store. */
  status(store: EventStore): Promise<ProjectionStatus>

  /** Lets it try again, where it is blocked. Whether it was. */
  unblock(): Promise<boolean>

  /** The events that were set aside, in the order of the store. */
  parked(): Promise<readonly ParkedEvent[]>

  /** Handles again what was set aside, each event in a transaction of its own; what fails stays. */
  retryParked(): Promise<Retried>

  /**
   * Empties what it has written and begins anew, in place: until it has caught up, readers see what there is so far.
   *
   * @throws UnsupportedError where it has neither `tables` nor `reset`.
   */
  reset(): Promise<void>

  /**
   * Builds it anew. With `tables`, beside the live one, which is replaced in one transaction when the new one has
   * caught up; resolves then. It goes on where an earlier attempt was interrupted; other processes may run it, too.
   * Without `tables` it is `reset`, and whoever runs the projection builds it.
   *
   * @throws UnsupportedError where it has neither `tables` nor `reset`.
   * @throws StoreClosedError where that ended it.
   * @throws ProjectionBlockedError where a handler fails: `unblock` it, and rebuild again, to go on.
   * @throws ProjectionVersionError where it was given up meanwhile, because another version is being built.
   */
  rebuild(store: EventStore, options?: RebuildOptions): Promise<void>
}

/** Options of `caughtUpTo`. */
export interface CaughtUpOptions {
  /** Milliseconds. 5,000. */
  readonly timeout?: number | undefined
  /** Gives up. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `rebuild`. */
export interface RebuildOptions {
  /** Interrupts it: what is built stays, and the next attempt goes on there. */
  readonly signal?: AbortSignal | undefined
  /** Called after each batch with the number of events handled so far, and about how many it will be. */
  readonly onProgress?: ((handled: number, of: number) => void) | undefined
  /** Called with everything that goes wrong and is tried again. */
  readonly onFailure?: ((failure: Failure) => void) | undefined
}

/**
 * Defines a read model: what is to be done on each event, in a database. What handlers write is committed together
 * with how far the projection has come, so each event counts exactly once, whatever happens in between.
 *
 * @throws InvalidArgumentError where the definition is wrong.
 * @example
 * ```ts
 * const doors = defineProjection({
 *   name: 'doors',
 *   into: sqliteTarget('house.db'),
 *   from: [Door],
 *   tables: ['doors'],
 *   setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.doors} (door TEXT PRIMARY KEY, closed INT)`),
 *   on: {
 *     'Door.Closed': (event, db, { tables }) => {
 *       db.prepare(`INSERT OR REPLACE INTO ${tables.doors} VALUES (?, 1)`).run(event.stream)
 *     },
 *   },
 * })
 * ```
 */
export function defineProjection<
  const Sources extends readonly Source[],
  Tx,
  const Tables extends string = never,
>(definition: ProjectionDefinition<Sources, Tx, Tables>): Projection {
  // What the types say of each event, the runtime looks up by its type.
  return new DefinedProjection(
    checkDefinition(definition as unknown as ProjectionDefinition<readonly Source[], unknown, string>),
  )
}

/** What is behind a projection; `undefined` where `defineProjection` did not make it. */
export function definedProjection(projection: Projection): DefinedProjection | undefined {
  return projection instanceof DefinedProjection ? projection : undefined
}

export class DefinedProjection implements Projection {
  readonly definition: Definition
  readonly #waiting = new Set<() => void>()

  constructor(definition: Definition) {
    this.definition = definition
  }

  get name(): string {
    return this.definition.name
  }

  get version(): number {
    return this.definition.version
  }

  /** In this process, its checkpoint has moved. */
  moved(): void {
    for (const wake of this.#waiting) wake()
  }

  async caughtUpTo(position: Position | undefined, options: CaughtUpOptions = {}): Promise<void> {
    const { timeout = 5_000 } = checkOptions(options, 'options', ['timeout', 'signal'])
    const signal = checkSignal(options.signal)
    checkWhole(timeout, 'options.timeout', 0)
    if (position === undefined) return
    const target = await this.#target()
    const started = performance.now()
    for (let wait = SHORTEST; ; wait = Math.min(wait * 2, LONGEST)) {
      signal?.throwIfAborted()
      const moved = this.#nextMove(wait)
      const { live } = await target.read(() => findBuilds(this.name))
      if (live?.checkpoint && live.checkpoint.position >= position) return
      if (live?.state === 'blocked') {
        throw new ProjectionBlockedError(this.name, live.failure?.message ?? 'unknown')
      }
      const waited = performance.now() - started
      if (waited >= timeout) throw new NotCaughtUpError(this.name, waited)
      await moved
    }
  }

  async status(store: EventStore): Promise<ProjectionStatus> {
    await this.#target()
    return statusOf(this.definition, coreOf(store))
  }

  async unblock(): Promise<boolean> {
    const target = await this.#target()
    return target.transaction(() => clearBlock(this.name), LEASE)
  }

  async parked(): Promise<readonly ParkedEvent[]> {
    const target = await this.#target()
    return target.read(() => findParked(this.name))
  }

  async retryParked(): Promise<Retried> {
    await this.#target()
    return retryParked(this.definition, LEASE)
  }

  async reset(): Promise<void> {
    await this.#target()
    await restartLive(this.definition, LEASE)
  }

  async rebuild(store: EventStore, options: RebuildOptions = {}): Promise<void> {
    checkOptions(options, 'options', ['signal', 'onProgress', 'onFailure'])
    const { onProgress, onFailure } = options
    const core = coreOf(store)
    await this.#target()
    const live = await ensureLive(this.definition, LEASE)
    if (this.definition.tables.length === 0) {
      await restartLive(this.definition, LEASE)
      return
    }
    const signal = checkSignal(options.signal)
    const moved = ({ applied }: Build) => onProgress?.(applied, Math.max(applied, live.applied))
    const failed = onFailure ?? (() => undefined)
    const generation = await beginBeside(this.definition, LEASE)
    const { ending, stop } = endingWith(signal)
    const task = { core, lease: LEASE, signal: ending.signal, isAwaited: true, moved, failed }
    const done = finishBeside(this.definition, { ...task, generation })
    const forget = core.atClose(() => {
      ending.abort()
      return done.catch(() => undefined)
    })
    try {
      await done
    } finally {
      forget()
      stop()
    }
    signal?.throwIfAborted()
    if (ending.signal.aborted) throw new StoreClosedError()
  }

  async #target(): Promise<ProjectionTarget<unknown>> {
    await prepareTarget(this.definition.target)
    return this.definition.target
  }

  /** Resolves when the checkpoint moves in this process, or after so many milliseconds. */
  async #nextMove(milliseconds: number): Promise<void> {
    const ending = new AbortController()
    const wake = () => {
      ending.abort()
    }
    this.#waiting.add(wake)
    await pause(milliseconds, ending.signal)
    this.#waiting.delete(wake)
  }
}

/** Milliseconds between two looks at the target, for what other processes do. */
const SHORTEST = 5
const LONGEST = 50
/** Milliseconds for which a worker that is not heard of keeps others from working. */
export const LEASE = 10_000
