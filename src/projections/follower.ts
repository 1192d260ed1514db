import { HandlerMisuse } from '../adapter/projection-target.ts'
import { pause } from '../adapter/subscription-hub.ts'
import { endingWith } from '../base/abort.ts'
import { retryDelay } from '../base/retry.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { placeOf } from '../store/subscription.ts'
import type { LogPlace, SubscribedPage } from '../adapter/store-adapter.ts'
import { applyBatch, type Batch, HandlerFailure, type Holder } from './batch.ts'
import { type Build, checkpointAt, type Failure, noteFailure, settleDown } from './builds.ts'
import type { Definition } from './define.ts'
import { failureOf, isOfHistory, park } from './failures.ts'

/** What follows a store's log, and who is told of it. */
export interface Following {
  readonly definition: Definition
  readonly core: StoreCore
  readonly holder: Holder
  /** Ends it, after the batch at hand. */
  readonly signal: AbortSignal
  /** Told of everything that goes wrong, and is tried again or not. */
  readonly failed: (failure: Failure) => void
  /** Told when the checkpoint has moved, committed. */
  readonly moved: (build: Build) => void
  /** Called when all that is there was handled. Whether it is to go on. */
  readonly caughtUp: (build: Build) => Promise<boolean>
}

/** Follows a store's log for a build, and handles event after event. */
export class Follower {
  readonly #task: Following
  #at: Build
  readonly #passing: Passing

  constructor(build: Build, task: Following) {
    this.#at = build
    this.#task = task
    this.#passing = new Passing(build.checkpoint)
  }

  /** Where the build stands. */
  get build(): Build {
    return this.#at
  }

  /**
   * Resolves when it is to end, or the build is blocked: whether there is anything left to do.
   *
   * @throws LostRace; Mneme's errors where the store or the target is to blame.
   */
  async run(): Promise<boolean> {
    try {
      return await this.#follow()
    } catch (error) {
      if (error instanceof Ended) return true
      if (!isOfHistory(error) && !(error instanceof HandlerMisuse)) throw error
      // For a person to decide. Whatever is tried again makes it worse.
      await this.#note('blocked', failureOf(error, 1))
      return true
    }
  }

  async #follow(): Promise<boolean> {
    const { core, definition, signal, failed } = this.#task
    const after = await placeOf(core, this.#at.checkpoint ?? 'start')
    const store = await core.identity()
    const { ending, stop } = endingWith(signal)
    const interrupted = (error: unknown) => {
      failed(failureOf(error, 1))
    }
    const request = { ...definition.selection.filter, after, interrupted }
    const pages = core.subscribe({ ...request, signal: ending.signal })
    let next = pages.next()
    try {
      do {
        const page = await this.#passing.pageOrDue(next)
        if (page === undefined) break
        if (page === 'due') await this.#pass(store)
        else {
          // While a page is being handled, the next one is being read.
          next = pages.next()
          next.catch(() => undefined)
          await this.#handle(page, store)
          if (page.isCaughtUp && !signal.aborted && !(await this.#reached(store))) return false
        }
      } while (!signal.aborted)
      return true
    } finally {
      stop()
      // What is being read is waited for: the store may be about to be closed.
      ending.abort()
      await next.catch(() => undefined)
      await pages.return?.()
    }
  }

  /** Handles what a page holds, in batches. */
  async #handle({ events, through }: SubscribedPage, store: string): Promise<void> {
    const { signal } = this.#task
    for (let next = 0; next < events.length && !signal.aborted;) {
      const some = events.slice(next, next + MOST)
      const isAll = next + some.length === events.length
      const end = isAll && through ? through : some.at(-1)!
      await this.#apply({ events: some, through: checkpointAt(store, end) })
      const { position } = this.#at.checkpoint!
      while (next < events.length && events[next]!.position <= position) next++
    }
    if (events.length === 0 && through) this.#passing.note(through)
    else this.#passing.reached(this.#at.checkpoint)
  }

  /** Moves the checkpoint past what was not asked for. */
  async #pass(store: string): Promise<void> {
    const through = this.#passing.take()
    if (through) await this.#apply({ events: [], through: checkpointAt(store, through) })
  }

  async #reached(store: string): Promise<boolean> {
    const { definition, caughtUp, holder } = this.#task
    // What is to be the live one must have come as far, also past what it does not handle.
    if (this.#at.role === 'building') await this.#pass(store)
    if (this.#at.isRebuilding || this.#at.state === 'retrying') {
      await definition.target.transaction(() => settleDown(this.#at), holder.lease)
      this.#at = { ...this.#at, isRebuilding: false, state: 'running', failure: undefined }
    }
    return caughtUp(this.#at)
  }

  /** Handles a batch, or a part of it: as much as can be, and where only one is left that fails, that again and again. */
  async #apply(batch: Batch): Promise<void> {
    const { definition, signal, holder } = this.#task
    let size = batch.events.length
    for (let attempts = 0; ;) {
      const some = firstOf(batch, size)
      try {
        this.#move(await applyBatch(definition, this.#at, some, holder))
        return
      } catch (error) {
        if (!(error instanceof HandlerFailure)) throw error
        if (size > 1) {
          // First those before it, then it alone: the others do not fail with it.
          size = error.index === undefined ? size >> 1 : Math.max(1, error.index)
          continue
        }
        attempts++
        const failure = failureOf(error.cause, attempts, some.events[0])
        if (attempts > definition.retry.maxRetries) {
          await this.#giveUp(some, failure)
          return
        }
        await this.#note('retrying', failure)
        await pause(retryDelay(definition.retry, attempts, Math.random()), signal)
        if (signal.aborted) throw new Ended()
      }
    }
  }

  async #giveUp(batch: Batch, failure: Failure): Promise<void> {
    const { definition, holder, failed } = this.#task
    const [event] = batch.events
    if (definition.onError === 'block' || !event) {
      await this.#note('blocked', failure)
      throw new Ended()
    }
    const { through } = batch
    const parked = await definition.target.transaction(
      () => park(this.#at, { event, through, failure }, holder),
      holder.lease,
    )
    failed(failure)
    this.#move(parked)
  }

  async #note(state: 'retrying' | 'blocked', failure: Failure): Promise<void> {
    const { definition, holder, failed } = this.#task
    failed(failure)
    const noted = { state, failure }
    await definition.target.transaction(() => noteFailure(this.#at, holder.owner, noted), holder.lease)
  }

  #move(build: Build): void {
    this.#at = build
    this.#task.moved(build)
  }
}

/** It is blocked, or was told to end while an event was tried again. */
class Ended extends Error {}

/** The first so many events of a batch. */
function firstOf(batch: Batch, size: number): Batch {
  if (size >= batch.events.length) return batch
  const events = batch.events.slice(0, size)
  return { events, through: checkpointAt(batch.through.store, events.at(-1)!) }
}

/** Events in a batch. */
const MOST = 1_000

/**
 * Passing over what is not asked for: the checkpoint is to follow, so that nothing of it is looked through again and
 * who waits for a position is told; but not for each such event.
 */
export class Passing {
  #through: LogPlace | undefined
  #passed: LogPlace | undefined
  #moved = -Infinity

  constructor(at: LogPlace | undefined) {
    this.#passed = at
  }

  /** There is nothing up to there that was asked for. */
  note(through: LogPlace): void {
    if (through.position !== this.#passed?.position) this.#through = through
  }

  /** The checkpoint was moved. */
  reached(place: LogPlace | undefined): void {
    this.#through = undefined
    this.#passed = place
    this.#moved = performance.now()
  }

  /** Where it is to be moved to now, if anywhere. */
  take(): LogPlace | undefined {
    const through = this.#through
    if (through) this.reached(through)
    return through
  }

  /** The next page, `undefined` at the end; or that the checkpoint is to be moved meanwhile. */
  async pageOrDue(
    next: Promise<IteratorResult<SubscribedPage, undefined>>,
  ): Promise<SubscribedPage | 'due' | undefined> {
    if (!this.#through) return (await next).value
    const left = this.#moved + EVERY - performance.now()
    if (left <= 0) return 'due'
    let timer: ReturnType<typeof setTimeout> | undefined
    const due = new Promise<'due'>((resolve) => {
      timer = setTimeout(resolve, left, 'due')
    })
    try {
      const first = await Promise.race([next, due])
      return first === 'due' ? first : first.value
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Milliseconds between two moves of the checkpoint past what is not asked for. */
const EVERY = 100
