import { checkOptions, checkTimer, checkWhole } from '../base/arguments.ts'
import { pause, systemClock } from '../base/clock.ts'
import { InvalidArgumentError, isMnemeError, StoreClosedError } from '../base/errors.ts'
import { checkText } from '../model/names.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StorePool } from '../store/store-pool.ts'
import type { Failure } from './builds.ts'
import type { NewVersionPolicy } from './define.ts'
import type { Projection } from './projection.ts'
import { runProjections } from './run.ts'

/** What `runTenantProjections` takes. */
export interface TenantProjectionsOptions {
  /** The names of all tenants. Asked at the beginning of each round. */
  readonly tenants: () =>
    Iterable<string> | AsyncIterable<string> | Promise<Iterable<string> | AsyncIterable<string>>
  /** Makes the projections of a tenant, for each visit. If it opens a target for them, it says how that is closed. */
  readonly projections: (tenant: string) => readonly Projection[] | TenantProjections
  /** How many tenants are visited at once. Default: 4. */
  readonly concurrency?: number | undefined
  /** How many milliseconds a visit lasts at most: what remains waits for the next round. Default: 10,000 ms. */
  readonly visitTimeout?: number | undefined
  /** How many milliseconds pass between the end of a round and the next one. Default: 1,000 ms. */
  readonly interval?: number | undefined
  /** As for `runProjections`. Default: `'refuse'`. */
  readonly onNewVersion?: NewVersionPolicy | undefined
  /** Called with each failure of a projection. Log it. */
  readonly onFailure?: ((failure: Failure, projection: Projection, tenant: string) => void) | undefined
  /** Called if a tenant could not be visited in its turn; without a tenant, if the tenants could not be listed. Log it. */
  readonly onError?: ((error: unknown, tenant: string | undefined) => void) | undefined
}

/** The projections of a tenant, and what is to be closed after a visit. */
export interface TenantProjections {
  readonly projections: readonly Projection[]
  readonly close?: (() => unknown) | undefined
}

/** Projections of many tenants. Made by `runTenantProjections`. */
export interface RunningTenantProjections {
  /**
   * Visits a tenant now, out of turn: resolves when its projections have handled every event that is stored now, are
   * blocked, or the visit's time is over. Use it to read what you have just written.
   *
   * @throws StoreClosedError if the pool is closed, or `stop` was called; why the tenant could not be visited.
   */
  visit(tenant: string): Promise<void>
  /** Ends the visits under way, after the current batches. Call it before the pool is closed. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Runs the projections of all tenants of a pool, of which only some stores are open at a time: visits them in rounds, each
 * until it has caught up. A tenant that is blocked, slow or cannot be opened is told of, and stops none of the others.
 *
 * @throws InvalidArgumentError if an option is wrong.
 * @example
 * ```ts
 * const tenants = storePool((tenant) => sqliteStore(tenantFile('data', tenant)))
 * const running = runTenantProjections(tenants, { tenants: () => ['acme', 'globex'], projections: () => [doors] })
 * await running.visit('acme')
 * await running.stop()
 * await tenants.close()
 * ```
 */
export function runTenantProjections(
  pool: StorePool,
  options: TenantProjectionsOptions,
): RunningTenantProjections {
  if (typeof (pool as Partial<StorePool> | undefined)?.lease !== 'function') {
    throw new InvalidArgumentError('pool', 'a pool that storePool made')
  }
  const known = ['tenants', 'projections', 'concurrency', 'visitTimeout', 'interval'] as const
  checkOptions(options, 'options', [...known, 'onNewVersion', 'onFailure', 'onError'])
  for (const name of ['tenants', 'projections'] as const) {
    if (typeof (options[name] as unknown) !== 'function') {
      throw new InvalidArgumentError(`options.${name}`, 'a function')
    }
  }
  const { concurrency = 4, visitTimeout = 10_000, interval = 1_000 } = options
  checkWhole(concurrency, 'options.concurrency', 1)
  checkWhole(visitTimeout, 'options.visitTimeout', 1)
  checkTimer(interval, 'options.interval', 0)
  return new Rounds(pool, { ...options, concurrency, visitTimeout, interval })
}

type Settings = TenantProjectionsOptions &
  Readonly<Record<'concurrency' | 'visitTimeout' | 'interval', number>>

/** A visit under way, and the one that follows it: it sees what was stored after the first had begun. */
interface Visit {
  readonly current: Promise<void>
  next?: Promise<void>
}

class Rounds implements RunningTenantProjections {
  readonly #pool: StorePool
  readonly #settings: Settings
  readonly #ending = new AbortController()
  readonly #visits = new Map<string, Visit>()
  readonly #over: Promise<void>

  constructor(pool: StorePool, settings: Settings) {
    this.#pool = pool
    this.#settings = settings
    this.#over = this.#run()
  }

  async visit(tenant: string): Promise<void> {
    checkText(tenant, 'tenant', 'the name of a tenant')
    await this.#visit(tenant)
    // It may have ended early.
    this.#checkRunning()
  }

  #visit(tenant: string): Promise<void> {
    const under = this.#visits.get(tenant)
    if (under) {
      return (under.next ??= under.current.then(
        () => this.#visit(tenant),
        () => this.#visit(tenant),
      ))
    }
    const current = this.#visited(tenant).finally(() => this.#visits.delete(tenant))
    this.#visits.set(tenant, { current })
    return current
  }

  async stop(): Promise<void> {
    this.#ending.abort(stopped())
    await this.#over
    await Promise.allSettled([...this.#visits.values()].map(({ current }) => current))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    const { interval } = this.#settings
    while (!signal.aborted) {
      try {
        await this.#round()
      } catch (error) {
        this.#tell(error, undefined)
      }
      await pause(systemClock, interval, signal)
    }
  }

  /** Visits every tenant once, some of them at a time. */
  async #round(): Promise<void> {
    const { tenants, concurrency } = this.#settings
    const names = await tenants()
    const iterator = Symbol.asyncIterator in names ? names[Symbol.asyncIterator]() : names[Symbol.iterator]()
    const visitor = async () => {
      while (!this.#ending.signal.aborted) {
        const next = (await iterator.next()) as IteratorResult<string, unknown>
        if (next.done === true) return
        await this.#visitInTurn(next.value)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, visitor))
  }

  async #visited(tenant: string): Promise<void> {
    this.#checkRunning()
    await this.#pool.use(tenant, (store) => this.#project(store, tenant), { signal: this.#ending.signal })
  }

  #checkRunning(): void {
    this.#ending.signal.throwIfAborted()
  }

  async #visitInTurn(tenant: string): Promise<void> {
    const { signal } = this.#ending
    try {
      await this.#visit(tenant)
    } catch (error) {
      const isOver = signal.aborted || (isMnemeError(error) && error.code === 'STORE_CLOSED')
      if (!isOver) this.#tell(error, tenant)
    }
  }

  async #project(store: EventStore, tenant: string): Promise<void> {
    const { signal } = this.#ending
    const { visitTimeout: timeout, onNewVersion, onFailure: told, projections: make } = this.#settings
    const made = make(tenant)
    const { projections, close } = 'projections' in made ? made : { projections: made }
    try {
      const onFailure = (failure: Failure, projection: Projection) => told?.(failure, projection, tenant)
      const running = await runProjections(store, projections, { onNewVersion, onFailure })
      try {
        const head = await store.logHead()
        // One that is blocked, or late, does not keep the others from catching up. `onFailure` tells of it.
        await Promise.allSettled(
          projections.map((projection) => projection.caughtUpTo(head, { timeout, signal })),
        )
      } finally {
        await running.stop()
      }
    } finally {
      await close?.()
    }
  }

  #tell(error: unknown, tenant: string | undefined): void {
    try {
      this.#settings.onError?.(error, tenant)
    } catch {
      // A listener that fails must not end the rounds.
    }
  }
}

function stopped(): StoreClosedError {
  return new StoreClosedError(
    'the projections of these tenants were stopped: visit tenants before stop(), or call runTenantProjections again',
  )
}
