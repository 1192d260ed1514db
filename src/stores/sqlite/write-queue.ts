import { pause, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import { OutcomeUnknownError, StoreBusyError } from '../../base/errors.ts'
import { withdrawOnAbort } from '../../base/abort.ts'
import type { AppendRequest, AppendVerdict } from '../../adapter/store-adapter.ts'
import { type BatchOutcome, commitBatch, hasWritten, tookEffect } from './append.ts'
import { faultOf, isBusy, isFull, BUSY_RETRY_MS } from './errors.ts'
import type { CommitSignal, RecentEvents } from './subscribe.ts'
import type { Connection } from './connection.ts'
import { isTurnDue } from './event-loop.ts'
import type { WriteTurns } from './write-turns.ts'
import { commitWorks, type WorksOutcome } from './transactions.ts'

/**
 * The writes of one process to one file: appends, and work of projections. Appends that wait are committed together, and
 * so is other work; nothing waits for more to come.
 *
 * A batch runs after all pending microtasks, so that callers whose appends were just committed, and who append again,
 * meet in the next batch.
 */
export class WriteQueue {
  readonly #connection: Connection
  readonly #turns: WriteTurns
  readonly #signal: CommitSignal
  readonly #recent: RecentEvents
  #waiting: Waiting[] = []
  /** Whether a run is scheduled, or a commit in doubt is being settled. */
  #isScheduled = false
  #idle: (() => void)[] = []

  /** @param recent is given the appended events while a subscriber waits for the signal. */
  constructor(connection: Connection, turns: WriteTurns, signal: CommitSignal, recent: RecentEvents) {
    this.#connection = connection
    this.#turns = turns
    this.#signal = signal
    this.#recent = recent
  }

  /** Resolves with the verdict once it is committed. Until its batch begins, `signal` withdraws it. */
  append(request: AppendRequest, timeout: number, signal?: AbortSignal): Promise<AppendVerdict> {
    return new Promise((resolve, reject) => {
      this.#add({ request, timeout, since: undefined, resolve, reject }, signal)
    })
  }

  /**
   * Does work in a transaction and resolves with its result once that is committed. The work may be done twice. Until it
   * begins, `signal` withdraws it.
   *
   * @throws what the work throws; nothing was written then.
   */
  write<T>(work: () => T, timeout: number, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (value: unknown) => {
        resolve(value as T)
      }
      this.#add({ work, timeout, since: undefined, resolve: done, reject }, signal)
    })
  }

  /** Resolves when nothing waits and nothing runs. */
  async idle(): Promise<void> {
    if (this.#isScheduled) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #add(waiting: Waiting, signal: AbortSignal | undefined): void {
    this.#waiting.push(waiting)
    if (signal) withdrawOnAbort(signal, waiting, () => this.#waiting)
    if (!this.#isScheduled) this.#schedule()
  }

  #schedule(): void {
    this.#isScheduled = true
    // The next tick comes after all microtasks and before timers and I/O, which get a turn from time to time.
    if (isTurnDue()) environment.nextTurn(this.#run)
    else process.nextTick(this.#run)
  }

  readonly #run = (): void => {
    const [first] = this.#waiting
    if (!first) this.#done()
    else if (this.#turns.isAnothers()) this.#retryLater(undefined)
    else if (isWork(first)) {
      const works = leading(this.#waiting, isWork)
      const outcome = commitWorks(
        this.#connection,
        works.map(({ work }) => work),
      )
      this.#concludeWorks(works, outcome)
    } else {
      const appends = leading(this.#waiting, isAppend)
      this.#conclude(appends, commitBatch(this.#connection, appends))
    }
  }

  #conclude(appends: WaitingAppend[], outcome: BatchOutcome): void {
    if (outcome.kind === 'failed' && isBusy(outcome.error)) {
      this.#retryLater(outcome.error)
      return
    }
    const count = outcome.kind === 'failed' ? outcome.tried : outcome.verdicts.length
    const batch = count === appends.length ? appends : appends.slice(0, count)
    this.#taken(count)
    if (outcome.kind === 'doubtful') {
      void this.#settle(batch, outcome)
      return
    }
    if (outcome.kind === 'committed') this.#release(batch, outcome.verdicts)
    else refuse(batch, outcome.error)
    this.#done()
  }

  #concludeWorks(works: WaitingWork[], outcome: WorksOutcome): void {
    if (outcome.kind === 'failed') {
      if (isBusy(outcome.error)) {
        this.#retryLater(outcome.error)
        return
      }
      this.#taken(1)
      works[0]!.reject(faultOf(outcome.error))
    } else {
      this.#taken(outcome.outcomes.length)
      for (const [i, one] of outcome.outcomes.entries()) {
        if (one.kind === 'committed') works[i]!.resolve(one.value)
        else works[i]!.reject(one.error)
      }
    }
    this.#done()
  }

  /** This process got the lock: what still waits now waits for this process, not for another one. */
  #taken(count: number): void {
    this.#turns.taken()
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count)
    for (const waiting of this.#waiting) waiting.since = undefined
  }

  #release(batch: readonly WaitingAppend[], verdicts: readonly AppendVerdict[]): void {
    for (const [i, { resolve }] of batch.entries()) resolve(verdicts[i]!)
    if (!verdicts.some(hasWritten)) return
    this.#note(batch, verdicts)
    this.#signal.committed()
  }

  /** Keeps the appended events for subscribers that wait. */
  #note(batch: readonly WaitingAppend[], verdicts: readonly AppendVerdict[]): void {
    if (!this.#signal.isWatched) {
      this.#recent.clear()
      return
    }
    for (const [i, { request }] of batch.entries()) {
      const verdict = verdicts[i]!
      if (hasWritten(verdict)) this.#recent.add(request, verdict)
    }
  }

  #done(): void {
    if (this.#waiting.length > 0) {
      this.#schedule()
      return
    }
    this.#isScheduled = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Another process has the lock, or its turn comes first. */
  #retryLater(error: unknown): void {
    const now = environment.now()
    this.#waiting = this.#waiting.filter((waiting) => {
      const waited = now - (waiting.since ??= now)
      if (waited < waiting.timeout) return true
      waiting.reject(new StoreBusyError(waited, { cause: error }))
      return false
    })
    if (this.#waiting.length === 0) {
      this.#turns.givenUp()
      this.#done()
    } else {
      this.#turns.wait()
      environment.after(BUSY_RETRY_MS, this.#run)
    }
  }

  /** COMMIT failed: looks whether the batch was stored nevertheless. Nothing else is written meanwhile. */
  async #settle(batch: WaitingAppend[], outcome: BatchOutcome & { kind: 'doubtful' }): Promise<void> {
    const { verdicts, error } = outcome
    const deadline = environment.now() + Math.max(...batch.map(({ timeout }) => timeout))
    for (let delay = BUSY_RETRY_MS; ; delay *= 2) {
      try {
        const settled = tookEffect(this.#connection, batch, verdicts)
        if (settled) this.#release(batch, settled)
        else if (isBusy(error)) this.#waiting.unshift(...batch)
        else {
          if (!isFull(error)) this.#connection.overwriteFailedCommit()
          refuse(batch, error)
        }
        break
      } catch (cause) {
        const left = deadline - environment.now()
        if (left <= 0) {
          const message =
            'COMMIT failed, and so did reading back whether it took effect: look for the events before you append them again'
          for (const { reject } of batch) reject(new OutcomeUnknownError(message, { cause }))
          break
        }
        await pause(systemClock, Math.min(delay, left))
      }
    }
    this.#done()
  }
}

interface WaitsInTurn {
  /** The most milliseconds that it waits for other processes. */
  readonly timeout: number
  /** When another process first kept it from running. */
  since: number | undefined
  reject: (reason: unknown) => void
}

interface WaitingAppend extends WaitsInTurn {
  readonly request: AppendRequest
  resolve: (verdict: AppendVerdict) => void
}

interface WaitingWork extends WaitsInTurn {
  readonly work: () => unknown
  resolve: (value: unknown) => void
}

type Waiting = WaitingAppend | WaitingWork

function isWork(waiting: Waiting): waiting is WaitingWork {
  return 'work' in waiting
}

function isAppend(waiting: Waiting): waiting is WaitingAppend {
  return !isWork(waiting)
}

/** The entries before the first of another kind. */
function leading<W extends Waiting>(waiting: Waiting[], isOfKind: (one: Waiting) => one is W): W[] {
  const end = waiting.findIndex((one) => !isOfKind(one))
  return (end < 0 ? waiting : waiting.slice(0, end)) as W[]
}

function refuse(batch: readonly WaitingAppend[], error: unknown): void {
  for (const { reject } of batch) reject(faultOf(error))
}
