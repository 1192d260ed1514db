import { OpenError } from '../../base/errors.ts'

/**
 * What a store needs of a connection pool: that of node-postgres (`new pg.Pool(...)`) has it.
 *
 * Typed by its shape, so that any copy and any version of the driver will do.
 */
export interface PostgresPool {
  connect(): Promise<PostgresClient>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: (client: PostgresClient) => void): unknown
  readonly options?: { readonly max?: number | undefined } | undefined
  /** How many connections it has; a single client, which can connect too, has no such number. */
  readonly totalCount: number
  /** How many wait for a connection. */
  readonly waitingCount?: number
}

/** What a store needs of a connection, taken from a pool. */
export interface PostgresClient {
  /** Sends a query of one's own making, as node-postgres' cursors and streams do. */
  query(query: PostgresQuery): unknown
  on(event: 'error' | 'notice', listener: (message: Error) => void): unknown
  on(event: 'notification', listener: (message: PostgresNotification) => void): unknown
  off(event: 'error' | 'notice', listener: (message: Error) => void): unknown
  off(event: 'notification', listener: (message: PostgresNotification) => void): unknown
  release(destroy?: boolean): void
}

/** What a connection hears that listens to a channel. */
export interface PostgresNotification {
  readonly payload?: string | undefined
}

/** A query that speaks the protocol itself, and what the driver tells it. */
export interface PostgresQuery {
  readonly name: string
  readonly text: string
  callback?: ((error: Error | null) => void) | undefined
  submit(connection: PostgresConnection): Error | null
  handleRowDescription(message: unknown): void
  handleDataRow(message: { readonly fields: (string | null)[] }): void
  handlePortalSuspended(): void
  handleCommandComplete(message: unknown): void
  handleEmptyQuery(): void
  handleError(error: Error): void
  handleReadyForQuery(connection: PostgresConnection): void
}

/** What a query needs of the driver's connection. */
export interface PostgresConnection {
  /** The statements that the server has prepared on it, by name. */
  readonly parsedStatements: Record<string, string | undefined>
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): unknown }
}

/** Options of the driver's pool, all of which pass through: `host`, `ssl`, `max` and so on. */
export interface PostgresConfig {
  readonly connectionString?: string | undefined
  readonly [option: string]: unknown
}

/** Makes a pool with the driver that is installed. @throws OpenError where there is none. */
export async function makePool(config: PostgresConfig): Promise<PostgresPool> {
  let Pool: new (config: PostgresConfig) => PostgresPool
  try {
    const module = (await import('pg')) as unknown as Driver
    ;({ Pool } = module.default ?? module)
  } catch (cause) {
    throw new OpenError('driver-missing', 'no PostgreSQL driver: install pg (npm install pg)', { cause })
  }
  const pool = new Pool(config)
  // A connection that breaks while nobody uses it is no failure of anything: the pool has dropped it.
  pool.on('error', () => undefined)
  return pool
}

/** A connection may break in the moment in which it is handed out, when its pool does not listen any more. */
export function listenTo(pool: PostgresPool): void {
  if (listened.has(pool)) return
  listened.add(pool)
  pool.on('connect', (client) => client.on('error', () => undefined))
}

const listened = new WeakSet<PostgresPool>()

interface DriverExports {
  readonly Pool: new (config: PostgresConfig) => PostgresPool
}

type Driver = DriverExports & { readonly default?: DriverExports }
