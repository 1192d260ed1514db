import { checkOptions, checkWhole, MAX_TIMER_MS } from '../base/arguments.ts'
import { pause, systemClock } from '../base/clock.ts'
import { environment } from '../base/environment.ts'
import { StoreClosedError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import { retryDelays, retryUntilReached } from '../base/retry.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { Build, Failure } from './builds.ts'
import { failures } from './diagnostics.ts'
import { failureOf } from './failures.ts'
import type { Progress } from './progress.ts'
import { RETRY, type Task } from './worker.ts'

/** What all work of one run has in common. */
export type CommonTask = Pick<Task, 'core' | 'lease' | 'signal' | 'isAwaited' | 'failed' | 'moved' | 'began'>

/** Work that follows the log, and is to be begun. */
export interface Startable {
  readonly progress: Progress
  /** Works until it is told to stop. */
  readonly work: (task: CommonTask) => Promise<void>
  /** Called with each failure. */
  readonly failed: (failure: Failure) => unknown
}

/** Work that follows the log of a store, in the background. */
export class Running {
  readonly #store: EventStore
  readonly #all: readonly Startable[]
  readonly #ending = new AbortController()
  /** Aborted when a worker of this process has the lease, or knows who has it. */
  readonly #begun: ReadonlyMap<Startable, AbortController>
  /** Aborted, with the error as its reason, when the work has ended for good. */
  readonly #ended: ReadonlyMap<Startable, AbortController>
  readonly #over: Promise<unknown>
  readonly #forget: () => void

  constructor(
    store: EventStore,
    all: readonly Startable[],
    { core, lease }: { core: StoreCore; lease: number },
  ) {
    this.#store = store
    this.#all = all
    for (const { progress } of all) progress.core = core
    this.#begun = new Map(all.map((each) => [each, new AbortController()]))
    this.#ended = new Map(all.map((each) => [each, new AbortController()]))
    this.#forget = core.atClose(() => this.stop())
    this.#over = Promise.all(all.map((each) => this.#run(each, core, lease)))
  }

  /** @throws NotCaughtUpError, ProjectionBlockedError; the error that ended some of the work. */
  async caughtUp(options: { readonly timeout?: number | undefined } = {}): Promise<void> {
    const { timeout = Number.MAX_SAFE_INTEGER } = checkOptions(options, 'options', ['timeout'])
    checkWhole(timeout, 'options.timeout', 0)
    this.#ended.forEach(({ signal }) => {
      signal.throwIfAborted()
    })
    const head = await this.#head(timeout)
    const waiting = this.#all.map(async (each) => {
      const { signal } = this.#ended.get(each)!
      const started = environment.now()
      // Even if nothing remains to be handled: `status` then says that a worker has the lease.
      await pause(systemClock, Math.min(timeout, MAX_TIMER_MS), this.#begun.get(each)!.signal)
      signal.throwIfAborted()
      const left = Math.max(0, Math.floor(timeout - (environment.now() - started)))
      await each.progress.reach(head, { timeout: left, signal, isOfAnyVersion: false })
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

  async stop(): Promise<void> {
    this.#ending.abort()
    for (const ended of this.#ended.values()) ended.abort(stopped())
    this.#forget()
    await this.#over
  }

  async #run(each: Startable, core: StoreCore, lease: number): Promise<void> {
    const { progress } = each
    const failed = (failure: Failure) => {
      // A listener that fails must not end the work, whether it throws or rejects.
      void (async () => {
        await each.failed(failure)
      })().catch(() => undefined)
    }
    const moved = (build: Build) => {
      progress.moved(build)
    }
    const began = () => {
      this.#begun.get(each)!.abort()
    }
    try {
      await each.work({ core, lease, signal: this.#ending.signal, isAwaited: false, failed, moved, began })
    } catch (error) {
      this.#ended.get(each)!.abort(error)
      const failure = failureOf(error, 1)
      const { name, kind } = progress
      failures.publish(() => ({ projection: name, kind, failure, outcome: 'ended' }))
      failed(failure)
    } finally {
      // The end of the work, or another process, decides how long `caughtUp` waits.
      began()
    }
  }
}

function stopped(): StoreClosedError {
  return new StoreClosedError('this run was stopped: call caughtUp before stop(), or run it again')
}
