import { isMnemeError, ProjectionBlockedError, ProjectionVersionError } from '../base/errors.ts'
import { isTransient, pause } from '../adapter/subscription-hub.ts'
import { endingWith } from '../base/abort.ts'
import { retryDelay } from '../base/retry.ts'
import { LostRace, type Holder } from './batch.ts'
import { findBuilds, giveLease, noteFailure, takeLease, type Build, type Builds } from './builds.ts'
import { failureOf, isOfDatabase } from './failures.ts'
import { Follower, type Following } from './follower.ts'

/** What a worker is told to do. */
export interface Task extends Omit<Following, 'holder'> {
  /** Milliseconds for which a worker that is not heard of keeps others from working. */
  readonly lease: number
  /** Which of a projection's builds it works on; `undefined`: there is none any more. */
  readonly choose: (builds: Builds) => Build | undefined
  /** Whether somebody waits for it to come to an end: what does not pass by itself is thrown, then. */
  readonly isAwaited: boolean
}

/**
 * Works on a build until it is told to stop: stands by while another worker has the lease, then handles event after
 * event. Whatever goes wrong is tried again, or blocks the projection where everybody can see it.
 */
export class Worker {
  readonly #task: Task
  readonly #holder: Holder
  #failures = 0
  #renewed = -Infinity
  /** What it has told of last, and of what is blocked, as it is kept in the target. */
  #told = ''
  #toldBlocked = ''

  constructor(task: Task) {
    const { lease, moved, failed } = task
    this.#holder = { owner: crypto.randomUUID(), lease }
    this.#task = {
      ...task,
      failed: (failure) => {
        this.#told = JSON.stringify(failure)
        failed(failure)
      },
      moved: (build) => {
        this.#failures = 0
        this.#renewed = performance.now()
        moved(build)
      },
    }
  }

  /**
   * Resolves when it is over: it was stopped, there is nothing left to work on, or it has done what it was to do.
   *
   * @throws ProjectionVersionError where another program has rebuilt the projection; where somebody waits for it,
   *   ProjectionBlockedError, and whatever else does not pass by itself.
   */
  async run(): Promise<void> {
    const { signal, failed } = this.#task
    do {
      let build: Build | undefined
      try {
        build = await this.#find()
        if (!build) return
        if (build.state === 'blocked') await this.#waitBlocked(build)
        else if (!(await this.#take(build))) {
          await pause(Math.min(LOOK, Math.max(LEAST, build.leaseLeft)), signal)
        } else if (!(await this.#hold(build))) return
      } catch (error) {
        if (signal.aborted || (isMnemeError(error) && error.code === 'STORE_CLOSED')) return
        // Another was faster: where the build stands now is in the target.
        if (error instanceof LostRace) await pause(LEAST, signal)
        else if (this.#isFinal(error)) throw error
        else {
          failed(failureOf(error, ++this.#failures))
          await pause(retryDelay(RETRY, this.#failures, Math.random()), signal)
        }
      }
    } while (!signal.aborted)
  }

  /** Whether it is of no use to try again. */
  #isFinal(error: unknown): boolean {
    if (isMnemeError(error) && FINAL.has(error.code)) return true
    const mayPass = isTransient(error) || (isOfDatabase(error) && this.#failures < MOST_FAILURES)
    return this.#task.isAwaited && !mayPass
  }

  async #find(): Promise<Build | undefined> {
    const { definition, choose } = this.#task
    const { name, version, target } = definition
    const build = choose(await target.read(() => findBuilds(name)))
    if (build && build.version !== version) {
      const at = { projection: name, defined: version, built: build.version }
      throw new ProjectionVersionError(at, 'another program has rebuilt it')
    }
    return build
  }

  async #waitBlocked({ name, failure }: Build): Promise<void> {
    const { isAwaited, failed, signal } = this.#task
    if (isAwaited) throw new ProjectionBlockedError(name, failure?.message ?? 'unknown')
    // Another worker may have met it, long ago: its process is not the only one to know.
    const why = JSON.stringify(failure)
    if (failure && why !== this.#told && why !== this.#toldBlocked) failed(failure)
    this.#toldBlocked = why
    await pause(LOOK, signal)
  }

  async #take(build: Build): Promise<boolean> {
    const { owner } = this.#holder
    const isOthers = build.owner !== undefined && build.owner !== owner && build.leaseLeft > 0
    return !isOthers && this.#renew(build)
  }

  async #renew(build: Build): Promise<boolean> {
    const { owner, lease } = this.#holder
    const renewed = performance.now()
    const isOurs = await this.#task.definition.target.transaction(() => takeLease(build, owner, lease), lease)
    if (isOurs) this.#renewed = renewed
    return isOurs
  }

  /** Works while it has the lease. Whether it is to go on. */
  async #hold(build: Build): Promise<boolean> {
    const { definition, signal } = this.#task
    const { owner, lease } = this.#holder
    const { target } = definition
    const { ending, stop } = endingWith(signal)
    const keeping = this.#keep(build, ending)
    const follower = new Follower(build, { ...this.#task, holder: this.#holder, signal: ending.signal })
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
    }
  }

  /** Lets others see why it does not go on, where the target can be had. */
  async #note(build: Build, error: unknown): Promise<void> {
    const { definition, signal } = this.#task
    const { owner, lease } = this.#holder
    if (signal.aborted) return
    const noted = { state: 'retrying', failure: failureOf(error, this.#failures + 1) } as const
    await definition.target.transaction(() => noteFailure(build, owner, noted), lease).catch(() => undefined)
  }

  /** Says again and again that the lease is in use. */
  async #keep(build: Build, ending: AbortController): Promise<void> {
    const { signal } = ending
    const every = this.#holder.lease / 3
    do {
      await pause(Math.max(LEAST, this.#renewed + every - performance.now()), signal)
      if (signal.aborted || performance.now() - this.#renewed < every) continue
      try {
        if (!(await this.#renew(build))) ending.abort()
      } catch {
        // Work will fail, too, if it is to; the lease only saves work.
        await pause(LEAST, signal)
      }
    } while (!signal.aborted)
  }
}

/** It is over for this program, whatever is tried. */
const FINAL: ReadonlySet<string> = new Set(['PROJECTION_VERSION', 'PROJECTION_BLOCKED'])
/** Failures in a row that somebody who waits has to bear. */
const MOST_FAILURES = 10
/** Milliseconds between two looks of who stands by, or is blocked. */
const LOOK = 500
/** Milliseconds that one waits at least. */
const LEAST = 20
/** How the store and the target are tried again. */
const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 2_000 }
