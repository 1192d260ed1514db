import { checkOptions, checkWhole } from '../checks.ts'
import { createStore } from '../create-store.ts'
import { InvalidArgumentError } from '../errors.ts'
import type { EventStore, StoreOptions } from '../store.ts'
import { postgresAdapter } from './adapter.ts'
import { Connections } from './connections.ts'
import { makePool, type PostgresConfig, type PostgresPool } from './driver.ts'
import { asOpenError } from './faults.ts'
import { migrateSchema, type Migration } from './open.ts'
import { quoteSchema } from './schema.ts'

export type {
  PostgresClient,
  PostgresConfig,
  PostgresConnection,
  PostgresNotification,
  PostgresPool,
  PostgresQuery,
} from './driver.ts'
export type { Migration } from './open.ts'

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
  const known = [...OPTIONS, ...TIMEOUTS, ...STORE] as const
  const {
    schema = 'mneme',
    migrate = true,
    prepare = false,
    standbys = false,
    connectTimeout = 10_000,
    statementTimeout = 30_000,
    busyTimeout = 5_000,
    ...rest
  } = checkOptions(options, 'options', known)
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
  const { pool, end } = await poolOf(connection, connectTimeout)
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
  const { pool, end } = await poolOf(connection, connectTimeout)
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

/** The longest that a timer of Node's can wait, in milliseconds. */
const LONGEST = 2 ** 31 - 1

/** The pool of a connection, and what ends it: nothing, if it was handed in. */
async function poolOf(
  connection: string | PostgresConfig | PostgresPool,
  connectTimeout: number,
): Promise<{ pool: PostgresPool; end: () => Promise<void> }> {
  checkPlace(connection)
  if (typeof connection === 'string') {
    if (isUrl(connection)) return ownPool({ connectionString: connection }, connectTimeout)
  } else if ((connection as unknown) !== null && typeof connection === 'object') {
    if (isPool(connection)) return { pool: connection, end: () => Promise.resolve() }
    if (!('query' in connection) && !('connect' in connection)) return ownPool(connection, connectTimeout)
  }
  throw new InvalidArgumentError(
    'connection',
    'a URL like postgres://user@host/database, the options of a pg.Pool, or a pg.Pool',
  )
}

async function ownPool(
  config: PostgresConfig,
  connectTimeout: number,
): Promise<{ pool: PostgresPool; end: () => Promise<void> }> {
  // One that never comes about would keep the pool from ending.
  const defaults = { connectionTimeoutMillis: connectTimeout }
  try {
    const pool = await makePool({
      fallback_application_name: 'mneme',
      keepAlive: true,
      ...defaults,
      ...config,
    })
    return { pool, end: () => pool.end() }
  } catch (error) {
    throw asOpenError(error)
  }
}

function isPool(connection: PostgresConfig | PostgresPool): connection is PostgresPool {
  // A single client can connect, too, but hands out none.
  return typeof connection.connect === 'function' && 'totalCount' in connection
}

function checkBoolean(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw new InvalidArgumentError(`options.${name}`, 'true or false')
}

function checkTimeout(value: number, name: string): void {
  checkWhole(value, `options.${name}`, 1)
  if (value > LONGEST) throw new InvalidArgumentError(`options.${name}`, `at most ${String(LONGEST)}`)
}

/** The driver would take a store's options without a word, and without effect. */
function checkPlace(connection: string | PostgresConfig | PostgresPool): void {
  const isObject = typeof connection === 'object' && (connection as unknown) !== null
  const text = isObject && 'connectionString' in connection ? connection.connectionString : connection
  const parameters = typeof text === 'string' ? text.slice(text.indexOf('?') + 1).split('&') : []
  const given = new Set([
    ...(isObject && !isPool(connection) ? Object.keys(connection) : []),
    ...parameters.map((parameter) => parameter.split('=')[0]),
  ])
  const misplaced = [...OPTIONS, ...TIMEOUTS, ...STORE].find((option) => given.has(option))
  if (misplaced === undefined) return
  throw new InvalidArgumentError(`connection.${misplaced}`, 'given with the options, the second argument')
}

/** Whether the driver can make something of it; it would tell of one that it cannot, password and all. */
function isUrl(connection: string): boolean {
  return /^postgres(ql)?:\/\//.test(connection) && URL.canParse(connection.replace('@/', '@host/'))
}
