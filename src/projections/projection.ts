import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import { StoreClosedError } from '../base/errors.ts'
import { endingWith } from '../base/abort.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import { checkText } from '../model/names.ts'
import type { Position } from '../base/revision.ts'
import type { EventStore } from '../store/event-store.ts'
import { type Build, checkKind, clearBlock, type Failure } from './builds.ts'
import { checkDefinition, type Definition, type ProjectionDefinition } from './define.ts'
import {
  discardParked,
  findParked,
  parkBlocked,
  type ParkedEvent,
  type Retried,
  retryParked,
} from './parked.ts'
import { NextLook } from './next-look.ts'
import { beginBeside, ensureLive, finishBeside, restartLive } from './rebuild.ts'
import { Progress } from './progress.ts'
import { prepareTarget } from './schema.ts'
import type { Source } from './sources.ts'
import { type ProjectionStatus, statusOf } from './status.ts'

/** A read model that is built from events. Made by `defineProjection`, run by `runProjections`. */
export interface Projection {
  readonly name: string
  readonly version: number

  /**
   * Resolves when every event up to a position has been handled, by this process or another one: use it to read what you
   * have just written. Without a position, it resolves at once. During a rebuild it means the read model that users see,
   * which is that of the earlier version: `caughtUp` of the running projections waits for the new one.
   *
   * @throws NotCaughtUpError after `timeout` milliseconds (default: 5,000). Until then, it also waits for a database that
   *   cannot be reached.
   * @throws ProjectionBlockedError if the projection is blocked.
   * @throws InvalidArgumentError if the projection's store cannot have given this position.
   * @example
   * ```ts
   * const { position } = await store.append({ stream: Door('front'), events: [Door.events.Opened()] })
   * await doors.caughtUpTo(position, { timeout: 1_000 })
   * ```
   */
  caughtUpTo(position: Position | undefined, options?: CaughtUpOptions): Promise<void>

  /** Its state, its position in the history of a store, and its lag. */
  status(store: EventStore): Promise<ProjectionStatus>

  /** Lets a blocked projection try again. Resolves with whether it was blocked. */
  unblock(): Promise<boolean>

  /** The events that were set aside, in the order of the store. */
  parked(): Promise<readonly ParkedEvent[]>

  /**
   * Sets the event aside on which the projection is blocked, and lets it go on behind it, whatever its `onError` says.
   * Resolves with whether it was blocked on an event.
   *
   * @throws InvalidArgumentError if the store does not have that event.
   */
  parkAndGoOn(store: EventStore): Promise<boolean>

  /**
   * Handles the events that were set aside once more, each in a transaction of its own; those that fail again stay.
   *
   * @param id of the one event to handle. Default: all of them.
   */
  retryParked(id?: string): Promise<Retried>

  /** Gives an event that was set aside up for good. Resolves with whether it was set aside. */
  discard(id: string): Promise<boolean>

  /**
   * Deletes what it has written and starts over, in place: until it has caught up, readers see a part.
   *
   * @throws UnsupportedError if it has neither `tables` nor `reset`.
   */
  reset(): Promise<void>

  /**
   * Rebuilds it. With `tables`, it is built beside the live one, and replaces it in one transaction when it has caught
   * up; resolves then. It continues where an earlier attempt was interrupted; other processes may run it, too. Without
   * `tables` it is `reset`, and the process that runs the projection builds it.
   *
   * @throws UnsupportedError if it has neither `tables` nor `reset`.
   * @throws StoreClosedError if the store was closed meanwhile.
   * @throws ProjectionBlockedError if a handler fails: `unblock` it and call `rebuild` again to continue.
   * @throws ProjectionVersionError if it was given up meanwhile, because another version is being built.
   */
  rebuild(store: EventStore, options?: RebuildOptions): Promise<void>
}

/** Options of `caughtUpTo`. */
export interface CaughtUpOptions {
  /** Default: 5,000 ms. */
  readonly timeout?: number | undefined
  /** Ends the wait, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `rebuild`. */
export interface RebuildOptions {
  /** Interrupts the rebuild: the next attempt continues from there. */
  readonly signal?: AbortSignal | undefined
  /** Called after each batch with the number of events handled so far, and the approximate total. */
  readonly onProgress?: ((handled: number, of: number) => void) | undefined
  /** Called with each failure that is retried. */
  readonly onFailure?: ((failure: Failure) => void) | undefined
}

/**
 * Defines a read model: tables in a database, and a handler for each type of event that writes them. What handlers write
 * is committed together with the checkpoint, so each event counts exactly once, whatever fails.
 *
 * @throws InvalidArgumentError if the definition is wrong.
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
  // At run time, handlers are looked up by the event's type; the static types of each are checked above.
  return new DefinedProjection(
    checkDefinition(definition as unknown as ProjectionDefinition<readonly Source[], unknown, string>),
  )
}

/** The implementation of a projection; `undefined` if `defineProjection` did not make it. */
export function definedProjection(projection: Projection): DefinedProjection | undefined {
  return projection instanceof DefinedProjection ? projection : undefined
}

export class DefinedProjection implements Projection {
  readonly definition: Definition
  /** How far it has come, in whichever process it is run. */
  readonly progress: Progress

  constructor(definition: Definition) {
    this.definition = definition
    this.progress = new Progress(definition)
  }

  get name(): string {
    return this.definition.name
  }

  get version(): number {
    return this.definition.version
  }

  async caughtUpTo(position: Position | undefined, options: CaughtUpOptions = {}): Promise<void> {
    const { timeout = 5_000 } = checkOptions(options, 'options', ['timeout', 'signal'])
    const signal = checkSignal(options.signal)
    checkWhole(timeout, 'options.timeout', 0)
    if (position !== undefined) await this.progress.reach(position, { timeout, signal, isOfAnyVersion: true })
  }

  async status(store: EventStore): Promise<ProjectionStatus> {
    await this.#target()
    return statusOf(this.definition, coreOf(store))
  }

  async unblock(): Promise<boolean> {
    const target = await this.#target()
    const wasBlocked = await target.transaction(() => clearBlock(this.name), LEASE_MS)
    NextLook.isChanged(this.name)
    return wasBlocked
  }

  async parked(): Promise<readonly ParkedEvent[]> {
    const target = await this.#target()
    return target.read(() => findParked(this.name))
  }

  async parkAndGoOn(store: EventStore): Promise<boolean> {
    const core = coreOf(store)
    await this.#target()
    const wasBlocked = await parkBlocked(this.definition, core, LEASE_MS)
    NextLook.isChanged(this.name)
    return wasBlocked
  }

  async retryParked(id?: string): Promise<Retried> {
    if (id !== undefined) checkText(id, 'id', 'the id of an event')
    await this.#target()
    return retryParked(this.definition, LEASE_MS, id)
  }

  async discard(id: string): Promise<boolean> {
    checkText(id, 'id', 'the id of an event')
    const target = await this.#target()
    return target.transaction(() => discardParked(this.name, id), LEASE_MS)
  }

  async reset(): Promise<void> {
    await this.#target()
    await restartLive(this.definition, LEASE_MS)
  }

  async rebuild(store: EventStore, options: RebuildOptions = {}): Promise<void> {
    checkOptions(options, 'options', ['signal', 'onProgress', 'onFailure'])
    const { onProgress, onFailure } = options
    const core = coreOf(store)
    this.progress.core = core
    await this.#target()
    const live = await ensureLive(this.definition, LEASE_MS)
    if (this.definition.tables.length === 0) {
      await restartLive(this.definition, LEASE_MS)
      return
    }
    const signal = checkSignal(options.signal)
    const moved = ({ applied }: Build) => onProgress?.(applied, Math.max(applied, live.applied))
    const failed = onFailure ?? (() => undefined)
    const generation = await beginBeside(this.definition, LEASE_MS)
    const { ending, stop } = endingWith(signal)
    const began = () => undefined
    const task = { core, lease: LEASE_MS, signal: ending.signal, isAwaited: true, moved, failed, began }
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

  /** @throws InvalidArgumentError if its name is that of a reaction or a relay. */
  async #target(): Promise<ProjectionTarget<unknown>> {
    const { target, kind } = this.definition
    await prepareTarget(target)
    await checkKind(target, this.name, kind)
    return target
  }
}

/** The default lease: other workers take over from one that has been silent for that long. */
export const LEASE_MS = 10_000
