import {
  isMnemeError,
  OpenError,
  StoreFailedError,
  StoreFullError,
  StoreTimeoutError,
  StoreUnavailableError,
  type AnyMnemeError,
} from '../../base/errors.ts'
import { refusedQuery } from '../../adapter/projection-target.ts'

/** The kinds of errors that are handled differently. */
export type Fault =
  /** The connection was lost, or could not be made: the outcome of a statement that was sent is unknown. */
  | 'disconnected'
  /** A lock was not granted in time. */
  | 'locked'
  /** The server cancelled the statement because it took too long, or on request. */
  | 'cancelled'
  /** An immediate retry may succeed. */
  | 'transient'
  /** It needs an explicit transaction, because the default isolation is not READ COMMITTED. */
  | 'isolation'
  /** The server lacks a prepared statement, or has one unexpectedly: a pooler is in between. */
  | 'unprepared'
  /** The server takes no writes: it is a standby, or set to read only. */
  | 'read-only'
  | 'full'
  | 'denied'
  /** Any other error of the server, which has undone the statement. */
  | 'refused'

/** The kind of an error, by the server's code. An error that is not the server's is taken for a lost connection. */
export function faultOf(error: unknown): Fault {
  const { code, severity, routine, message } = fieldsOf(error)
  if (code === undefined || severity === undefined) return 'disconnected'
  // The server ends the connection with it: a shutdown, a failover, a pooler that has lost its server.
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

/** Whether the role, password or database is wrong; a pooler has one code for all of its errors. */
function isDenied(code: string, message: string): boolean {
  if (code === '08P01') return /startup parameter|no such|password|auth|not allowed/.test(message)
  return /^28|^3D|^42501/.test(code)
}

/** Whether connecting may succeed a little later: the server is starting, or the network is down for a moment. */
export function isTransient(error: unknown): boolean {
  const { code, severity, message } = fieldsOf(error)
  if (isMnemeError(error)) return false
  if (severity !== undefined) return code === '53300' || faultOf(error) === 'disconnected'
  return code === undefined ? /^Connection terminated|timeout/.test(message) : NETWORK.has(code)
}

/** The system's codes for a server that cannot be reached; ENOENT: its socket does not exist. */
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
      return new StoreUnavailableError('the connection to PostgreSQL was lost, or could not be made', {
        cause,
      })
    case 'cancelled':
    case 'locked':
      return new StoreTimeoutError('PostgreSQL ended the statement: it took too long', { cause })
    case 'read-only':
      return new StoreUnavailableError('the server takes no writes: it is a standby, or set to read only', {
        cause,
      })
    case 'full':
      return new StoreFullError('the disk of the server is full', { cause })
    case 'denied':
      return new OpenError('access-denied', `PostgreSQL denied access: ${cause.message}`, { cause })
    default:
      return new StoreFailedError(`PostgreSQL refused: ${cause.message}`, { cause })
  }
}

/**
 * The same for an error of a query of the user's own. One that is not the server's stays as it is: whether the connection
 * was lost is found out later.
 */
export function asQueryError(error: unknown): unknown {
  const { code = '', severity, message } = fieldsOf(error)
  if (severity === undefined) return error
  if (faultOf(error) !== 'refused' || !OF_QUERY.test(code)) return asMnemeError(error)
  // Only messages of class 22 quote values, which the error must not hold.
  const said = code.startsWith('22') ? message.replace(/".*"/s, '"…"') : message
  return refusedQuery('PostgreSQL', said, causeOf(error))
}

/** Not supported, cardinality, data, schema name, syntax or access rule, program limit. */
const OF_QUERY = /^(0A|21|22|3F|42|54)/

/** The same for an error while opening. */
export function asOpenError(error: unknown): AnyMnemeError {
  if (isMnemeError(error)) return error
  const cause = causeOf(error)
  switch (faultOf(error)) {
    case 'disconnected':
      return isTransient(error)
        ? asMnemeError(error)
        : new OpenError('failed', `could not connect to PostgreSQL: ${cause.message}`, { cause })
    case 'read-only':
      return new OpenError(
        'read-only',
        'the schema does not exist, and the server takes no writes: migrate it on the primary',
        {
          cause,
        },
      )
    case 'refused':
      return new OpenError('failed', `PostgreSQL refused: ${cause.message}`, { cause })
    default:
      return asMnemeError(error)
  }
}

/**
 * The part of a driver's error that holds no secrets. Its message may quote a parameter, its details hold keys and data,
 * and an error of connecting names the address or even the whole connection string: those are left out.
 */
export function causeOf(error: unknown): Error {
  const { code, severity, message, detail = '', schema, table, constraint } = fieldsOf(error)
  const isServer = severity !== undefined
  // Only classes whose messages quote no data: 22 does, and P0, which is a trigger's own, may.
  const isTold = isServer ? /^(08|2[3568B]|3[DF]|4[02]|5[3-8])/.test(code ?? '') : DRIVERS_OWN.test(message)
  // Names of views and constraints, but no data.
  const dependents = code === DEPENDENT_OBJECTS ? `: ${detail.split('\n').join(', ').slice(0, 500)}` : ''
  const cause = new Error(
    isTold ? message + dependents : isServer ? 'the server refused a value' : 'the connection failed',
  )
  cause.name = 'PostgresError'
  return Object.assign(cause, defined({ code, severity, schema, table, constraint }))
}

/** The object to be dropped has views, foreign keys or the like on it. */
const DEPENDENT_OBJECTS = '2BP01'

/** Messages of the driver that quote nothing; others may come from the user's function for the password. */
const DRIVERS_OWN =
  /^(Connection terminated|timeout exceeded|The server does not support SSL|SASL: |Cannot use a pool)/

interface Fields {
  readonly code?: string | undefined
  readonly severity?: string | undefined
  readonly routine?: string | undefined
  readonly detail?: string | undefined
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
