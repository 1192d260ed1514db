import { isMnemeError, ProjectionVersionError } from '../errors.ts'
import { pause } from '../log-tail.ts'
import { onAbort } from '../on-abort.ts'
import { retryDelay } from '../retry.ts'
import type { StoreCore } from '../store-core.ts'
import { placeOf } from '../subscription.ts'
import type { LogPlace, SubscribedPage } from '../store-adapter.ts'
import { applyBatch, HandlerFailure, Overtaken, type Batch, type Holder } from './batch.ts'
import {
  checkpointAt,
  endRebuilding,
  findBuilds,
  giveLease,
  noteFailure,
  takeLease,
  type Build,
  type Builds,
  type Failure,
} from './build.ts'
import type { Definition } from './definition.ts'
import { failureOf, isOfDatabase, isOfHistory } from './failures.ts'
import { park } from './parked.ts'

/** What a worker is told to do. */
export interface Task {
  readonly definition: Definition
  readonly core: StoreCore
  /** Which of a projection's builds it works on; `undefined`: there is none any more. */
  readonly choose: (builds: Builds) => Build | undefined
  /** Milliseconds for which a worker that is not heard of keeps others from working. */
  readonly lease: number
  readonly signal: AbortSignal
  /** Told of everything that goes wrong, and is tried again or not. */
  readonly failed: (failure: Failure) => void
  /** Told when the checkpoint has moved, committed. */
  readonly moved: (build: Build) => void
  /** Called when all that is there was handled. Whether it is to go on. */
  readonly caughtUp: (build: Build) => Promise<boolean>
}

/**
 * Works on a build until it is told to stop: stands by while another worker has the lease, then handles event after
 * event. Whatever goes wrong is tried again, or blocks the projection where everybody can see it.
 */
export class Worker {
  readonly #task: Task
  readonly #owner = crypto.randomUUID()
  #renewed = -Infinity

  constructor(task: Task) {
    this.#task = task
  }

  /** Resolves when it is over: it was stopped, there is nothing left to work on, or it has done what it was to do. */
  async run(): Promise<void> {
    const { signal, failed } = this.#task
    for (let failures = 0; !signal.aborted;) {
      try {
        const build = await this.#find()
        if (!build) return
        if (build.state === 'blocked') await pause(LOOK, signal)
        else if (!(await this.#take(build)))
          await pause(Math.min(LOOK, Math.max(LEAST, build.leaseLeft)), signal)
        else if (!(await this.#hold(build))) return
        failures = 0
      } catch (error) {
        if (signal.aborted || (isMnemeError(error) && error.code === 'STORE_CLOSED')) return
        // Another was faster: where the build stands now is in the target.
        if (error instanceof Overtaken) {
          await pause(LEAST, signal)
          continue
        }
        if (!isOfDatabase(error)) throw error
        failed(failureOf(error, ++failures))
        await pause(retryDelay(RETRY, failures, Math.random()), signal)
      }
    }
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

  async #take(build: Build): Promise<boolean> {
    const { definition, lease } = this.#task
    const isOthers = build.owner !== undefined && build.owner !== this.#owner && build.leaseLeft > 0
    if (isOthers) return false
    this.#renewed = performance.now()
    return definition.target.transaction(() => takeLease(build, this.#owner, lease), lease)
  }

  /** Works while it has the lease. Whether it is to go on. */
  async #hold(build: Build): Promise<boolean> {
    const { definition, signal, lease } = this.#task
    const lost = new AbortController()
    const stop = onAbort(signal, () => {
      lost.abort()
    })
    if (signal.aborted) lost.abort()
    const keeping = this.#keep(build, lost)
    try {
      return await this.#work(build, lost)
    } finally {
      stop()
      lost.abort()
      await keeping
      await definition.target.transaction(() => giveLease(build, this.#owner), lease).catch(() => undefined)
    }
  }

  /** Says again and again that the lease is in use. */
  async #keep(build: Build, lost: AbortController): Promise<void> {
    const { definition, lease } = this.#task
    const every = lease / 3
    while (!lost.signal.aborted) {
      await pause(Math.max(LEAST, this.#renewed + every - performance.now()), lost.signal)
      if (lost.signal.aborted || performance.now() - this.#renewed < every) continue
      try {
        const renewed = performance.now()
        if (await definition.target.transaction(() => takeLease(build, this.#owner, lease), lease)) {
          this.#renewed = renewed
        } else lost.abort()
      } catch {
        // Work will fail, too, if it is to; the lease only saves work.
        await pause(LEAST, lost.signal)
      }
    }
  }

  async #work(build: Build, ending: AbortController): Promise<boolean> {
    const { core, definition, failed } = this.#task
    const { signal } = ending
    let at = build
    try {
      const after = await placeOf(core, build.checkpoint ?? 'start')
      const store = await core.identity()
      const interrupted = (error: unknown) => {
        failed(failureOf(error, 1))
      }
      const pages = core.subscribe({ ...definition.selection.filter, after, signal, interrupted })
      const passing = new Passing(after)
      let next = pages.next()
      try {
        for (;;) {
          const page = await passing.pageOrDue(next)
          if (page === 'due')
            at = await this.#apply(at, { events: [], through: checkpointAt(store, passing.take()) })
          else if (page === undefined) return true
          else {
            // While a page is being handled, the next one is being read.
            next = pages.next()
            next.catch(() => undefined)
            at = await this.#handle(at, page, { store, passing, signal })
            if (page.isCaughtUp && !signal.aborted && !(await this.#reached(at))) return false
          }
          if (signal.aborted) return true
        }
      } finally {
        // What is being read is waited for: the store may be about to be closed.
        ending.abort()
        await next.catch(() => undefined)
        await pages.return?.()
      }
    } catch (error) {
      if (error instanceof Blocked) return true
      if (!isOfHistory(error)) throw error
      await this.#note(at, 'blocked', failureOf(error, 1))
      return true
    }
  }

  async #reached(at: Build): Promise<boolean> {
    const { definition, caughtUp, lease } = this.#task
    if (at.isRebuilding) await definition.target.transaction(() => endRebuilding(at), lease)
    return caughtUp(at)
  }

  /** Handles what a page holds, in batches, until it is told to end. */
  async #handle(
    build: Build,
    { events, through }: SubscribedPage,
    { store, passing, signal }: { store: string; passing: Passing; signal: AbortSignal },
  ): Promise<Build> {
    let at = build
    for (let next = 0; next < events.length && !signal.aborted;) {
      const some = events.slice(next, next + MOST)
      const isAll = next + some.length === events.length
      const end = isAll && through ? through : some.at(-1)!
      at = await this.#apply(at, { events: some, through: checkpointAt(store, end) })
      const { position } = at.checkpoint!
      while (next < events.length && events[next]!.position <= position) next++
    }
    if (events.length === 0 && through) passing.note(through)
    else passing.reached(at.checkpoint)
    return at
  }

  /** Handles a batch, or a part of it: as much as can be, and where only one is left that fails, that again and again. */
  async #apply(build: Build, batch: Batch): Promise<Build> {
    const { definition, signal, moved } = this.#task
    let size = batch.events.length
    for (let attempts = 0; ;) {
      const some = firstOf(batch, size)
      try {
        const applied = await applyBatch(definition, build, some, this.#holder)
        this.#renewed = performance.now()
        moved(applied.build)
        return applied.build
      } catch (error) {
        if (!(error instanceof HandlerFailure)) throw error
        if (size > 1) {
          // First those before it, then it alone: the others do not fail with it.
          size = error.index === undefined ? size >> 1 : Math.max(1, error.index)
          continue
        }
        attempts++
        const failure = failureOf(error.cause, attempts, some.events[0])
        if (attempts > definition.retry.maxRetries) return this.#giveUp(build, some, failure)
        await this.#note(build, 'retrying', failure)
        await pause(retryDelay(definition.retry, attempts, Math.random()), signal)
        if (signal.aborted) throw new Blocked()
      }
    }
  }

  async #giveUp(build: Build, batch: Batch, failure: Failure): Promise<Build> {
    const { definition, lease, failed, moved } = this.#task
    if (definition.onError === 'block') {
      await this.#note(build, 'blocked', failure)
      throw new Blocked()
    }
    failed(failure)
    const parked = await definition.target.transaction(() => park(build, batch, failure, this.#holder), lease)
    moved(parked)
    return parked
  }

  async #note(build: Build, state: 'retrying' | 'blocked', failure: Failure): Promise<void> {
    const { definition, lease, failed } = this.#task
    failed(failure)
    await definition.target.transaction(() => noteFailure(build, state, failure), lease)
  }

  get #holder(): Holder {
    return { owner: this.#owner, lease: this.#task.lease }
  }
}

/** It is blocked, or was stopped while it was tried again. */
class Blocked extends Error {}

/**
 * Passing over what is not asked for: the checkpoint is to follow, so that nothing of it is looked through again and
 * who waits for a position is told; but not for each such event.
 */
class Passing {
  #through: LogPlace | undefined
  #passed: LogPlace | undefined
  #moved = -Infinity

  constructor(at: LogPlace | undefined) {
    this.#passed = at
  }

  note(through: LogPlace): void {
    if (through.position !== this.#passed?.position) this.#through = through
  }

  /** The checkpoint was moved. */
  reached(place: LogPlace | undefined): void {
    this.#through = undefined
    this.#passed = place
    this.#moved = performance.now()
  }

  /** Where it is to be moved to now. */
  take(): LogPlace {
    const through = this.#through!
    this.reached(through)
    return through
  }

  /** The next page, `undefined` at the end; or that the checkpoint is to be moved meanwhile. */
  async pageOrDue(
    next: Promise<IteratorResult<SubscribedPage, undefined>>,
  ): Promise<SubscribedPage | 'due' | undefined> {
    if (!this.#through) return (await next).value
    let timer: ReturnType<typeof setTimeout> | undefined
    const due = new Promise<'due'>((resolve) => {
      timer = setTimeout(resolve, Math.max(0, this.#moved + EVERY - performance.now()), 'due')
    })
    try {
      const first = await Promise.race([next, due])
      return first === 'due' ? first : first.value
    } finally {
      clearTimeout(timer)
    }
  }
}

/** The first so many events of a batch. */
function firstOf(batch: Batch, size: number): Batch {
  if (size >= batch.events.length) return batch
  const events = batch.events.slice(0, size)
  return { events, through: checkpointAt(batch.through.store, events.at(-1)!) }
}

/** Events in a batch. */
const MOST = 1_000
/** Milliseconds between two moves of the checkpoint past what is not asked for. */
const EVERY = 100
/** Milliseconds between two looks of who stands by, or is blocked. */
const LOOK = 500
/** Milliseconds that one waits at least. */
const LEAST = 20
/** How the store and the target are tried again. */
const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 2_000 }
