import { checkOptions, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Recorded } from '../model/event.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import { type RetryOptions, retryPolicy, type RetryPolicy } from '../base/retry.ts'
import {
  type ByType,
  type EventsFrom,
  type Handlers,
  type Selection,
  selectionOf,
  type Source,
} from './sources.ts'

/** What `defineProjection` takes. */
export interface ProjectionDefinition<Sources extends readonly Source[], Tx, Tables extends string> {
  /** Its name in the target. Whatever has the same name there is the same projection, in every process. */
  readonly name: string
  /** Of what the handlers make of the events: to be raised with each change of that. 1. */
  readonly version?: number | undefined
  /** Where it writes, and keeps how far it has come. */
  readonly into: ProjectionTarget<Tx>
  /** What it listens to: aggregates, for the events on their streams, or event types by name, on any stream. */
  readonly from: Sources
  /**
   * The names of its tables. With them it is rebuilt beside the live ones: handlers are told under which name to
   * write. Lower-case letters, digits and `_`; on PostgreSQL with a schema before a dot, if need be.
   */
  readonly tables?: readonly Tables[] | undefined
  /** Makes its tables: before the first event, and at each rebuild; in the same transaction. */
  readonly setup?: ((tx: Tx, context: ProjectionContext<Tables>) => unknown) | undefined
  /** Empties what it has written, so that it can be rebuilt in place. Not needed with `tables`. */
  readonly reset?: ((tx: Tx, context: ProjectionContext<Tables>) => unknown) | undefined
  /**
   * What it does on each event, by type: in older versions or under older names, events come as the present ones.
   * In PostgreSQL handlers may be asynchronous; in SQLite they must not.
   */
  readonly on: Handlers<ByType<EventsFrom<Sources[number]>>, [tx: Tx, context: ProjectionContext<Tables>]>
  /**
   * What becomes of an event on which the handler fails again and again: `'block'`, where left out, keeps the
   * projection there; `'park'` sets the event aside, with the error, and goes on.
   */
  readonly onError?: 'block' | 'park' | undefined
  /** How often and after which delays a handler that fails is tried again: 5 times, from 100 ms up to 10 s. */
  readonly retry?: RetryOptions | undefined
}

/** What a handler is told beside the event. */
export interface ProjectionContext<Tables extends string = string> {
  /** The names under which its tables are to be written at present. */
  readonly tables: { readonly [Name in Tables]: string }
}

/** A definition, checked and complete. */
export interface Definition {
  readonly name: string
  readonly version: number
  readonly target: ProjectionTarget<unknown>
  readonly selection: Selection
  readonly tables: readonly string[]
  readonly setup: Handler | undefined
  readonly reset: Handler | undefined
  readonly handlers: ReadonlyMap<string, EventHandler>
  readonly onError: 'block' | 'park'
  readonly retry: RetryPolicy
}

type Handler = (tx: unknown, context: ProjectionContext) => unknown
type EventHandler = (event: Recorded, tx: unknown, context: ProjectionContext) => unknown

/** @throws InvalidArgumentError */
export function checkDefinition(given: ProjectionDefinition<readonly Source[], unknown, string>): Definition {
  checkOptions(given, 'projection', KNOWN)
  const { name, version = 1, into, from, tables = [], setup, reset, onError = 'block' } = given
  if (typeof (name as unknown) !== 'string' || !/^[\w.:-]{1,200}$/.test(name)) {
    throw new InvalidArgumentError('name', "1 to 200 letters, digits and '_.:-'")
  }
  if (typeof (into as Partial<typeof into> | undefined)?.transaction !== 'function') {
    throw new InvalidArgumentError('into', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  if (!['block', 'park'].includes(onError)) throw new InvalidArgumentError('onError', "'block' or 'park'")
  for (const [key, value] of Object.entries({ setup, reset })) {
    if (value !== undefined && typeof value !== 'function') throw new InvalidArgumentError(key, 'a function')
  }
  const handlers = new Map(Object.entries((given.on as object | undefined) ?? {})) as Map<
    string,
    EventHandler
  >
  if (handlers.size === 0) throw new InvalidArgumentError('on', 'handlers by the types of events')
  for (const [type, handler] of handlers) {
    if (typeof handler !== 'function') throw new InvalidArgumentError(`on['${type}']`, 'a function')
    // Found out later, it would have written outside of the transaction.
    if (into.dialect === 'sqlite' && handler instanceof AsyncFunction) {
      throw new InvalidArgumentError(`on['${type}']`, 'synchronous, as everything is in SQLite')
    }
  }
  checkTables(tables, setup)
  return {
    name,
    version: checkWhole(version, 'version', 1),
    target: into,
    selection: selectionOf(from, [...handlers.keys()]),
    tables,
    setup,
    reset,
    handlers,
    onError,
    retry: retryPolicy(given.retry, RETRY),
  }
}

/** What functions are that are written with `async`. */
const AsyncFunction = (async () => {
  await Promise.resolve()
}).constructor as FunctionConstructor

function checkTables(tables: readonly string[], setup: unknown): void {
  const isList = Array.isArray(tables) && new Set(tables).size === tables.length
  if (!isList || !tables.every((table: unknown) => typeof table === 'string' && TABLE.test(table))) {
    throw new InvalidArgumentError(
      'tables',
      "a list of names like 'balances': lower-case letters, digits and '_'",
    )
  }
  if (tables.length > 0 && !setup) throw new InvalidArgumentError('setup', 'a function that makes the tables')
}

/** A handler is tried again less often than a decision, and more patiently. */
const RETRY = { maxRetries: 5, baseDelay: 100, minDelay: 50, maxDelay: 10_000 }

/** Written alike with and without quotes; short enough for what a rebuild adds. */
const TABLE = /^(?:[a-z_][a-z0-9_]{0,47}\.)?[a-z_][a-z0-9_]{0,47}$/

const KNOWN = [
  ...(['name', 'version', 'into', 'from', 'tables', 'setup', 'reset', 'on', 'onError', 'retry'] as const),
]

/** The names of a projection's tables in one of its builds. */
export function tableNames(tables: readonly string[], suffix: string): Record<string, string> {
  return Object.fromEntries(tables.map((table) => [table, `${table}${suffix}`]))
}
