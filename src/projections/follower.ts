import { HandlerMisuse, HandlerTimeoutError } from '../adapter/projection-target.ts'
import { endingWith } from '../base/abort.ts'
import { pause } from '../base/clock.ts'
import { retryDelay } from '../base/retry.ts'
import type { MnemeError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import { tellInterrupted, tellPage } from '../store/diagnostics.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { placeOf } from '../store/subscription.ts'
import type { StoredEvent, SubscribedPage } from '../adapter/store-adapter.ts'
import { HandlerFailure } from './batch.ts'
import { type Build, checkpointAt, type Failure, noteFailure, settleDown } from './builds.ts'
import { type FailureOutcome, watchBatch } from './diagnostics.ts'
import { CheckpointThrottle } from './checkpoint-throttle.ts'
import { MAX_EVENTS_PER_BATCH } from './define.ts'
import { failureOf, failureOfPage, isOfHistory } from './failures.ts'
import {
  type Agenda,
  type Batch,
  Ended,
  type Followed,
  type Handling,
  type Holder,
  type Note,
} from './handling.ts'
import { environment } from '../base/environment.ts'

/** What a follower works on, and what it calls back. */
export interface Following {
  readonly definition: Followed
  readonly core: StoreCore
  readonly holder: Holder
  readonly handling: Handling
  /** Ends the work, after the current batch. */
  readonly signal: AbortSignal
  /** Called with each failure, whether it is retried or not. */
  readonly failed: (failure: Failure, outcome: FailureOutcome) => void
  /** Called when the checkpoint has moved, after the commit. */
  readonly moved: (build: Build) => void
  /** Called when every event of the log was handled. Resolves with whether to go on. */
  readonly caughtUp: (build: Build) => Promise<boolean>
}

/** Follows a store's log for a build, and handles its events in order. */
export class Follower {
  readonly #task: Following
  #at: Build
  readonly #throttle: CheckpointThrottle
  /** Whether the next page is there. */
  #isReady = false
  /** How many of the events that come next failed together, if it is not known which of them did. */
  #suspects = 0

  constructor(build: Build, task: Following) {
    this.#at = build
    this.#task = task
    this.#throttle = new CheckpointThrottle(build.checkpoint, task.definition.clock)
  }

  /** Where the build stands. */
  get build(): Build {
    return this.#at
  }

  /**
   * Resolves when it was told to end, when the build is blocked, or when the work is done; with whether there is more to
   * do.
   *
   * @throws LostRace; one of Mneme's errors if the store or the target failed.
   */
  async run(): Promise<boolean> {
    try {
      return await this.#follow()
    } catch (error) {
      if (error instanceof Ended) return true
      if (!isOfHistory(error) && !(error instanceof HandlerMisuse)) throw error
      // A person has to decide: a retry would make it worse.
      await this.#note('blocked', failureOf(error, 1))
      return true
    }
  }

  async #follow(): Promise<boolean> {
    const { core, definition, signal, failed } = this.#task
    const after = await placeOf(core, this.#at.checkpoint ?? 'start')
    const store = await core.identity()
    const { ending, stop } = endingWith(signal)
    const interrupted = (error: MnemeError) => {
      tellInterrupted(error)
      failed(failureOf(error, 1), 'retrying')
    }
    const request = { ...definition.selection.filter, after, interrupted }
    const { handling } = this.#task
    const { agenda } = handling
    if (agenda) this.#changed(await agenda.begin(this.#at, this.#note))
    const pages = core.subscribe({ ...request, signal: ending.signal })
    let next = this.#ask(pages)
    try {
      do {
        const page = await this.#pageOrDue(next, agenda)
        if (page === undefined) break
        if (page === 'due') await this.#skip(store)
        else if (page !== 'work') {
          // The next page is read while this one is handled.
          next = this.#ask(pages)
          await this.#handle(page, store)
          if (page.isCaughtUp && !signal.aborted && !(await this.#reached(store))) return false
        }
        // After each page, so that a log that never ends does not keep it waiting.
        if (agenda && !signal.aborted)
          this.#changed(await agenda.work(this.#at, this.#throttle.read, this.#note))
      } while (!signal.aborted)
      return true
    } finally {
      stop()
      // Wait for the page that is being read: the store may be closed next.
      ending.abort()
      await next.catch(() => undefined)
      await pages.return?.()
      handling.end?.()
    }
  }

  /** The next page, noticed when it is there. */
  #ask(pages: AsyncIterator<SubscribedPage, undefined>): Promise<IteratorResult<SubscribedPage, undefined>> {
    this.#isReady = false
    const next = pages.next()
    const ready = () => {
      this.#isReady = true
    }
    next.then(ready, ready)
    return next
  }

  /** The next page, `undefined` at the end; or what has to be done before it. */
  async #pageOrDue(
    next: Promise<IteratorResult<SubscribedPage, undefined>>,
    agenda: Agenda | undefined,
  ): Promise<SubscribedPage | 'due' | 'work' | undefined> {
    // Events first: what is due waits until they are handled.
    if (!agenda || this.#isReady) return this.#throttle.pageOrDue(next)
    const { ending, stop } = endingWith(this.#task.signal)
    try {
      const due = agenda.due(ending.signal).then(() => 'work' as const)
      return await Promise.race([this.#throttle.pageOrDue(next), due])
    } finally {
      stop()
      ending.abort()
    }
  }

  /** Handles what a page holds, in batches. */
  async #handle(page: SubscribedPage, store: string): Promise<void> {
    tellPage(page)
    const { events, through } = page
    const { signal } = this.#task
    for (let next = 0; next < events.length && !signal.aborted;) {
      const some = events.slice(next, next + this.#maxEvents)
      const isAll = next + some.length === events.length
      const end = isAll && through ? through : some.at(-1)!
      await this.#apply({ events: some, through: checkpointAt(store, end) })
      const before = next
      next += handledOf(some, this.#at.checkpoint?.position)
      this.#suspects = Math.max(0, this.#suspects - (next - before))
    }
    if (events.length === 0 && through) this.#throttle.skipped(through)
    else this.#throttle.moved(this.#at.checkpoint)
  }

  /** How many events the next batch has: of those that failed together first one half, until the one that fails is alone. */
  get #maxEvents(): number {
    const { maxEvents = MAX_EVENTS_PER_BATCH } = this.#task.handling
    return this.#suspects === 0 ? maxEvents : Math.max(1, this.#suspects >> 1)
  }

  /** Moves the checkpoint past events that this projection does not handle. */
  async #skip(store: string): Promise<void> {
    const through = this.#throttle.take()
    if (through) await this.#apply({ events: [], through: checkpointAt(store, through) })
  }

  async #reached(store: string): Promise<boolean> {
    const { definition, caughtUp, holder } = this.#task
    // A build that replaces the live one must have its checkpoint, also past events that it does not handle.
    if (this.#at.role === 'building') await this.#skip(store)
    if (this.#at.isRebuilding || this.#at.state === 'retrying') {
      await definition.target.transaction(() => settleDown(this.#at), holder.lease)
      this.#at = { ...this.#at, isRebuilding: false, state: 'running', failure: undefined }
    }
    return caughtUp(this.#at)
  }

  /** Handles a batch, or a part of it; retries an event that fails by itself. */
  async #apply(batch: Batch): Promise<void> {
    const { definition, signal, handling } = this.#task
    let size = batch.events.length
    for (let attempts = 0; ;) {
      const some = firstOf(batch, size)
      try {
        this.#move(await watchBatch(this.#at, some.events, () => handling.apply(this.#at, some)))
        return
      } catch (error) {
        if (!(error instanceof HandlerFailure)) throw error
        if (size > 1) {
          const { index, cause } = error
          if (cause instanceof HandlerTimeoutError && index !== undefined) {
            // Reported at once: alone, the event may take as long again.
            if (index === 0) attempts++
            await this.#note('retrying', failureOf(cause, Math.max(1, attempts), some.events[index]))
          }
          if (index === undefined) {
            // Once, with the whole range.
            if (this.#suspects === 0) await this.#note('retrying', failureOfPage(cause, some.events))
            this.#suspects = size
            size >>= 1
          } else {
            // First the events before it, then the failed one alone: the others do not fail with it.
            size = Math.max(1, index)
          }
          continue
        }
        attempts++
        const failure = failureOf(error.cause, attempts, some.events[0])
        if (attempts > definition.retry.maxRetries || error.verdict) {
          await this.#giveUp(some, failure, error.verdict)
          return
        }
        await this.#note('retrying', failure)
        await pause(definition.clock, retryDelay(definition.retry, attempts, environment.random()), signal)
        if (signal.aborted) throw new Ended()
      }
    }
  }

  async #giveUp(batch: Batch, failure: Failure, verdict: 'block' | 'park' | undefined): Promise<void> {
    const { definition, failed, handling } = this.#task
    const [event] = batch.events
    if ((verdict ?? definition.onError) === 'block' || !event) {
      await this.#note('blocked', failure)
      throw new Ended()
    }
    const { through } = batch
    const parked = await handling.park(this.#at, { event, through, failure })
    failed(failure, 'parked')
    this.#move(parked)
  }

  readonly #note: Note = async (state, failure) => {
    const { definition, holder, failed } = this.#task
    failed(failure, state)
    const noted = { state, failure }
    await definition.target.transaction(() => noteFailure(this.#at, holder.owner, noted), holder.lease)
  }

  #changed(build: Build): void {
    if (build !== this.#at) this.#move(build)
  }

  #move(build: Build): void {
    this.#at = build
    this.#task.moved(build)
  }
}

/** How many events of a batch lie up to a position. */
function handledOf(events: readonly StoredEvent[], position: Position | undefined): number {
  if (position === undefined) return 0
  // Nearly always all of them.
  if (events.at(-1)!.position <= position) return events.length
  return events.findIndex((event) => event.position > position)
}

/** The first `size` events of a batch. */
function firstOf(batch: Batch, size: number): Batch {
  if (size >= batch.events.length) return batch
  const events = batch.events.slice(0, size)
  return { events, through: checkpointAt(batch.through.store, events.at(-1)!) }
}
