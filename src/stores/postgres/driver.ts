import { OpenError } from '../../base/errors.ts'

/**
 * A connection pool, as node-postgres has it (`new pg.Pool(...)`).
 *
 * Typed by its shape, so that any copy and version of the driver fits.
 */
export interface PostgresPool {
  connect(): Promise<PostgresClient>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: (client: PostgresClient) => void): unknown
  readonly options?: { readonly max?: number | undefined } | undefined
  /** How many connections it has; tells a pool from a single client, which can connect, too. */
  readonly totalCount: number
  /** How many callers wait for a connection. */
  readonly waitingCount?: number
  /** How many connections are free. */
  readonly idleCount?: number
}

/** A connection taken from a pool. */
export interface PostgresClient {
  /** Sends a query object that speaks the protocol itself, as node-postgres' cursors and streams do. */
  query(query: PostgresQuery, callback: (error: Error | null) => void): unknown
  on(event: 'error' | 'notice', listener: (message: Error) => void): unknown
  on(event: 'notification', listener: (message: PostgresNotification) => void): unknown
  off(event: 'error' | 'notice', listener: (message: Error) => void): unknown
  off(event: 'notification', listener: (message: PostgresNotification) => void): unknown
  release(destroy?: boolean): void
}

/** A notification on a channel that a connection listens to. */
export interface PostgresNotification {
  readonly channel: string
  readonly payload?: string | undefined
}

/** A query that speaks the protocol itself, with the driver's callbacks. */
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

/** The part of the driver's connection that a query uses. */
export interface PostgresConnection {
  /** The statements that the server has prepared on it, by name. */
  readonly parsedStatements: Record<string, string | undefined>
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): unknown }
}

/** Options of the driver's pool, which are passed on: `host`, `ssl`, `max` and so on. */
export interface PostgresConfig {
  readonly connectionString?: string | undefined
  readonly [option: string]: unknown
}

/** Makes a pool with the installed driver. @throws OpenError if none is installed. */
export async function makePool(config: PostgresConfig): Promise<PostgresPool> {
  let Pool: new (config: PostgresConfig) => PostgresPool
  try {
    const module = (await import('pg')) as unknown as Driver
    ;({ Pool } = module.default ?? module)
  } catch (cause) {
    throw new OpenError('driver-missing', 'no PostgreSQL driver: install pg (npm install pg)', { cause })
  }
  const pool = new Pool(config)
  // The pool has dropped an idle connection that broke: nothing failed.
  pool.on('error', () => undefined)
  return pool
}

interface DriverExports {
  readonly Pool: new (config: PostgresConfig) => PostgresPool
}

type Driver = DriverExports & { readonly default?: DriverExports }
