import { isMnemeError } from '../../base/errors.ts'
import { pause } from '../../adapter/subscription-hub.ts'
import { onAbort } from '../../base/abort.ts'
import { retryDelay } from '../../base/retry.ts'
import type { Connections, Session } from './connection.ts'
import type { PostgresNotification } from './driver.ts'
import { faultOf, type Fault } from './errors.ts'
import { NOTIFY, SAY_LISTENING, type Statements } from './statements.ts'
import type { Call, Row } from './wire.ts'

/** Where to listen, and to what. */
export interface Channel {
  readonly name: string
  /** What this process notifies itself, which is no news to it. */
  readonly own: string
}

/**
 * Listens to what other processes notify, on one connection of the pool, for as long as it is told to. When the
 * connection is lost it takes another one.
 *
 * Not every connection hears: a transaction pooler takes `LISTEN`, and lets nothing come through; a standby refuses.
 * So it notifies itself first. Where nothing comes of it, the connection is given back, and tried again much later.
 */
export class Listener {
  readonly #connections: Connections
  readonly #statements: Statements
  readonly #channel: Channel
  readonly #heard: () => void
  #ending: AbortController | undefined
  /** Settled when no connection is held. */
  #held: Promise<unknown> = Promise.resolve()
  /** While notifications are known to come. */
  #session: Session | undefined
  #lost: (reason: unknown) => void = () => undefined
  /** What is asked on its connection, one after the other. */
  #asked: Promise<unknown> = Promise.resolve()
  #failures = 0

  /** @param heard is called on each notification, and whenever some may have been missed. */
  constructor(connections: Connections, statements: Statements, channel: Channel, heard: () => void) {
    this.#connections = connections
    this.#statements = statements
    this.#channel = channel
    this.#heard = heard
  }

  /** Whether notifications are known to come. */
  get isHearing(): boolean {
    return this.#session !== undefined
  }

  /** Asks something on the connection that listens. Resolves with nothing where there is none, or it fails. */
  async ask({ statement, values }: Call): Promise<Row[] | undefined> {
    const session = this.#session
    if (!session) return undefined
    try {
      return await this.#inTurn(() => session.query(statement, values))
    } catch (error) {
      // What does not answer does not tell of anything either.
      if (isMnemeError(error) || faultOf(error) === 'disconnected') this.#lost(error)
      return undefined
    }
  }

  start(): void {
    if (this.#ending) return
    this.#ending = new AbortController()
    void this.#run(this.#ending.signal)
  }

  /** Resolves when the connection was given back. */
  async stop(): Promise<void> {
    this.#ending?.abort()
    this.#ending = undefined
    await this.#held
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let isDeaf: boolean
      try {
        await this.#connections.use((session) => {
          const listening = this.#listen(session, signal)
          this.#held = listening.catch(() => undefined)
          return listening
        })
        isDeaf = true
      } catch (error) {
        isDeaf = !isMnemeError(error) && REFUSALS.has(faultOf(error))
      }
      await pause(isDeaf ? LISTEN_AGAIN : retryDelay(RETRY, ++this.#failures, Math.random()), signal)
    }
  }

  /** A connection runs one query at a time. */
  #inTurn<T>(query: () => Promise<T>): Promise<T> {
    const asked = this.#asked.then(query)
    this.#asked = asked.catch(() => undefined)
    return asked
  }

  /** Resolves when nothing can be heard. @throws when the connection is lost, or is to be given back. */
  async #listen(session: Session, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { client } = session
    const { name, own } = this.#channel
    // It goes to nobody else: they would hear what it listened to.
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
    const probe = crypto.randomUUID()
    let passed: () => void = () => undefined
    const isProven = new Promise<true>((resolve) => {
      passed = () => {
        resolve(true)
      }
    })
    const told = ({ payload }: PostgresNotification) => {
      if (payload === probe) passed()
      else if (payload !== own) this.#heard()
    }
    client.on('error', end)
    client.on('notification', told)
    const stop = onAbort(signal, () => {
      end(signal.reason)
    })
    try {
      const listen = () =>
        unlessOver(this.#inTurn(() => session.query({ name: '', text: `LISTEN "${name}"` })))
      await listen()
      await unlessOver(this.#connections.ask(this.#statements.of(NOTIFY), [name, probe]))
      if (!(await unlessOver(Promise.race([isProven, after(PROBE)])))) {
        await unlessOver(session.query({ name: '', text: `UNLISTEN "${name}"` }))
        return
      }
      await unlessOver(session.query(this.#statements.of(SAY_LISTENING)))
      this.#session = session
      this.#lost = end
      this.#failures = 0
      // As long as nobody says to be listening, nobody is notified.
      this.#heard()
      for (;;) {
        await unlessOver(after(CHECK))
        // One that is dead without a word would be silent for ever.
        await listen()
      }
    } finally {
      this.#session = undefined
      stop()
      client.off('error', end)
      client.off('notification', told)
    }
  }
}

/** Resolves after so many milliseconds, if something else keeps the process. */
function after(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds, undefined).unref()
  })
}

/** What a server says that will not let anybody listen. */
const REFUSALS: ReadonlySet<Fault> = new Set(['read-only', 'denied', 'refused'] as const)
/** Milliseconds between the attempts to have a connection again. */
const RETRY = { maxRetries: Infinity, baseDelay: 50, minDelay: 10, maxDelay: 1_000 }
/** Milliseconds within which one's own notification comes, where any do. */
export const PROBE = 1_000
/** Milliseconds until it is tried again, where nothing was heard. */
const LISTEN_AGAIN = 600_000
/** Milliseconds after which it is looked whether the connection is still there. */
const CHECK = 30_000
