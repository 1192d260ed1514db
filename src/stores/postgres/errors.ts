import {
  isMnemeError,
  OpenError,
  StoreFailedError,
  StoreFullError,
  StoreTimeoutError,
  StoreUnavailableError,
  type AnyMnemeError,
} from '../../base/errors.ts'

/** What went wrong, as far as it matters what is done about it. */
export type Fault =
  /** The connection was lost, or there was none: if something was sent, nobody knows what became of it. */
  | 'disconnected'
  /** A lock was not had in time. */
  | 'locked'
  /** The server ended the statement, because it took too long or somebody asked for it. */
  | 'cancelled'
  /** It may succeed if it is tried again at once. */
  | 'transient'
  /** It needs a transaction of its own, because the default isolation is another. */
  | 'isolation'
  /** The server knows another set of prepared statements than this side thinks: a pooler is between them. */
  | 'unprepared'
  /** The server takes no writes: a standby, or one set to read only. */
  | 'read-only'
  | 'full'
  | 'denied'
  /** Another error of the server, which has undone what it was doing. */
  | 'refused'

/** Tells by what the server said. Whatever does not come from the server is taken for a lost connection. */
export function faultOf(error: unknown): Fault {
  const { code, severity, routine, message } = fieldsOf(error)
  if (code === undefined || severity === undefined) return 'disconnected'
  // It ends the connection with it: a shutdown, a failover, a pooler that has lost its server.
  if (severity === 'FATAL' || severity === 'PANIC') return isDenied(code, message) ? 'denied' : 'disconnected'
  switch (code) {
    case '55P03':
      return 'locked'
    case '57014':
      return 'cancelled'
    case '40001':
    case '40P01':
      return 'transient'
    case '25001':
      return 'isolation'
    case '26000':
    case '42P05':
      return 'unprepared'
    case '25006':
      return 'read-only'
    case '53100':
      return 'full'
    case '42501':
      return 'denied'
    case '08P01':
      // A pooler's own errors have no routine of the server's.
      return routine === undefined ? 'disconnected' : 'refused'
    default:
      return code.startsWith('08') || code.startsWith('57P') ? 'disconnected' : 'refused'
  }
}

/** A wrong role, password or database; a pooler has one code for all that it has to say. */
function isDenied(code: string, message: string): boolean {
  if (code === '08P01') return /startup parameter|no such|password|auth|not allowed/.test(message)
  return /^28|^3D|^42501/.test(code)
}

/** Whether connecting may succeed a little later: the server starts, or the network is down for a moment. */
export function isTransient(error: unknown): boolean {
  const { code, severity, message } = fieldsOf(error)
  if (isMnemeError(error)) return false
  if (severity !== undefined) return code === '53300' || faultOf(error) === 'disconnected'
  return code === undefined ? /^Connection terminated|timeout/.test(message) : NETWORK.has(code)
}

/** Of the system's codes, those of a server that is not there, or not yet. ENOENT: nor is its socket. */
const NETWORK = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN'],
  ...['ENETUNREACH', 'ENETDOWN', 'EAI_AGAIN', 'ENOTFOUND', 'ENOENT'],
])

/** A driver's error as one of Mneme's, for a call that wrote nothing. */
export function asMnemeError(error: unknown): AnyMnemeError {
  if (isMnemeError(error)) return error
  const cause = causeOf(error)
  switch (faultOf(error)) {
    case 'disconnected':
      return new StoreUnavailableError('the connection to PostgreSQL was lost, or not had', { cause })
    case 'cancelled':
    case 'locked':
      return new StoreTimeoutError('PostgreSQL ended the statement: it took too long', { cause })
    case 'read-only':
      return new StoreUnavailableError('the server takes no writes: it is a standby, or set to read only', {
        cause,
      })
    case 'full':
      return new StoreFullError('there is no room left on the server', { cause })
    case 'denied':
      return new OpenError('access-denied', `PostgreSQL denied access: ${cause.message}`, { cause })
    default:
      return new StoreFailedError(`PostgreSQL refused: ${cause.message}`, { cause })
  }
}

/** The same of an error that came while opening. */
export function asOpenError(error: unknown): AnyMnemeError {
  if (isMnemeError(error)) return error
  const cause = causeOf(error)
  switch (faultOf(error)) {
    case 'disconnected':
      return isTransient(error)
        ? asMnemeError(error)
        : new OpenError('failed', `there was no connecting to PostgreSQL: ${cause.message}`, { cause })
    case 'read-only':
      return new OpenError('read-only', 'there is no schema of a store, and the server takes no writes', {
        cause,
      })
    case 'refused':
      return new OpenError('failed', `PostgreSQL refused: ${cause.message}`, { cause })
    default:
      return asMnemeError(error)
  }
}

/**
 * What may be told of a driver's error. Its message may quote a parameter, its details hold keys and data, and an
 * error of connecting names the address or even the whole connection string: those are left out.
 */
export function causeOf(error: unknown): Error {
  const { code, severity, message, schema, table, constraint } = fieldsOf(error)
  const isServer = severity !== undefined
  // The classes whose messages quote no data: 22 does, and P0 may, which is a trigger's own.
  const isTold = isServer ? /^(08|2[3568]|3[DF]|4[02]|5[3-8])/.test(code ?? '') : DRIVERS_OWN.test(message)
  const cause = new Error(
    isTold ? message : isServer ? 'the server refused a value' : 'the connection failed',
  )
  cause.name = 'PostgresError'
  return Object.assign(cause, defined({ code, severity, schema, table, constraint }))
}

/** Messages of the driver that quote nothing; others may be of a function that was handed in for the password. */
const DRIVERS_OWN =
  /^(Connection terminated|timeout exceeded|The server does not support SSL|SASL: |Cannot use a pool)/

interface Fields {
  readonly code?: string | undefined
  readonly severity?: string | undefined
  readonly routine?: string | undefined
  readonly schema?: string | undefined
  readonly table?: string | undefined
  readonly constraint?: string | undefined
  readonly message: string
}

function fieldsOf(error: unknown): Fields {
  if (typeof error !== 'object' || error === null) return { message: '' }
  const texts = Object.entries({ ...error, message: (error as Error).message }).filter(
    ([, value]) => typeof value === 'string',
  )
  return { message: '', ...Object.fromEntries(texts) }
}

function defined(fields: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
