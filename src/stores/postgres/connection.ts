import { pause, systemClock } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import {
  HistoryRewoundError,
  isMnemeError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../../base/errors.ts'
import type { PostgresClient, PostgresPool } from './driver.ts'
import { asMnemeError, asOpenError, causeOf, faultOf, isTransient } from './errors.ts'
import { Session, type SendSettings } from './session.ts'
import { SharedPool } from './shared-pool.ts'
import type { Call, Parameter, Row, Statement } from './wire.ts'

export type { Session } from './session.ts'

/** How long to wait, in milliseconds, and how statements are sent. */
export interface CallSettings {
  readonly connectTimeout: number
  readonly statementTimeout: number
  /** Whether the server keeps prepared statements for this connection: no transaction pooler is in between. */
  readonly prepare: boolean
}

/** The connections of a store. */
export class Connections {
  readonly shared: SharedPool
  readonly #settings: SendSettings
  readonly #connectTimeout: number
  readonly #check: (session: Session) => Promise<void>
  readonly #known = new WeakSet<PostgresClient>()
  #failure: HistoryRewoundError | undefined

  /** @param check runs on each connection that this store has not used before. */
  constructor(
    pool: PostgresPool,
    { connectTimeout, statementTimeout, prepare }: CallSettings,
    check: (session: Session) => Promise<void> = () => Promise.resolve(),
  ) {
    this.shared = SharedPool.of(pool)
    this.#check = check
    this.#connectTimeout = connectTimeout
    this.#settings = { prepare, statementTimeout }
  }

  /** How many connections there can be. */
  get size(): number {
    return this.shared.size
  }

  /** The same without the check, for what is no business of this store alone. */
  unchecked(): Connections {
    return new Connections(this.shared.pool, { ...this.#settings, connectTimeout: this.#connectTimeout })
  }

  /**
   * Runs a query that changes nothing, again on another connection if the first one is lost meanwhile.
   *
   * @throws StoreUnavailableError, StoreTimeoutError, StoreFailedError
   */
  async ask(statement: Statement, values: readonly Parameter[] = [], timeoutMs?: number): Promise<Row[]> {
    return (await this.askAll([{ statement, values }], timeoutMs))[0]!
  }

  /**
   * Several queries, each after those before it, in one round trip.
   *
   * @param timeoutMs a time-out shorter than that of other statements. If it passes, other connections that are
   *   silent for as long are taken for dead as well.
   */
  async askAll(calls: readonly Call[], timeoutMs?: number): Promise<Row[][]> {
    const until = environment.now() + this.#connectTimeout
    for (;;) {
      let sentAt = Infinity
      try {
        return await this.use((session) => {
          const rows = session.queryAll(calls, timeoutMs)
          sentAt = session.sentAt
          return rows
        })
      } catch (error) {
        if (error instanceof StoreTimeoutError && timeoutMs !== undefined) {
          this.shared.distrust(sentAt, timeoutMs)
        }
        const fault = isMnemeError(error) ? undefined : faultOf(error)
        const isWorthwhile = fault === 'disconnected' || fault === 'transient' || this.isUnprepared(error)
        if (!isWorthwhile || environment.now() > until) throw asMnemeError(error)
      }
    }
  }

  /**
   * Runs `work` with a connection, and throws what it throws.
   *
   * @throws StoreUnavailableError if no connection could be had; nothing was sent then.
   */
  async use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = this.#take() ?? (await this.#connect())
    try {
      if (!this.#known.has(session.client)) await this.#meet(session)
      return await work(session)
    } finally {
      this.#giveBack(session)
    }
  }

  async #meet(session: Session): Promise<void> {
    try {
      if (this.#failure) throw this.#failure
      await this.#check(session)
      this.#known.add(session.client)
    } catch (error) {
      if (!(error instanceof HistoryRewoundError)) throw error
      // What this program knows stays wrong even if a later connection reaches the old server.
      this.#failure = error
      throw error
    }
  }

  /** Whether prepared statements do not work after all. From then on none are used. */
  isUnprepared(error: unknown): boolean {
    if (faultOf(error) !== 'unprepared') return false
    // Several calls at once may each find it out.
    this.#settings.prepare = false
    return true
  }

  /** Gives back the kept connection. */
  close(): void {
    this.shared.giveBack()
  }

  #take(): Session | undefined {
    const session = this.shared.take()
    if (!session || session.isFor(this.#settings)) return session
    session.detach()
    return new Session(session.client, this.shared, this.#settings)
  }

  #giveBack(session: Session): void {
    const isKnown = this.#known.has(session.client)
    if (session.broken || !isKnown || !this.shared.keep(session)) session.release()
  }

  /** Retries until it takes too long. */
  async #connect(): Promise<Session> {
    const until = environment.now() + this.#connectTimeout
    for (let delay = MIN_CONNECT_PAUSE_MS; ; delay = Math.min(delay * 2, MAX_CONNECT_PAUSE_MS)) {
      try {
        return await this.#connectWithin(until)
      } catch (error) {
        const left = until - environment.now()
        // The caller decides what denied access means.
        if (!isTransient(error)) throw faultOf(error) === 'denied' ? error : asOpenError(error)
        if (left <= delay) {
          const message = `no connection to PostgreSQL within ${String(this.#connectTimeout)} ms`
          throw new StoreUnavailableError(message, { cause: causeOf(error) })
        }
        await pause(systemClock, delay)
      }
    }
  }

  /** A connection of the pool that is not suspected to be dead. */
  async #connectWithin(until: number): Promise<Session> {
    for (;;) {
      const client = await this.#clientWithin(until - environment.now())
      if (!this.shared.isSuspect(client)) return new Session(client, this.shared, this.#settings)
      client.on('error', () => undefined)
      client.release(true)
    }
  }

  async #clientWithin(milliseconds: number): Promise<PostgresClient> {
    // First, since it may throw.
    const connecting = this.shared.pool.connect()
    let isLate = false
    let cancel: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      cancel = environment.after(milliseconds, () => {
        isLate = true
        reject(new StoreUnavailableError('the pool has no free connection: raise its max, or use it less'))
      })
    })
    // A connection that comes too late goes back at once.
    const given = connecting.then((client) => {
      if (isLate) client.release()
      return client
    })
    given.catch(() => undefined)
    try {
      return await Promise.race([given, late])
    } finally {
      cancel?.()
    }
  }
}

/** Milliseconds between two attempts to connect; doubled each time, up to the maximum. */
const MIN_CONNECT_PAUSE_MS = 10
const MAX_CONNECT_PAUSE_MS = 500
