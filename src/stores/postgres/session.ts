import { environment } from '../../base/environment.ts'
import { OutcomeUnknownError, StoreTimeoutError } from '../../base/errors.ts'
import type { PostgresClient } from './driver.ts'
import { faultOf } from './errors.ts'
import { WireQuery, type Call, type Parameter, type Row, type Statement } from './wire.ts'

/** How statements are sent; `prepare` becomes false when a pooler turns out to lose them. */
export interface SendSettings {
  prepare: boolean
  readonly statementTimeout: number
}

/** Learns which sessions wait for an answer. */
export interface SessionObserver {
  started(session: Session): void
  /** @param isAnswer whether the server has answered; otherwise the statement was given up. */
  ended(session: Session, isAnswer: boolean): void
}

/** A connection in use. */
export class Session {
  readonly client: PostgresClient
  /** Why it cannot be used any more. */
  broken: Error | undefined
  /** Whether the server warned that a commit may not have reached a synchronous standby. */
  isWarned = false
  /** When the last statement was sent, as `environment.now()` counts. */
  sentAt = -Infinity
  readonly #observer: SessionObserver
  readonly #settings: SendSettings
  readonly #failed: (error: Error) => void
  readonly #noticed: (notice: Error) => void
  #running: Running | undefined
  #cancelTimer: (() => void) | undefined
  #timerAt = Infinity

  constructor(client: PostgresClient, observer: SessionObserver, settings: SendSettings) {
    this.client = client
    this.#observer = observer
    this.#settings = settings
    this.#failed = (error) => (this.broken ??= error)
    this.#noticed = (notice) => {
      // "canceling wait for synchronous replication": the commit is local, and perhaps nowhere else.
      if ((notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN') this.isWarned = true
    }
    client.on('error', this.#failed)
    client.on('notice', this.#noticed)
  }

  /** Whether it was made for these settings. */
  isFor(settings: SendSettings): boolean {
    return this.#settings === settings
  }

  /**
   * Sends a statement. A session runs one at a time.
   *
   * @param shorterMs a time-out shorter than `statementTimeout`.
   * @throws the server's error, or StoreTimeoutError, after which the connection cannot be used any more.
   */
  async query(statement: Statement, values: readonly Parameter[] = [], shorterMs?: number): Promise<Row[]> {
    return (await this.queryAll([{ statement, values }], shorterMs))[0]!
  }

  /** Several in one transaction and one round trip, each after those before it. @throws as `query`, if one fails. */
  queryAll(calls: readonly Call[], shorterMs = Infinity): Promise<Row[][]> {
    const timeoutMs = Math.min(shorterMs, this.#settings.statementTimeout)
    return new Promise((resolve, reject) => {
      const now = environment.now()
      this.sentAt = now
      this.#running = { until: now + timeoutMs, timeoutMs, reject }
      this.#observer.started(this)
      this.#watch(now + timeoutMs)
      const answered = (rows: Row[][]) => {
        this.#running = undefined
        this.#observer.ended(this, true)
        resolve(rows)
      }
      const failed = (error: Error) => {
        this.#running = undefined
        const fault = faultOf(error)
        this.#observer.ended(this, fault !== 'disconnected')
        // A server that takes no writes any more has a successor elsewhere.
        if (fault === 'disconnected' || fault === 'read-only') this.broken ??= error
        reject(error)
      }
      const sent = this.#settings.prepare ? calls : calls.map(unnamed)
      // The callback is for those who wrap the driver's queries to trace them: it tells them when this one is over.
      this.client.query(new WireQuery(sent, answered, failed), () => undefined)
    })
  }

  /** One timer for many queries: when it fires, the query for which it was set is rarely the one that runs. */
  #watch(until: number): void {
    if (this.#timerAt <= until) return
    this.#cancelTimer?.()
    this.#timerAt = until
    this.#cancelTimer = environment.afterInBackground(until - environment.now(), () => {
      this.#timerAt = Infinity
      if (!this.#running) return
      if (environment.now() < this.#running.until) this.#watch(this.#running.until)
      else this.#giveUp()
    })
  }

  /** Gives the statement that runs a shorter time-out, counted from when it was sent: it may have passed. */
  waitAtMost(timeoutMs: number): void {
    if (!this.#running || this.#running.timeoutMs <= timeoutMs) return
    const until = this.sentAt + timeoutMs
    this.#running = { ...this.#running, timeoutMs, until }
    if (environment.now() < until) this.#watch(until)
    else this.#giveUp()
  }

  /** The answer is late. */
  #giveUp(): void {
    if (!this.#running) return
    const { reject, timeoutMs, until } = this.#running
    this.#running = undefined
    this.#observer.ended(this, false)
    const waited = Math.min(timeoutMs, Math.round(environment.now() - until + timeoutMs))
    this.broken = new StoreTimeoutError(`PostgreSQL did not answer within ${String(waited)} ms`)
    reject(this.broken)
  }

  /** Leaves the connection as it is, for a session of another store. */
  detach(): void {
    this.#cancelTimer?.()
    this.#timerAt = Infinity
    this.client.off('error', this.#failed)
    this.client.off('notice', this.#noticed)
  }

  /** Gives the connection back to the pool, or ends it if it cannot be used any more. */
  release(): void {
    this.detach()
    // A connection that is being ended may still report an error.
    if (this.broken) this.client.on('error', () => undefined)
    this.client.release(this.broken !== undefined)
  }
}

interface Running {
  readonly until: number
  readonly timeoutMs: number
  readonly reject: (error: Error) => void
}

function unnamed({ statement, values }: Call): Call {
  return { statement: { name: '', text: statement.text }, values }
}

/** The error of a commit that was reported with such a warning. */
export function cancelledWait(session: Session): OutcomeUnknownError {
  session.isWarned = false
  return new OutcomeUnknownError('the wait for a synchronous standby was cancelled: the commit is local only')
}
