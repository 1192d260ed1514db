import { checkOptions, checkWhole } from '../../base/arguments.ts'
import { createStore } from '../../store/create-store.ts'
import { InvalidArgumentError } from '../../base/errors.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { postgresAdapter } from './adapter.ts'
import { Connections } from './connection.ts'
import type { PostgresConfig, PostgresPool } from './driver.ts'
import { migrateSchema, type Migration } from './migrate.ts'
import { checkTimeout, LONGEST, poolOf } from './options.ts'
import { quoteSchema } from './schema.ts'

export type {
  PostgresClient,
  PostgresConfig,
  PostgresConnection,
  PostgresNotification,
  PostgresPool,
  PostgresQuery,
} from './driver.ts'
export type { Migration } from './migrate.ts'
export { postgresTarget } from './projection-target.ts'
export type { PostgresTargetOptions, PostgresTransaction } from './projection-target.ts'

/** Options of `postgresStore`. */
export interface PostgresOptions extends StoreOptions {
  /** The schema that holds the store; made where there is none. Several stores can be in one database. `mneme`. */
  readonly schema?: string | undefined
  /**
   * Whether the schema may be made and brought up to date when the store is opened. `true`. With `false` the
   * store only checks, and fails with `OpenError` where `migrate` is to be run first.
   */
  readonly migrate?: boolean | undefined
  /**
   * Whether the server keeps prepared statements for each connection, which saves it planning. `false`: a
   * transaction pooler like pgbouncer may be between. Where one is after all, the store notices.
   */
  readonly prepare?: boolean | undefined
  /** Whether to note for standbys, ten times a second, how far the log is complete, so that it can be read there. `false`. */
  readonly standbys?: boolean | undefined
  /** Milliseconds to wait for a connection, and for a server that starts again, before `StoreUnavailableError`. 10,000. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds to wait for the server's answer. Then reading fails with `StoreTimeoutError`; what became of an
   * append is found out for as long again, before `OutcomeUnknownError`. 30,000.
   */
  readonly statementTimeout?: number | undefined
  /**
   * Milliseconds to wait while others append to the same streams, before `StoreBusyError`; less than
   * `statementTimeout`. 5,000.
   */
  readonly busyTimeout?: number | undefined
}

/** Options of `migrate`. */
export interface MigrateOptions {
  /** As in `postgresStore`. `mneme`. */
  readonly schema?: string | undefined
  /** Only says what it would do. `false`. */
  readonly dryRun?: boolean | undefined
  /** As in `postgresStore`. 10,000. */
  readonly connectTimeout?: number | undefined
}

/**
 * Opens a store in a PostgreSQL database (14 or newer), by the driver `pg`, which is to be installed.
 *
 * Any number of processes may use it, through transaction poolers too. What is acknowledged is committed with
 * `synchronous_commit=on`, whatever the database's default.
 *
 * @param connection a URL, the options of a `pg.Pool`, or a `pg.Pool`, which is then left open by `close`.
 * @throws OpenError where it cannot be opened; its `reason` says why. Nothing is remembered: try again.
 * @throws StoreUnavailableError where the server cannot be reached within `connectTimeout`.
 * @throws InvalidArgumentError where an argument is wrong.
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
  for (const [name, value] of Object.entries({ migrate, prepare, standbys })) checkBoolean(value, name)
  for (const [name, value] of Object.entries({ connectTimeout, statementTimeout, busyTimeout })) {
    checkTimeout(value, name)
  }
  if (busyTimeout >= statementTimeout) {
    throw new InvalidArgumentError('options.busyTimeout', 'less than statementTimeout')
  }
  quoteSchema(schema)
  // `createStore` checks these as well, but by then the schema would have been made.
  if (rest.maxPending !== undefined) checkWhole(rest.maxPending, 'maxPending', 1)
  if (rest.cachedStates !== undefined) checkWhole(rest.cachedStates, 'cachedStates', 0)
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
 * may not change schemas. Of several processes that do so at once one does it, and the others find it done.
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
  checkBoolean(dryRun, 'dryRun')
  checkTimeout(connectTimeout, 'connectTimeout')
  const quoted = quoteSchema(schema)
  const { pool, end } = await poolOf(connection, connectTimeout, ALL)
  // An index on a large table takes its time.
  const connections = new Connections(pool, { connectTimeout, statementTimeout: LONGEST, prepare: false })
  try {
    return await migrateSchema(connections, quoted, dryRun)
  } finally {
    connections.close()
    await end()
  }
}

const OPTIONS = ['schema', 'migrate', 'prepare', 'standbys'] as const
const TIMEOUTS = ['connectTimeout', 'statementTimeout', 'busyTimeout'] as const
const STORE = ['maxPending', 'cachedStates'] as const
const ALL = [...OPTIONS, ...TIMEOUTS, ...STORE] as const

function checkBoolean(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw new InvalidArgumentError(`options.${name}`, 'true or false')
}
