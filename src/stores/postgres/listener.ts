import { environment } from '../../base/environment.ts'
import { isMnemeError } from '../../base/errors.ts'
import { type Clock, pause, systemClock } from '../../base/clock.ts'
import { onAbort } from '../../base/abort.ts'
import { retryDelay } from '../../base/retry.ts'
import type { Connections } from './connection.ts'
import type { PostgresNotification, PostgresPool } from './driver.ts'
import { faultOf, type Fault } from './errors.ts'
import type { Session } from './session.ts'
import { SharedPool } from './shared-pool.ts'
import { NOTIFY, SAY_LISTENING, SAY_NOT_LISTENING, type Statements } from './statements.ts'
import type { Call, Row } from './wire.ts'

/** A store that listens to notifications of other processes. */
export interface Listening {
  readonly statements: Statements
  readonly channel: string
  /** The text that this store notifies itself, which is no news to it. */
  readonly own: string
  /** Is called on each notification, and whenever one may have been missed. */
  readonly heard: () => void
}

/** How long a listener waits. */
export interface ListenerTiming {
  /** Milliseconds within which a notification to itself has to arrive. */
  readonly probeMs: number
  /** By which it waits between two attempts. */
  readonly clock: Clock
}

/**
 * Listens to notifications for all stores on one pool, on one connection of it, as long as one of them wants to. When the
 * connection is lost it takes another one.
 *
 * Not every connection gets notifications: a transaction pooler accepts `LISTEN` and passes nothing on, and a standby
 * refuses it. So it first notifies itself. If nothing arrives, the connection is given back, and it tries again later: soon at
 * first, since a busy server or a busy process may have been the reason.
 */
export class Listener {
  readonly #pool: SharedPool
  readonly #listening = new Set<Listening>()
  #connections: Connections | undefined
  #ending: AbortController | undefined
  /** Settled when no connection is held. */
  #held: Promise<unknown> = Promise.resolve()
  /** The connection, while notifications are known to arrive. */
  #session: Session | undefined
  /** The channels that the connection listens to, with the statements of their stores. */
  #channels = new Map<string, Statements>()
  #lost: (reason: unknown) => void = () => undefined
  /** The statements on its connection, one after the other. */
  #asked: Promise<unknown> = Promise.resolve()
  /** Connections lost in a row. */
  #failures = 0
  /** Connections in a row on which no notification arrived. */
  #deafProbes = 0
  #hasWarned = false
  readonly #timing: ListenerTiming

  constructor(pool: SharedPool, timing: ListenerTiming = TIMING) {
    this.#pool = pool
    this.#timing = timing
  }

  static of(pool: PostgresPool): Listener {
    let listener = listeners.get(pool)
    if (!listener) listeners.set(pool, (listener = new Listener(SharedPool.of(pool))))
    return listener
  }

  /** Whether notifications for a store are known to arrive. */
  isHearing({ channel }: Listening): boolean {
    return this.#session !== undefined && this.#channels.has(channel)
  }

  /** Runs a query on the connection that listens. Resolves with `undefined` if there is none, or the query fails. */
  async ask({ statement, values }: Call): Promise<Row[] | undefined> {
    const session = this.#session
    if (!session) return undefined
    try {
      return await this.#inTurn(() => session.query(statement, values, HEARTBEAT_TIMEOUT_MS))
    } catch (error) {
      // A connection that does not answer gives no notifications, either.
      if (isMnemeError(error) || faultOf(error) === 'disconnected') this.#lost(error)
      return undefined
    }
  }

  /** Tells the other stores of this process on the same channel, whose session the server takes for the caller's own. */
  tellOthersHere({ channel, own }: Pick<Listening, 'channel' | 'own'>): void {
    this.#tell(channel, own)
  }

  /** @param connections by which the connection is had, if this is the first store to listen. */
  start(listening: Listening, connections: Connections): void {
    if (this.#pool.size < MIN_POOL_SIZE) {
      if (!this.#hasWarned) process.emitWarning(TOO_SMALL, { code: 'MNEME_POSTGRES_POOL_TOO_SMALL' })
      this.#hasWarned = true
      return
    }
    this.#listening.add(listening)
    this.#connections ??= connections.unchecked()
    if (this.#session) void this.#follow(this.#session)
    if (this.#ending) return
    this.#ending = new AbortController()
    void this.#run(this.#connections, this.#ending.signal)
  }

  /** Resolves when nothing is held for this store any more. */
  async stop(listening: Listening): Promise<void> {
    if (!this.#listening.delete(listening)) return
    if (this.#listening.size > 0) {
      if (this.#session) await this.#follow(this.#session)
      return
    }
    this.#ending?.abort()
    this.#ending = undefined
    this.#connections = undefined
    await this.#held
  }

  async #run(connections: Connections, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let isDeaf: boolean
      try {
        await connections.use((session) => {
          const held = this.#listen(connections, session, signal)
          this.#held = held.catch(() => undefined)
          return held
        })
        isDeaf = true
      } catch (error) {
        isDeaf = !isMnemeError(error) && REFUSALS.has(faultOf(error))
      }
      const delayMs = isDeaf
        ? retryDelay(RETRY_DEAF, ++this.#deafProbes, 1)
        : retryDelay(RETRY, ++this.#failures, environment.random())
      await pause(this.#timing.clock, delayMs, signal)
    }
  }

  /** A connection runs one query at a time. */
  #inTurn<T>(query: () => Promise<T>): Promise<T> {
    const asked = this.#asked.then(query)
    this.#asked = asked.catch(() => undefined)
    return asked
  }

  /** Resolves if no notifications arrive. @throws when the connection is lost, or is to be given back. */
  async #listen(connections: Connections, session: Session, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { client } = session
    // It is ended afterwards: the next user would get the notifications.
    session.broken = new Error('it listened')
    let end: (reason: unknown) => void = () => undefined
    const over = new Promise<never>((_, reject) => {
      end = reject
    })
    over.catch(() => undefined)
    const unlessOver = <T>(work: Promise<T>) => {
      work.catch(() => undefined)
      return Promise.race([over, work])
    }
    const probe = environment.uuid()
    let passed: () => void = () => undefined
    const isProven = new Promise<true>((resolve) => {
      passed = () => {
        resolve(true)
      }
    })
    const told = ({ channel, payload }: PostgresNotification) => {
      if (payload === probe) passed()
      else this.#tell(channel, payload)
    }
    client.on('error', end)
    client.on('notification', told)
    const heartbeat = () =>
      this.#inTurn(() => session.query({ name: '', text: 'SELECT' }, [], HEARTBEAT_TIMEOUT_MS))
    const stops = [
      onAbort(signal, () => {
        end(signal.reason)
      }),
      this.#pool.onDistrust(() => {
        heartbeat().catch(end)
      }),
    ]
    try {
      const [first] = this.#listening
      if (!first) return
      const { channel, statements } = first
      await unlessOver(this.#inTurn(() => session.query(listenTo(channel))))
      await unlessOver(connections.ask(statements.of(NOTIFY), [channel, probe]))
      if (!(await unlessOver(Promise.race([isProven, after(this.#timing.probeMs)])))) {
        await unlessOver(session.query({ name: '', text: 'UNLISTEN *' }))
        return
      }
      this.#session = session
      this.#lost = end
      this.#failures = this.#deafProbes = 0
      await unlessOver(this.#follow(session))
      for (;;) {
        await unlessOver(after(HEARTBEAT_MS))
        // A connection that is dead without a word would be silent for ever.
        await unlessOver(heartbeat())
      }
    } finally {
      this.#session = undefined
      this.#channels = new Map()
      for (const stop of stops) stop()
      client.off('error', end)
      client.off('notification', told)
    }
  }

  /** Makes the connection listen to the channels of the listening stores, and to no other channels. */
  async #follow(session: Session): Promise<void> {
    try {
      await this.#inTurn(async () => {
        if (this.#session !== session) return
        const wanted = new Map([...this.#listening].map((store) => [store.channel, store.statements]))
        const more = [...wanted].filter(([channel]) => !this.#channels.has(channel))
        const less = [...this.#channels].filter(([channel]) => !wanted.has(channel))
        const listen = async (stores: typeof more) => {
          if (stores.length === 0) return
          await session.queryAll(stores.map(([channel]) => ({ statement: listenTo(channel), values: [] })))
          // As long as no session says that it listens, none is notified.
          await session.queryAll(
            stores.map(([, statements]) => ({ statement: statements.of(SAY_LISTENING), values: [] })),
          )
          for (const [channel, statements] of stores) this.#channels.set(channel, statements)
        }
        await listen(more).catch(async (error: unknown) => {
          if (!isRefusal(error)) throw error
          // For example, the schema of one store is gone: that store polls, and the others listen.
          for (const store of more) await listen([store]).catch(throwUnlessRefusal)
        })
        for (const [channel, statements] of less) {
          this.#channels.delete(channel)
          await session.query({ name: '', text: `UNLISTEN "${channel}"` })
          await session.query(statements.of(SAY_NOT_LISTENING)).catch(throwUnlessRefusal)
        }
        for (const [channel] of more) this.#tell(channel, undefined)
      })
    } catch (error) {
      this.#lost(error)
    }
  }

  #tell(channel: string, payload: string | undefined): void {
    for (const listening of [...this.#listening]) {
      if (listening.channel === channel && listening.own !== payload) listening.heard()
    }
  }
}

function isRefusal(error: unknown): boolean {
  return !isMnemeError(error) && faultOf(error) !== 'disconnected'
}

function throwUnlessRefusal(error: unknown): void {
  if (!isRefusal(error)) throw error
}

function listenTo(channel: string): { name: string; text: string } {
  return { name: '', text: `LISTEN "${channel}"` }
}

/** Resolves after so many milliseconds, if something else keeps the process. */
function after(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => {
    environment.afterInBackground(milliseconds, () => {
      resolve(undefined)
    })
  })
}

const listeners = new WeakMap<PostgresPool, Listener>()

const TOO_SMALL =
  'a pg.Pool with fewer than 3 connections is too small to listen to notifications: subscriptions are polled. Raise its max'

/** Errors of a server that refuses to listen. */
const REFUSALS: ReadonlySet<Fault> = new Set(['read-only', 'denied', 'refused'] as const)
/** The smallest pool that can spare a connection: one is left to append, one to read. */
const MIN_POOL_SIZE = 3
/** Delays, in milliseconds, between attempts to connect again. */
const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 1_000 }
/** Delays, in milliseconds, between attempts on which no notification arrived: 5 s, 10 s, up to 10 minutes. */
const RETRY_DEAF = { maxRetries: Infinity, baseDelay: 5_000, minDelay: 0, maxDelay: 600_000 }
/** Milliseconds within which a notification to itself has to arrive. */
export const PROBE_MS = 1_000
const TIMING: ListenerTiming = { probeMs: PROBE_MS, clock: systemClock }
/** Milliseconds between two checks that the connection is alive, and the time-out of each. */
const HEARTBEAT_MS = 10_000
const HEARTBEAT_TIMEOUT_MS = 5_000
