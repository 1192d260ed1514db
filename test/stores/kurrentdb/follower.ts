import type { MnemeError } from 'mneme'
import { onTestFinished } from 'vitest'

import type {
  LogPlace,
  StoreAdapter,
  StoredEvent,
  SubscribeRequest,
} from '../../../src/adapter/store-adapter.ts'
import { until } from './rig.ts'

/** A subscriber that takes what comes. It ends with the test. */
export class Follower {
  readonly events: StoredEvent[] = []
  readonly interruptions: string[] = []
  /** Up to where the log was looked through, each time that this was told. */
  readonly places: (LogPlace | undefined)[] = []
  /** How often it was told that nothing was left. */
  caughtUp = 0
  error: Error | undefined
  readonly #ending = new AbortController()
  readonly over: Promise<void>

  constructor(adapter: StoreAdapter, request: Partial<SubscribeRequest> = {}) {
    this.over = this.#run(
      adapter.subscribe({
        ...{ after: undefined, streams: undefined, categories: undefined, types: undefined },
        ...request,
        signal: this.#ending.signal,
        interrupted: (error: MnemeError) => void this.interruptions.push(error.code),
      }),
    )
    onTestFinished(() => this.stop())
  }

  get ids(): readonly string[] {
    return this.events.map(({ id }) => id)
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    await this.over
  }

  /** Waits for so many events. */
  async first(count: number, patience = 20_000): Promise<readonly StoredEvent[]> {
    const what = () =>
      `${String(count)} events have come, not ${String(this.events.length)}: ${String(this.error)}`
    await until(() => this.events.length >= count || this.error !== undefined, what(), patience)
    if (this.error) throw this.error
    return this.events.slice(0, count)
  }

  async isLive(): Promise<void> {
    const had = this.caughtUp
    await until(() => this.caughtUp > 0 || this.error !== undefined, `it has caught up, ${String(had)}`)
  }

  async #run(pages: ReturnType<StoreAdapter['subscribe']>): Promise<void> {
    try {
      for await (const { events, through, isCaughtUp } of pages) {
        this.events.push(...events)
        this.places.push(through)
        if (isCaughtUp) this.caughtUp++
      }
    } catch (error) {
      this.error = error as Error
    }
  }
}
