import {
  HistoryRewoundError,
  isMnemeError,
  OutcomeUnknownError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../../base/errors.ts'
import { listenTo, type PostgresClient, type PostgresPool } from './driver.ts'
import { asMnemeError, asOpenError, causeOf, faultOf, isTransient } from './errors.ts'
import { WireQuery, type Call, type Parameter, type Row, type Statement } from './wire.ts'

/** How long is waited for what, in milliseconds, and how statements are sent. */
export interface CallSettings {
  readonly connectTimeout: number
  readonly statementTimeout: number
  /** Whether the server keeps prepared statements for this side: no transaction pooler is between them. */
  readonly prepare: boolean
}

/** A connection in use. */
export class Session {
  readonly client: PostgresClient
  /** Why it is of no more use. */
  broken: Error | undefined
  /** Whether the server warned that a commit may not have reached a synchronous standby. */
  isWarned = false
  readonly #settings: { prepare: boolean; statementTimeout: number }
  readonly #failed: (error: Error) => void
  readonly #noticed: (notice: Error) => void
  #running: { readonly until: number; readonly reject: (error: Error) => void } | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(client: PostgresClient, settings: { prepare: boolean; statementTimeout: number }) {
    this.client = client
    this.#settings = settings
    this.#failed = (error) => (this.broken ??= error)
    this.#noticed = (notice) => {
      // "canceling wait for synchronous replication": the commit is local, and perhaps nowhere else.
      if ((notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN') this.isWarned = true
    }
    client.on('error', this.#failed)
    client.on('notice', this.#noticed)
  }

  /**
   * One after the other: a session runs one query at a time.
   *
   * @throws what the server says, or StoreTimeoutError; after that one the connection is of no more use.
   */
  async query(statement: Statement, values: readonly Parameter[] = []): Promise<Row[]> {
    return (await this.queryAll([{ statement, values }]))[0]!
  }

  /** Several in one transaction and one round trip, each after those before it. @throws as above, where one fails. */
  queryAll(calls: readonly Call[]): Promise<Row[][]> {
    const { statementTimeout, prepare } = this.#settings
    return new Promise((resolve, reject) => {
      this.#running = { until: performance.now() + statementTimeout, reject }
      this.#watch(statementTimeout)
      const answered = (rows: Row[][]) => {
        this.#running = undefined
        resolve(rows)
      }
      const failed = (error: Error) => {
        this.#running = undefined
        const fault = faultOf(error)
        // A server that takes no writes any more has a successor elsewhere.
        if (fault === 'disconnected' || fault === 'read-only') this.broken ??= error
        reject(error)
      }
      const sent = prepare ? calls : calls.map(unnamed)
      this.client.query(new WireQuery(sent, answered, failed))
    })
  }

  /** One timer for many queries: when it fires, the one that runs is rarely the one for which it was set. */
  #watch(milliseconds: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (!this.#running) return
      const { until, reject } = this.#running
      const left = until - performance.now()
      if (left > 0) {
        this.#watch(left)
        return
      }
      const message = `PostgreSQL did not answer within ${String(this.#settings.statementTimeout)} ms`
      this.broken = new StoreTimeoutError(message)
      reject(this.broken)
    }, milliseconds).unref()
  }

  /** Gives the connection back, or ends it where it is of no more use. */
  release(): void {
    clearTimeout(this.#timer)
    this.client.off('error', this.#failed)
    this.client.off('notice', this.#noticed)
    // An ended one may still fail, and nobody would listen.
    if (this.broken) this.client.on('error', () => undefined)
    this.client.release(this.broken !== undefined)
  }
}

/**
 * The connections of a store. One that was used is kept at hand for a moment: to ask a pool for one costs as much
 * as a tenth of an append.
 */
export class Connections {
  readonly #pool: PostgresPool
  readonly #settings: { prepare: boolean; statementTimeout: number }
  readonly #connectTimeout: number
  readonly #check: (session: Session) => Promise<void>
  readonly #known = new WeakSet<PostgresClient>()
  #failure: HistoryRewoundError | undefined
  #kept: Session | undefined
  #keptTimer: NodeJS.Timeout | undefined

  /** @param check is done on each connection that was not had before. */
  constructor(
    pool: PostgresPool,
    { connectTimeout, statementTimeout, prepare }: CallSettings,
    check: (session: Session) => Promise<void> = () => Promise.resolve(),
  ) {
    listenTo(pool)
    this.#pool = pool
    this.#check = check
    this.#connectTimeout = connectTimeout
    this.#settings = { prepare, statementTimeout }
  }

  /** How many connections there can be. */
  get size(): number {
    return this.#pool.options?.max ?? 10
  }

  /**
   * Asks something that changes nothing. If the connection is lost meanwhile, it is asked again on another.
   *
   * @throws StoreUnavailableError, StoreTimeoutError, StoreFailedError
   */
  async ask(statement: Statement, values: readonly Parameter[] = []): Promise<Row[]> {
    return (await this.askAll([{ statement, values }]))[0]!
  }

  /** The same of several statements, each after those before it, in one round trip. */
  async askAll(calls: readonly Call[]): Promise<Row[][]> {
    const until = performance.now() + this.#connectTimeout
    for (;;) {
      try {
        return await this.use((session) => session.queryAll(calls))
      } catch (error) {
        const fault = isMnemeError(error) ? undefined : faultOf(error)
        const isWorthwhile = fault === 'disconnected' || fault === 'transient' || this.isUnprepared(error)
        if (!isWorthwhile || performance.now() > until) throw asMnemeError(error)
      }
    }
  }

  /**
   * Does something on a connection. What it throws is thrown.
   *
   * @throws StoreUnavailableError where no connection is to be had; nothing was sent then.
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
      // What this program knows stays wrong, also if a later connection should lead elsewhere.
      this.#failure = error
      throw error
    }
  }

  /** Whether prepared statements do not work after all. From then on none are used. */
  isUnprepared(error: unknown): boolean {
    if (faultOf(error) !== 'unprepared') return false
    // Of several calls at once each may find it out.
    this.#settings.prepare = false
    return true
  }

  /** Gives back what is kept. */
  close(): void {
    clearTimeout(this.#keptTimer)
    this.#keptTimer = undefined
    this.#take()?.release()
  }

  #take(): Session | undefined {
    const session = this.#kept
    this.#kept = undefined
    if (!session?.broken) return session
    session.release()
    return undefined
  }

  #giveBack(session: Session): void {
    const isKnown = this.#known.has(session.client)
    if (session.broken || !isKnown || this.#kept || (this.#pool.waitingCount ?? 0) > 0) {
      session.release()
      return
    }
    this.#kept = session
    // One timer that looks now and then, rather than one for each call.
    this.#keptTimer ??= setTimeout(() => {
      this.close()
    }, KEPT)
  }

  /** Tries until it takes too long. */
  async #connect(): Promise<Session> {
    const until = performance.now() + this.#connectTimeout
    for (let pause = 10; ; pause = Math.min(pause * 2, 500)) {
      try {
        return await this.#connectWithin(until - performance.now())
      } catch (error) {
        const left = until - performance.now()
        // What it means that access is denied depends on who asks.
        if (!isTransient(error)) throw faultOf(error) === 'denied' ? error : asOpenError(error)
        if (left <= pause) {
          const message = `no connection to PostgreSQL within ${String(this.#connectTimeout)} ms`
          throw new StoreUnavailableError(message, { cause: causeOf(error) })
        }
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  async #connectWithin(milliseconds: number): Promise<Session> {
    // First, since it may throw.
    const connecting = this.#pool.connect()
    let isLate = false
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        isLate = true
        reject(new StoreUnavailableError('the pool has no connection free'))
      }, milliseconds)
    })
    // One that comes too late goes back at once.
    const given = connecting.then((client) => {
      if (isLate) client.release()
      return client
    })
    given.catch(() => undefined)
    try {
      return new Session(await Promise.race([given, late]), this.#settings)
    } finally {
      clearTimeout(timer)
    }
  }
}

function unnamed({ statement, values }: Call): Call {
  return { statement: { name: '', text: statement.text }, values }
}

/** The error of a commit that was reported with such a warning. */
export function cancelledWait(session: Session): OutcomeUnknownError {
  session.isWarned = false
  return new OutcomeUnknownError('the wait for a synchronous standby was cancelled: the commit is local only')
}

/** Milliseconds for which a connection is kept at hand. */
const KEPT = 50
