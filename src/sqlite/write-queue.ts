import { OutcomeUnknownError, StoreBusyError } from '../errors.ts'
import { withdrawOnAbort } from '../on-abort.ts'
import type { AppendRequest, AppendVerdict } from '../store-adapter.ts'
import { commitBatch, tookEffect, type BatchOutcome } from './batch.ts'
import { RETRY } from './busy.ts'
import type { Connection } from './connection.ts'
import { isTurnDue } from './event-loop.ts'
import { faultOf, isBusy, isFull } from './faults.ts'
import type { Turn } from './turn.ts'

/**
 * The appends of one process to one file. Those that wait are committed together; nobody waits for company.
 *
 * A batch runs when the microtasks at hand are through: callers whose appends were just committed, and who go
 * on to append again, so meet in the next one.
 */
export class WriteQueue {
  readonly #connection: Connection
  readonly #turn: Turn
  #waiting: Waiting[] = []
  /** Whether a run is to come, or a commit is being found out about. */
  #isScheduled = false
  #idle: (() => void)[] = []

  constructor(connection: Connection, turn: Turn) {
    this.#connection = connection
    this.#turn = turn
  }

  /** Resolves with the verdict once it is committed. Until its batch begins, `signal` withdraws it. */
  append(request: AppendRequest, timeout: number, signal?: AbortSignal): Promise<AppendVerdict> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { request, timeout, since: undefined, resolve, reject }
      this.#waiting.push(waiting)
      if (signal) withdrawOnAbort(signal, waiting, () => this.#waiting)
      if (!this.#isScheduled) this.#schedule()
    })
  }

  /** Resolves when nothing waits and nothing runs. */
  async idle(): Promise<void> {
    if (this.#isScheduled) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #schedule(): void {
    this.#isScheduled = true
    // The next tick comes after all microtasks, but before timers and I/O: those get their turn now and then.
    if (isTurnDue()) setImmediate(this.#run)
    else process.nextTick(this.#run)
  }

  readonly #run = (): void => {
    if (this.#waiting.length === 0) this.#done()
    else if (this.#turn.isAnothers()) this.#retryLater(undefined)
    else this.#conclude(commitBatch(this.#connection, this.#waiting))
  }

  #conclude(outcome: BatchOutcome): void {
    if (outcome.kind === 'failed' && isBusy(outcome.error)) {
      this.#retryLater(outcome.error)
      return
    }
    this.#turn.taken()
    const count = outcome.kind === 'failed' ? outcome.tried : outcome.verdicts.length
    const batch = count === this.#waiting.length ? this.#waiting : this.#waiting.slice(0, count)
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count)
    // The lock was had: from here on they wait for this process, and not for another.
    for (const waiting of this.#waiting) waiting.since = undefined
    if (outcome.kind === 'doubtful') {
      void this.#settle(batch, outcome)
      return
    }
    if (outcome.kind === 'committed') release(batch, outcome.verdicts)
    else refuse(batch, outcome.error)
    this.#done()
  }

  #done(): void {
    if (this.#waiting.length > 0) {
      this.#schedule()
      return
    }
    this.#isScheduled = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Another process has the lock, or is to have it. */
  #retryLater(error: unknown): void {
    const now = performance.now()
    this.#waiting = this.#waiting.filter((waiting) => {
      const waited = now - (waiting.since ??= now)
      if (waited < waiting.timeout) return true
      waiting.reject(new StoreBusyError(waited, { cause: error }))
      return false
    })
    if (this.#waiting.length === 0) {
      this.#turn.givenUp()
      this.#done()
    } else {
      this.#turn.wait()
      setTimeout(this.#run, RETRY)
    }
  }

  /** COMMIT failed: looks whether the batch is there all the same. Nothing else is written meanwhile. */
  async #settle(batch: Waiting[], outcome: BatchOutcome & { kind: 'doubtful' }): Promise<void> {
    const { verdicts, error } = outcome
    const deadline = performance.now() + Math.max(...batch.map(({ timeout }) => timeout))
    for (let pause = RETRY; ; pause *= 2) {
      try {
        const settled = tookEffect(this.#connection, batch, verdicts)
        if (settled) release(batch, settled)
        else if (isBusy(error)) this.#waiting.unshift(...batch)
        else {
          if (!isFull(error)) this.#connection.supersede()
          refuse(batch, error)
        }
        break
      } catch (cause) {
        const left = deadline - performance.now()
        if (left <= 0) {
          const message = 'COMMIT failed, and so did looking whether it took effect'
          for (const { reject } of batch) reject(new OutcomeUnknownError(message, { cause }))
          break
        }
        await new Promise((resolve) => setTimeout(resolve, Math.min(pause, left)))
      }
    }
    this.#done()
  }
}

interface Waiting {
  readonly request: AppendRequest
  /** Milliseconds that it waits for other processes. */
  readonly timeout: number
  /** When it was first in the way of another process. */
  since: number | undefined
  resolve: (verdict: AppendVerdict) => void
  reject: (reason: unknown) => void
}

function release(batch: readonly Waiting[], verdicts: readonly AppendVerdict[]): void {
  for (const [i, { resolve }] of batch.entries()) resolve(verdicts[i]!)
}

function refuse(batch: readonly Waiting[], error: unknown): void {
  for (const { reject } of batch) reject(faultOf(error))
}
