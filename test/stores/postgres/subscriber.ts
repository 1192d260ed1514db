import type { EventStore, MnemeError, Recorded, SubscribeOptions, Subscription } from 'mneme'
import { onTestFinished } from 'vitest'
import type { TestDatabase } from './database.ts'
import { until } from './database.ts'

/** A subscription whose events are taken as they come. */
export class Subscriber {
  readonly subscription: Subscription
  readonly seen: Recorded[] = []
  /** When each event came, as `performance.timeOrigin + performance.now()`. */
  readonly times: number[] = []
  readonly interruptions: MnemeError[] = []
  /** What ended it, if it was not told to end. */
  failure: unknown
  readonly #over: Promise<void>

  constructor(store: EventStore, options: SubscribeOptions = {}) {
    this.subscription = store.subscribe({
      onInterrupted: (error) => this.interruptions.push(error),
      ...options,
    })
    this.#over = this.#follow()
    onTestFinished(() => this.stop().then(() => undefined))
  }

  async #follow(): Promise<void> {
    try {
      for await (const event of this.subscription) {
        this.seen.push(event)
        this.times.push(performance.timeOrigin + performance.now())
      }
    } catch (error) {
      this.failure = error
    }
  }

  get ids(): string[] {
    return this.seen.map(({ id }) => id)
  }

  /** Resolves when so many have come. */
  async has(count: number, milliseconds?: number): Promise<void> {
    await until(
      () => this.seen.length >= count || this.failure !== undefined,
      `a subscriber sees ${String(count)} events, and not ${String(this.seen.length)}`,
      milliseconds,
    )
    if (this.failure !== undefined) throw this.failure
  }

  /** Resolves with what ended it. */
  async failed(): Promise<unknown> {
    await until(() => this.failure !== undefined, 'a subscription fails')
    return this.failure
  }

  async stop(): Promise<string[]> {
    await this.subscription.return?.()
    await this.#over
    return this.ids
  }
}

/** The ids of all events in the order of the log, as the database has them. */
export async function idsIn(database: TestDatabase): Promise<string[]> {
  const rows = await database.query('SELECT e.id::text FROM mneme.events e ORDER BY e.position')
  return rows.map(({ id }) => id as string)
}

/** How many sessions of a database listen. */
export async function countListening(database: TestDatabase): Promise<number> {
  const [row] = await database.query(
    `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  return row!.n as number
}

/** Resolves when so many sessions listen. */
export async function listening(database: TestDatabase, count: number): Promise<void> {
  await until(async () => (await countListening(database)) === count, `${String(count)} sessions listen`)
}
