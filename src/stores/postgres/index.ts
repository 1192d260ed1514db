import { checkBoolean, checkOptions, checkTimer, checkWhole, MAX_TIMER_MS } from '../../base/arguments.ts'
import { checkKeyRing, createStore, STORE_OPTIONS } from '../../store/create-store.ts'
import { InvalidArgumentError } from '../../base/errors.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { postgresAdapter } from './adapter.ts'
import { Connections } from './connection.ts'
import type { PostgresConfig, PostgresPool } from './driver.ts'
import { migrateSchema, type Migration } from './migrate.ts'
import { poolOf } from './options.ts'
import { quoteSchema } from './schema.ts'

export type {
  PostgresClient,
  PostgresConfig,
  PostgresConnection,
  PostgresNotification,
  PostgresPool,
  PostgresQuery,
} from './driver.ts'
export { postgresKeys } from './keys.ts'
export type { PostgresKeys, PostgresKeysOptions } from './keys.ts'
export type { Migration } from './migrate.ts'
export { postgresTarget } from './projection-target.ts'
export type { PostgresTargetOptions, PostgresTransaction } from './projection-target.ts'

/** Options of `postgresStore`. */
export interface PostgresOptions extends StoreOptions {
  /** The schema that holds the store; made if missing. A database can hold several stores. Default: `'mneme'`. */
  readonly schema?: string | undefined
  /**
   * Whether the schema may be made and brought up to date when the store is opened. With `false` the store only
   * checks it, and fails with `OpenError` if `migrate` has to be run first. Default: `true`.
   */
  readonly migrate?: boolean | undefined
  /**
   * Whether the server keeps prepared statements for each connection, which saves planning. Leave it at `false` behind a
   * transaction pooler like PgBouncer; a store that finds one continues without them. Default: `false`.
   */
  readonly prepare?: boolean | undefined
  /** Whether to note, ten times a second, how far the log is complete, so that it can be read on a standby. Default: `false`. */
  readonly standbys?: boolean | undefined
  /** Milliseconds to wait for a connection, and for a server that restarts, before `StoreUnavailableError`. Default: 10,000 ms. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds to wait for the server's answer. Then a read fails with `StoreTimeoutError`; an append is settled for as
   * long again, before `OutcomeUnknownError`. Default: 30,000 ms.
   */
  readonly statementTimeout?: number | undefined
  /**
   * Milliseconds to wait while other processes append to the same streams, before `StoreBusyError`; less than
   * `statementTimeout`. Default: 5,000 ms.
   */
  readonly busyTimeout?: number | undefined
}

/** Options of `migrate`. */
export interface MigrateOptions {
  /** As in `postgresStore`. Default: `'mneme'`. */
  readonly schema?: string | undefined
  /** Whether to say only what it would do. Default: `false`. */
  readonly dryRun?: boolean | undefined
  /** As in `postgresStore`. Default: 10,000 ms. */
  readonly connectTimeout?: number | undefined
}

/**
 * Opens a store in a PostgreSQL database (14 or newer) with the driver `pg`, which has to be installed.
 *
 * Any number of processes may use it, also through transaction poolers. An acknowledged event is committed with
 * `synchronous_commit=on`, whatever the database's default.
 *
 * @param connection a URL, the options of a `pg.Pool`, or a `pg.Pool`, which `close` leaves open.
 * @throws OpenError if it cannot be opened; its `reason` says why. Nothing is remembered: a retry starts afresh.
 * @throws StoreUnavailableError if the server cannot be reached within `connectTimeout`.
 * @throws InvalidArgumentError if an argument is wrong.
 * @example
 * ```ts
 * const store = await postgresStore('postgres://bank@localhost/bank')
 * ```
 */
export async function postgresStore(
  connection: string | PostgresConfig | PostgresPool,
  options: PostgresOptions = {},
): Promise<EventStore> {
  const {
    schema = 'mneme',
    migrate = true,
    prepare = false,
    standbys = false,
    connectTimeout = 10_000,
    statementTimeout = 30_000,
    busyTimeout = 5_000,
    ...rest
  } = checkOptions(options, 'options', ALL)
  for (const [name, value] of Object.entries({ migrate, prepare, standbys }))
    checkBoolean(value, `options.${name}`)
  for (const [name, value] of Object.entries({ connectTimeout, statementTimeout, busyTimeout })) {
    checkTimer(value, `options.${name}`, 1)
  }
  if (busyTimeout >= statementTimeout) {
    throw new InvalidArgumentError('options.busyTimeout', 'less than statementTimeout')
  }
  quoteSchema(schema)
  // `createStore` checks these as well, but by then the schema would have been made.
  if (rest.maxPending !== undefined) checkWhole(rest.maxPending, 'maxPending', 1)
  if (rest.cachedStates !== undefined) checkWhole(rest.cachedStates, 'cachedStates', 0)
  checkKeyRing(rest.personal)
  const { pool, end } = await poolOf(connection, connectTimeout, ALL)
  const settings = { schema, migrate, prepare, standbys, connectTimeout, statementTimeout, busyTimeout }
  try {
    return createStore(await postgresAdapter(pool, settings, end), rest)
  } catch (error) {
    await end()
    throw error
  }
}

/**
 * Makes a store's schema, or brings it up to date, in one transaction; for deployments in which the program itself
 * may not change schemas. If several processes migrate at once, one does it and the others find it done.
 *
 * @throws OpenError, StoreUnavailableError, InvalidArgumentError
 * @example
 * ```ts
 * const { statements } = await migrate('postgres://owner@localhost/bank', { dryRun: true })
 * console.log(statements.join(';\n'))
 * ```
 */
export async function migrate(
  connection: string | PostgresConfig | PostgresPool,
  options: MigrateOptions = {},
): Promise<Migration> {
  const {
    schema = 'mneme',
    dryRun = false,
    connectTimeout = 10_000,
  } = checkOptions(options, 'options', ['schema', 'dryRun', 'connectTimeout'])
  checkBoolean(dryRun, 'options.dryRun')
  checkTimer(connectTimeout, 'options.connectTimeout', 1)
  const quoted = quoteSchema(schema)
  const { pool, end } = await poolOf(connection, connectTimeout, ALL)
  // An index on a large table takes its time.
  const connections = new Connections(pool, {
    connectTimeout,
    statementTimeout: MAX_TIMER_MS,
    prepare: false,
  })
  try {
    return await migrateSchema(connections, quoted, dryRun)
  } finally {
    connections.close()
    await end()
  }
}

const OPTIONS = ['schema', 'migrate', 'prepare', 'standbys'] as const
const TIMEOUTS = ['connectTimeout', 'statementTimeout', 'busyTimeout'] as const
const ALL = [...OPTIONS, ...TIMEOUTS, ...STORE_OPTIONS] as const
