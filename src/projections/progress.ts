import { pause, systemClock } from '../base/clock.ts'
import { environment } from '../base/environment.ts'
import {
  InvalidArgumentError,
  isTransient,
  NotCaughtUpError,
  ProjectionBlockedError,
} from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { type Build, findBuilds, type FollowerKind } from './builds.ts'
import { isHistoryCode } from './failures.ts'
import type { Followed } from './handling.ts'
import { prepareTarget } from './schema.ts'

/** How `reach` waits. */
export interface Reaching {
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  /** Whether a read model of an earlier version counts, too. */
  readonly isOfAnyVersion: boolean
}

/** A call of `reach` that waits for its position; without one, for any. */
interface Waiting {
  readonly position: Position | undefined
  readonly wake: () => void
}

/** How far something has followed the log, whichever process works on it. */
export class Progress {
  readonly #followed: Followed
  /** The store that it is run from in this process, if it is. */
  core: StoreCore | undefined
  readonly #waiting = new Set<Waiting>()

  constructor(followed: Followed) {
    this.#followed = followed
  }

  get name(): string {
    return this.#followed.name
  }

  get kind(): FollowerKind {
    return this.#followed.kind
  }

  /** A worker of this process has moved a checkpoint: wakes each `reach` whose position it has reached. */
  moved({ checkpoint }: Pick<Build, 'checkpoint'>): void {
    for (const { position = '', wake } of this.#waiting) {
      if (checkpoint && checkpoint.position >= position) wake()
    }
  }

  /**
   * Resolves when every event up to a position has been handled; without a position, when there is a read model.
   *
   * @throws NotCaughtUpError, ProjectionBlockedError, InvalidArgumentError
   */
  async reach(position: Position | undefined, { timeout, signal, isOfAnyVersion }: Reaching): Promise<void> {
    const { name, version, kind } = this.#followed
    const started = environment.now()
    let isAsked = false
    for (let wait = MIN_LOOK_MS; ; wait = Math.min(wait * 2, MAX_LOOK_MS)) {
      signal?.throwIfAborted()
      const moved = this.#nextMove(position, wait)
      let outage: unknown
      try {
        const { live, building } = await this.#builds()
        const isBuilt = isOfAnyVersion || live?.version === version
        if (position === undefined) {
          if (isBuilt) return
        } else {
          checkFormat(position, live?.checkpoint?.position, kind)
          if (isBuilt && (await this.#isAt(live, position))) return
          if (!isAsked) await this.#askStore(position)
          isAsked = true
        }
        const awaited = isBuilt ? live : building
        if (awaited?.state === 'blocked' && (isOfAnyVersion || awaited.version === version)) {
          throw new ProjectionBlockedError(name, awaited.failure?.message ?? 'unknown', kind)
        }
      } catch (error) {
        // The workers wait for the database, too.
        if (!isTransient(error)) throw error
        outage = error
      }
      const waited = environment.now() - started
      if (waited >= timeout) throw new NotCaughtUpError(name, waited, { cause: outage }, kind)
      await moved
    }
  }

  /** Whether a build has handled everything up to a position; not if its checkpoint is of another store or history. */
  async #isAt(live: Build | undefined, position: Position): Promise<boolean> {
    if (live?.checkpoint === undefined || live.checkpoint.position < position) return false
    if (live.state === 'blocked' && isHistoryCode(live.failure?.code)) return false
    // A store that this process has closed says nothing: another process may run it.
    const store = await this.core?.identity().catch(() => undefined)
    return store === undefined || store === live.checkpoint.store
  }

  async #builds() {
    const { name, target } = this.#followed
    await prepareTarget(target)
    return target.read(() => findBuilds(name))
  }

  /** @throws InvalidArgumentError if the store that this process runs it from cannot have given this position. */
  async #askStore(position: Position): Promise<void> {
    try {
      await this.core?.idAt(position)
    } catch (error) {
      // Other errors are for those who use that store: it may be closed, and the projection run from another one.
      if (error instanceof InvalidArgumentError) throw wrongPosition(this.#followed.kind)
    }
  }

  /** Resolves when a worker of this process moves the checkpoint to a position, or after so many milliseconds. */
  async #nextMove(position: Position | undefined, milliseconds: number): Promise<void> {
    const ending = new AbortController()
    const waiting = {
      position,
      wake() {
        ending.abort()
      },
    }
    this.#waiting.add(waiting)
    await pause(systemClock, milliseconds, ending.signal)
    this.#waiting.delete(waiting)
  }
}

/** @throws InvalidArgumentError if a position cannot be of the same store as the checkpoint, if there is one. */
function checkFormat(position: unknown, checkpoint: Position | undefined, kind: string): void {
  // Without a checkpoint, the projection may be run from a store of which nothing is known here.
  if (typeof position !== 'string' || !/\d/.test(position)) throw wrongPosition(kind)
  if (checkpoint !== undefined && widthOf(position) !== widthOf(checkpoint)) throw wrongPosition(kind)
}

function wrongPosition(kind: string): InvalidArgumentError {
  return new InvalidArgumentError(
    'position',
    `a position that this ${kind}'s store gave, for example by append(): this one has another format`,
  )
}

/** The positions of a store have the same width, on KurrentDB up to a dash. */
function widthOf(position: Position): number {
  return position.split('-', 1)[0]!.length
}

/** How often `reach` looks at the target, for checkpoints that other processes move. */
const MIN_LOOK_MS = 5
const MAX_LOOK_MS = 50
