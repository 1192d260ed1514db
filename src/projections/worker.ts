import { isMnemeError, isTransient, ProjectionBlockedError, ProjectionVersionError } from '../base/errors.ts'
import { endingWith } from '../base/abort.ts'
import { pause } from '../base/clock.ts'
import { retryDelay } from '../base/retry.ts'
import { LostRace } from './batch.ts'
import { findBuilds, giveLease, noteFailure, takeLease, type Build, type Builds } from './builds.ts'
import { failures } from './diagnostics.ts'
import { failureOf, isOfDatabase } from './failures.ts'
import { Follower, type Following } from './follower.ts'
import type { Handling, Holder } from './handling.ts'
import { environment } from '../base/environment.ts'
import { NextLook } from './next-look.ts'

/** What a worker is told to do. */
export interface Task extends Omit<Following, 'holder' | 'handling'> {
  /** What to do with events, made each time the worker takes the lease. */
  readonly handle: (holder: Holder, signal: AbortSignal, isExpired: () => boolean) => Handling
  /** Milliseconds after which other workers take over from a silent one. */
  readonly lease: number
  /** Which of a projection's builds it works on; `undefined`: that build is gone. */
  readonly choose: (builds: Builds) => Build | undefined
  /** Whether a caller waits for the end of the work: permanent failures are then thrown instead of retried. */
  readonly isAwaited: boolean
  /** Called when the worker has the lease, or has found that another worker has it or that the build is blocked. */
  readonly began: () => void
}

/**
 * Works on a build until it is told to stop: stands by while another worker has the lease, then handles events in
 * order. Failures are retried, or block the projection visibly.
 */
export class Worker {
  readonly #task: Task
  readonly #holder: Holder
  #failures = 0
  #renewedAt = -Infinity
  /** The failure reported last, and the block reported last, as the target stores them. */
  #reported = ''
  #reportedBlock = ''

  constructor(task: Task) {
    const { definition, lease, moved, failed } = task
    this.#holder = { owner: environment.uuid(), lease }
    this.#task = {
      ...task,
      failed: (failure, outcome) => {
        this.#reported = JSON.stringify(failure)
        const { name, kind } = definition
        failures.publish(() => ({ projection: name, kind, failure, outcome }))
        failed(failure, outcome)
      },
      moved: (build) => {
        this.#failures = 0
        this.#renewedAt = definition.clock.now()
        moved(build)
      },
    }
  }

  /**
   * Resolves when the worker was stopped, when its build is gone, or when the follower says that its work is done.
   *
   * @throws ProjectionVersionError if another program has rebuilt the projection; if a caller waits for it,
   *   ProjectionBlockedError and every other permanent failure.
   */
  async run(): Promise<void> {
    const { definition, signal, failed, began } = this.#task
    const { clock } = definition
    do {
      // Before it looks: a lease that is given back just afterwards ends the pause.
      const next = new NextLook(definition.name, 'standby', signal)
      let build: Build | undefined
      try {
        build = await this.#find()
        if (!build) return
        if (build.state === 'blocked') await this.#waitBlocked(build, next)
        else if (!(await this.#take(build))) {
          began()
          const left = Math.max(MIN_PAUSE_MS, build.leaseLeft)
          await pause(clock, Math.min(LOOK_MS, left), next.signal)
        } else if (!(await this.#hold(build))) return
      } catch (error) {
        if (signal.aborted || (isMnemeError(error) && error.code === 'STORE_CLOSED')) return
        // Another worker was faster: the next look finds where the build stands now.
        if (error instanceof LostRace) await pause(clock, MIN_PAUSE_MS, signal)
        else if (this.#isFinal(error)) throw error
        else {
          failed(failureOf(error, ++this.#failures), 'retrying')
          await pause(clock, retryDelay(RETRY, this.#failures, environment.random()), signal)
        }
      } finally {
        next.end()
      }
    } while (!signal.aborted)
  }

  /** Whether a retry is useless. */
  #isFinal(error: unknown): boolean {
    if (isMnemeError(error) && FINAL_CODES.has(error.code)) return true
    const isRetried = isTransient(error) || (isOfDatabase(error) && this.#failures < MAX_AWAITED_FAILURES)
    return this.#task.isAwaited && !isRetried
  }

  async #find(): Promise<Build | undefined> {
    const { definition, choose } = this.#task
    const { name, version, target } = definition
    const build = choose(await target.read(() => findBuilds(name)))
    if (build && build.version !== version) {
      const at = { projection: name, defined: version, built: build.version }
      throw new ProjectionVersionError(at, 'another program has changed its version', definition.kind)
    }
    return build
  }

  async #waitBlocked({ name, failure }: Build, next: NextLook): Promise<void> {
    const { definition, isAwaited, failed, began } = this.#task
    began()
    if (isAwaited) throw new ProjectionBlockedError(name, failure?.message ?? 'unknown', definition.kind)
    // Another worker may have blocked it, long ago: the users of this process are told, too, once.
    const block = JSON.stringify(failure)
    if (failure && block !== this.#reported && block !== this.#reportedBlock) {
      failed(failure, 'blocked')
    }
    this.#reportedBlock = block
    await pause(definition.clock, LOOK_MS, next.signal)
  }

  async #take(build: Build): Promise<boolean> {
    const { owner } = this.#holder
    const isTaken = build.owner !== undefined && build.owner !== owner && build.leaseLeft > 0
    return !isTaken && this.#renew(build)
  }

  async #renew(build: Build): Promise<boolean> {
    const { owner, lease } = this.#holder
    const { clock, target } = this.#task.definition
    const renewedAt = clock.now()
    const isOurs = await target.transaction(() => takeLease(build, owner, lease), lease)
    if (isOurs) this.#renewedAt = renewedAt
    return isOurs
  }

  /** Works while it has the lease. Resolves with whether there is more to do. */
  async #hold(build: Build): Promise<boolean> {
    const { definition, signal, began, handle } = this.#task
    const { owner, lease } = this.#holder
    const { target } = definition
    began()
    const { ending, stop } = endingWith(signal)
    const keeping = Promise.all([this.#keepLease(build, ending), this.#watch(build, ending)])
    const held = { holder: this.#holder, signal: ending.signal }
    const isExpired = () => definition.clock.now() - this.#renewedAt > lease
    const handling = handle(held.holder, held.signal, isExpired)
    const follower = new Follower(build, { ...this.#task, ...held, handling })
    try {
      return await follower.run()
    } catch (error) {
      if (!(error instanceof LostRace)) await this.#note(follower.build, error)
      throw error
    } finally {
      stop()
      ending.abort()
      await keeping
      await target.transaction(() => giveLease(build, owner), lease).catch(() => undefined)
      NextLook.leaseIsFree(definition.name)
    }
  }

  /** Stores why the projection does not go on, for `status` in every process, if the target can be reached. */
  async #note(build: Build, error: unknown): Promise<void> {
    const { definition, signal } = this.#task
    const { owner, lease } = this.#holder
    if (signal.aborted) return
    const noted = { state: 'retrying', failure: failureOf(error, this.#failures + 1) } as const
    await definition.target.transaction(() => noteFailure(build, owner, noted), lease).catch(() => undefined)
  }

  /** Renews the lease while the work goes on. */
  async #keepLease(build: Build, ending: AbortController): Promise<void> {
    const { signal } = ending
    const { clock } = this.#task.definition
    const interval = this.#holder.lease / 3
    do {
      await pause(clock, Math.max(MIN_PAUSE_MS, this.#renewedAt + interval - clock.now()), signal)
      if (signal.aborted || clock.now() - this.#renewedAt < interval) continue
      try {
        if (!(await this.#renew(build))) ending.abort()
      } catch {
        // If the target is down, the work fails by itself; the lease only saves double work.
        await pause(clock, MIN_PAUSE_MS, signal)
      }
    } while (!signal.aborted)
  }

  /** Ends the work on a build that was reset or replaced, or whose lease another worker has, whether events come or not. */
  async #watch(build: Build, ending: AbortController): Promise<void> {
    const { definition, choose } = this.#task
    const { clock, name, target } = definition
    const { signal } = ending
    let next = new NextLook(name, 'holder', signal)
    do {
      await pause(clock, LOOK_MS, next.signal)
      next.end()
      // Before it looks: a change that comes just afterwards ends the pause.
      next = new NextLook(name, 'holder', signal)
      if (signal.aborted) continue
      try {
        const found = choose(await target.read(() => findBuilds(name)))
        const isTaken = found?.owner !== this.#holder.owner && (found?.leaseLeft ?? 0) > 0
        const isSame = found?.generation === build.generation && found.version === build.version
        if (isTaken || !isSame) ending.abort()
      } catch {
        // If the target is down, the work fails by itself.
      }
    } while (!signal.aborted)
    next.end()
  }
}

/** Codes of errors that end the work of this program, whatever it tries. */
const FINAL_CODES: ReadonlySet<string> = new Set(['PROJECTION_VERSION', 'PROJECTION_BLOCKED'])
/** Failures in a row that a waiting caller has to bear. */
const MAX_AWAITED_FAILURES = 10
/** How often a worker looks at its build in the target, for what other processes do. */
const LOOK_MS = 500
const MIN_PAUSE_MS = 20
/** The back-off when the store or the target cannot be reached; in milliseconds. */
export const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 2_000 }
