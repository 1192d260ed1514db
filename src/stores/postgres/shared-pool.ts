import { environment } from '../../base/environment.ts'
import type { PostgresClient, PostgresPool } from './driver.ts'
import type { Session, SessionObserver } from './session.ts'

/**
 * The state that all stores on one pool of this process share, so that many stores do not use the pool up: the one connection
 * that is kept for the next call, and which connections may be dead.
 */
export class SharedPool implements SessionObserver {
  readonly pool: PostgresPool
  /** The last connection used: to ask a pool for one costs as much as a tenth of an append. */
  #kept: Session | undefined
  #cancelKept: (() => void) | undefined
  readonly #answeredAt = new WeakMap<PostgresClient, number>()
  /** Sessions with a statement that is not answered yet. */
  readonly #running = new Set<Session>()
  /** Connections without an answer since then may be dead. */
  #suspectBefore = -Infinity
  readonly #distrusted = new Set<() => void>()

  constructor(pool: PostgresPool) {
    this.pool = pool
    pool.on('connect', (client) => {
      this.#answeredAt.set(client, environment.now())
      // A connection may break just while it is handed out, when the pool no longer listens to its errors.
      client.on('error', () => undefined)
    })
  }

  static of(pool: PostgresPool): SharedPool {
    let shared = sharedPools.get(pool)
    if (!shared) sharedPools.set(pool, (shared = new SharedPool(pool)))
    return shared
  }

  /** How many connections there can be. */
  get size(): number {
    return this.pool.options?.max ?? 10
  }

  /** Hands over the kept connection, if there is one. */
  take(): Session | undefined {
    const session = this.#kept
    this.#kept = undefined
    if (!session || (!session.broken && !this.isSuspect(session.client))) return session
    session.broken ??= new Error('the connection may be dead')
    session.release()
    return undefined
  }

  /** Keeps a connection for the next call. @returns false if another one is kept, or a call waits for one. */
  keep(session: Session): boolean {
    const { waitingCount = 0, totalCount, idleCount = 1 } = this.pool
    const isScarce = waitingCount > 0 || (idleCount === 0 && totalCount >= this.size)
    if (this.#kept || isScarce) return false
    this.#kept = session
    // One timer that looks now and then, rather than one for each call.
    this.#cancelKept ??= environment.after(KEPT_MS, () => {
      this.giveBack()
    })
    return true
  }

  /** Gives the kept connection back to the pool. */
  giveBack(): void {
    this.#cancelKept?.()
    this.#cancelKept = undefined
    this.take()?.release()
  }

  started(session: Session): void {
    this.#running.add(session)
  }

  ended(session: Session, isAnswer: boolean): void {
    this.#running.delete(session)
    if (isAnswer) this.#answeredAt.set(session.client, environment.now())
  }

  /** Whether a connection was silent since before a statement to which no answer came. */
  isSuspect(client: PostgresClient): boolean {
    return (this.#answeredAt.get(client) ?? -Infinity) < this.#suspectBefore
  }

  /**
   * Nothing came back for a statement that was sent then and waited for so many milliseconds, as on a network that
   * swallows everything. Statements on connections that are silent since before then are given up once they have waited
   * for as long, and none of these connections is used again.
   */
  distrust(sentAt: number, waitedMs: number): void {
    this.#suspectBefore = Math.max(this.#suspectBefore, sentAt)
    for (const session of [...this.#running]) {
      if (this.isSuspect(session.client)) session.waitAtMost(waitedMs)
    }
    for (const check of [...this.#distrusted]) check()
  }

  /** Calls back when connections may be dead. @returns what ends it. */
  onDistrust(check: () => void): () => void {
    this.#distrusted.add(check)
    return () => this.#distrusted.delete(check)
  }
}

const sharedPools = new WeakMap<PostgresPool, SharedPool>()

/** Milliseconds for which a connection is kept. */
const KEPT_MS = 50
