import { InvalidArgumentError } from '../../base/errors.ts'
import { makePool, type PostgresConfig, type PostgresPool } from './driver.ts'
import { asOpenError } from './errors.ts'

/**
 * The pool of a connection, and a function that ends it, unless it was handed in.
 *
 * @param options names of the store's own options, which would have no effect in a connection.
 * @throws InvalidArgumentError, OpenError
 */
export async function poolOf(
  connection: string | PostgresConfig | PostgresPool,
  connectTimeout: number,
  options: readonly string[],
): Promise<{ pool: PostgresPool; end: () => Promise<void> }> {
  checkPlace(connection, options)
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
  // An attempt to connect that never ends would keep the pool from ending.
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
  // A single client can connect, too, but hands out no connections.
  return typeof connection.connect === 'function' && 'totalCount' in connection
}

/** Refuses the store's own options in a connection: the driver would ignore them silently. */
function checkPlace(connection: string | PostgresConfig | PostgresPool, options: readonly string[]): void {
  const isObject = typeof connection === 'object' && (connection as unknown) !== null
  const text = isObject && 'connectionString' in connection ? connection.connectionString : connection
  const parameters = typeof text === 'string' ? text.slice(text.indexOf('?') + 1).split('&') : []
  const given = new Set([
    ...(isObject && !isPool(connection) ? Object.keys(connection) : []),
    ...parameters.map((parameter) => parameter.split('=')[0]),
  ])
  const misplaced = options.find((option) => given.has(option))
  if (misplaced === undefined) return
  throw new InvalidArgumentError(`connection.${misplaced}`, 'given with the options, the second argument')
}

/** Whether the driver can parse it; its error about a URL that it cannot parse would quote the password. */
function isUrl(connection: string): boolean {
  return /^postgres(ql)?:\/\//.test(connection) && URL.canParse(connection.replace('@/', '@host/'))
}
