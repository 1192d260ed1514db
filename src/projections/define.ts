import { checkOptions, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkFunction, isAsyncFunction } from '../base/functions.ts'
import type { Recorded } from '../model/event.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { Followed } from './handling.ts'
import { checkKeyRing } from '../store/create-store.ts'
import type { KeyRing } from '../store/key-ring.ts'
import type { Revealing } from '../store/revealing.ts'
import { systemClock } from '../base/clock.ts'
import { type RetryOptions, retryPolicy } from '../base/retry.ts'
import { type ByType, type EventsFrom, type Handlers, selectionOf, type Source, typesOf } from './sources.ts'

/** What `defineProjection` takes: its settings, and either a handler for each type of event (`on`) or one for pages (`onPage`). */
export type ProjectionDefinition<
  Sources extends readonly Source[],
  Tx,
  Tables extends string,
> = ProjectionSettings<Sources, Tx, Tables> &
  (EventHandlers<Sources, Tx, Tables> | PageHandler<Sources, Tx, Tables>)

/** The handlers of a projection that handles its events one by one. */
export interface EventHandlers<Sources extends readonly Source[], Tx, Tables extends string> {
  /**
   * A handler for each type of event. Events of older versions or under older names are upcast to the present ones
   * first. Handlers may be asynchronous on PostgreSQL; on SQLite they must not be.
   */
  readonly on: Handlers<ByType<EventsFrom<Sources[number]>>, [tx: Tx, context: ProjectionContext<Tables>]>
  readonly onPage?: undefined
  readonly pageSize?: undefined
}

/** The handler of a projection that handles a page of events at once. */
export interface PageHandler<Sources extends readonly Source[], Tx, Tables extends string> {
  /**
   * Handles a page, instead of `on`: some of the events of `from`, of whichever type, in the order of the store and in their
   * present version. A page that fails is handled again in parts, down to the event that fails alone, so it must do for
   * a part what it does for the whole. It may be asynchronous on PostgreSQL; on SQLite it must not be.
   */
  readonly onPage: (
    events: readonly EventsFrom<Sources[number]>[],
    tx: Tx,
    context: ProjectionContext<Tables>,
  ) => unknown
  /** How many events `onPage` is given at most: 1 to 1,000. Default: 1,000. */
  readonly pageSize?: number | undefined
  readonly on?: undefined
}

/** What a projection is, except for how it handles events. */
export interface ProjectionSettings<Sources extends readonly Source[], Tx, Tables extends string> {
  /** Its name in the target: the same name is the same projection, in every process. */
  readonly name: string
  /** The version of the handlers: raise it when they write something else. Default: 1. */
  readonly version?: number | undefined
  /** The database that it writes to, and keeps its checkpoint in. */
  readonly into: ProjectionTarget<Tx>
  /** The events that it handles: aggregates, for the events on their streams, or event types by name, on any stream. */
  readonly from: Sources
  /**
   * The names of its tables. With them, it can be rebuilt beside the live tables: `tables` in the handlers' context holds
   * the present names. Lower-case letters, digits and `_`; on PostgreSQL optionally with a schema and a dot before them.
   */
  readonly tables?: readonly Tables[] | undefined
  /** Creates its tables: before the first event and at each rebuild, in the same transaction. */
  readonly setup?: ((tx: Tx, context: ProjectionContext<Tables>) => unknown) | undefined
  /** Deletes what it has written, for a rebuild in place. Not needed with `tables`. */
  readonly reset?: ((tx: Tx, context: ProjectionContext<Tables>) => unknown) | undefined
  /**
   * What happens to an event when all retries of its handler have failed: `'block'` stops the projection there; `'park'`
   * sets the event aside, with the error, and goes on. Default: `'block'`.
   */
  readonly onError?: 'block' | 'park' | undefined
  /** How often and after which delays a failed handler is retried. Default: 5 times, from 100 ms up to 10,000 ms. */
  readonly retry?: RetryOptions | undefined
  /**
   * What to do if its read model has an earlier version, instead of what `runProjections` says: `'rebuild'` it,
   * `'continue'` with what was written under the earlier version, or `'refuse'` to run it. The other projections start
   * in any case.
   */
  readonly onNewVersion?: NewVersionPolicy | undefined
  /**
   * The key ring of the store, for handlers that `reveal` personal values: they are opened before the transaction, all of a
   * batch at once, so that handlers need not wait. Default: none is revealed.
   */
  readonly personal?: KeyRing | undefined
  /**
   * Milliseconds that the handlers of a batch, `setup` or `reset` may take on PostgreSQL before the transaction is rolled
   * back and they count as failed: whatever a handler waits for, the projection does not wait forever. Default: the
   * lease of `runProjections`, 10,000 ms.
   */
  readonly handlerTimeout?: number | undefined
}

/** What a handler is given beside the event and the transaction. */
export interface ProjectionContext<Tables extends string = string> {
  /** The names of its tables for this build. */
  readonly tables: { readonly [Name in Tables]: string }
  /**
   * Reveals the sealed values of an event that is handled: only in a projection with `personal`. What a handler writes of
   * them, a handler of `mneme.SubjectErased` has to delete.
   */
  readonly reveal: Revealing
}

/** What to do with a read model of an earlier version. */
export type NewVersionPolicy = 'rebuild' | 'continue' | 'refuse'

/** @throws InvalidArgumentError */
export function checkPolicy(policy: NewVersionPolicy, argument: string): NewVersionPolicy {
  if (['rebuild', 'continue', 'refuse'].includes(policy)) return policy
  throw new InvalidArgumentError(argument, "'rebuild', 'continue' or 'refuse'")
}

/** A checked definition with its defaults filled in. */
export interface Definition extends Followed {
  readonly tables: readonly string[]
  readonly setup: Handler | undefined
  readonly reset: Handler | undefined
  /** By the types of events; with `onPage`, each handles a page of one event. */
  readonly handlers: ReadonlyMap<string, EventHandler>
  readonly page: PageHandling | undefined
  readonly onNewVersion: NewVersionPolicy | undefined
  readonly personal: KeyRing | undefined
  /** In milliseconds; `undefined`: the lease. */
  readonly handlerTimeout: number | undefined
}

type Handler = (tx: unknown, context: ProjectionContext) => unknown
type EventHandler = (event: Recorded, tx: unknown, context: ProjectionContext) => unknown

/** How pages are handled. */
interface PageHandling {
  readonly handle: (events: readonly Recorded[], tx: unknown, context: ProjectionContext) => unknown
  /** The maximum number of events in a page. */
  readonly size: number
}

/** @throws InvalidArgumentError */
export function checkDefinition(given: ProjectionDefinition<readonly Source[], unknown, string>): Definition {
  checkOptions(given, 'projection', KNOWN_OPTIONS)
  const { name, version = 1, into, from, tables = [], setup, reset, onError = 'block' } = given
  checkFollowerName(name)
  if (typeof (into as Partial<typeof into> | undefined)?.transaction !== 'function') {
    throw new InvalidArgumentError('into', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  if (!['block', 'park'].includes(onError)) throw new InvalidArgumentError('onError', "'block' or 'park'")
  for (const [key, value] of Object.entries({ setup, reset })) {
    if (value !== undefined) checkHandler(value, key, into)
  }
  const page = pageHandlingOf(given)
  const handlers = page ? handlersByPages(page, from) : handlersOf(given)
  checkTables(tables, setup)
  return {
    kind: 'projection',
    name,
    version: checkWhole(version, 'version', 1),
    target: into,
    selection: selectionOf(from, [...handlers.keys()]),
    tables,
    setup,
    reset,
    handlers,
    page,
    onError,
    retry: retryPolicy(given.retry, HANDLER_RETRY),
    personal: checkKeyRing(given.personal),
    onNewVersion:
      given.onNewVersion === undefined ? undefined : checkPolicy(given.onNewVersion, 'onNewVersion'),
    handlerTimeout:
      given.handlerTimeout === undefined ? undefined : checkWhole(given.handlerTimeout, 'handlerTimeout', 1),
    clock: systemClock,
  }
}

/** How events are handled, whatever the types say. */
interface GivenHandlers {
  readonly into: ProjectionTarget<unknown>
  readonly on?: unknown
  readonly onPage?: unknown
  readonly pageSize?: number | undefined
}

/** @throws InvalidArgumentError */
function pageHandlingOf({ on, onPage, pageSize, into }: GivenHandlers): PageHandling | undefined {
  if (onPage === undefined) {
    if (pageSize === undefined) return undefined
    const message = "pageSize is of 'onPage', which is missing: handlers in 'on' are given one event each"
    throw new InvalidArgumentError('pageSize', { message })
  }
  if (on !== undefined) {
    const message = "give either 'on' or 'onPage': each event is handled once"
    throw new InvalidArgumentError('onPage', { message })
  }
  checkHandler(onPage, 'onPage', into)
  const size = pageSize ?? MAX_EVENTS_PER_BATCH
  const expected = `a whole number from 1 to ${MAX_EVENTS_PER_BATCH.toLocaleString('en')}`
  checkWhole(size, 'pageSize', 1, expected)
  if (size > MAX_EVENTS_PER_BATCH) throw new InvalidArgumentError('pageSize', expected)
  return { handle: onPage as PageHandling['handle'], size }
}

/** @throws InvalidArgumentError */
function handlersOf({ on, into }: GivenHandlers): Definition['handlers'] {
  const handlers = new Map(Object.entries((on as object | undefined) ?? {})) as Map<string, EventHandler>
  if (handlers.size === 0) {
    throw new InvalidArgumentError('on', "handlers by the types of events, unless there is an 'onPage'")
  }
  for (const [type, handler] of handlers) checkHandler(handler, `on['${type}']`, into)
  return handlers
}

/** Handlers of every event of the sources, by pages of one. */
function handlersByPages({ handle }: PageHandling, from: readonly Source[]): Definition['handlers'] {
  const handler: EventHandler = (event, tx, context) => handle([event], tx, context)
  return new Map(typesOf(from).map((type) => [type, handler]))
}

/** The most events that are handled in one transaction. */
export const MAX_EVENTS_PER_BATCH = 1_000

/** The name of a projection, a reaction or a relay. @throws InvalidArgumentError */
export function checkFollowerName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !/^[\w.:-]{1,200}$/.test(name)) {
    throw new InvalidArgumentError('name', "1 to 200 letters, digits and '_.:-'")
  }
}

/** @throws InvalidArgumentError */
function checkHandler(handler: unknown, argument: string, { dialect }: ProjectionTarget<unknown>): void {
  checkFunction(handler, argument)
  // When its promise shows up, it has already written outside of the transaction.
  if (dialect === 'sqlite' && isAsyncFunction(handler)) {
    throw new InvalidArgumentError(argument, 'synchronous, as everything is in SQLite')
  }
}

function checkTables(tables: readonly string[], setup: unknown): void {
  const isList = Array.isArray(tables) && new Set(tables).size === tables.length
  if (!isList || !tables.every((table: unknown) => typeof table === 'string' && TABLE_NAME.test(table))) {
    throw new InvalidArgumentError(
      'tables',
      "a list of names like 'balances': lower-case letters, digits and '_'",
    )
  }
  if (tables.length > 0 && !setup) throw new InvalidArgumentError('setup', 'a function that makes the tables')
}

/** In milliseconds. A failed handler is retried less often than a conflict, and after longer delays. */
export const HANDLER_RETRY = { maxRetries: 5, baseDelay: 100, minDelay: 50, maxDelay: 10_000 }

/** The same with and without quotes in SQL; short enough for the suffix of a rebuild. */
const TABLE_NAME = /^(?:[a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}$/

const KNOWN_OPTIONS = [
  ...([
    'name',
    'version',
    'into',
    'from',
    'tables',
    'setup',
    'reset',
    'on',
    'onPage',
    'pageSize',
    'onError',
    'retry',
    'handlerTimeout',
    'onNewVersion',
    'personal',
  ] as const),
]

/** The names of a projection's tables in one of its builds, by their given names. */
export function tableNames(tables: readonly string[], suffix: string): Record<string, string> {
  return Object.fromEntries(tables.map((table) => [table, `${table}${suffix}`]))
}
