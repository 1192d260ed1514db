import { InvalidArgumentError, quote } from '../../base/errors.ts'
import type { KurrentCredentials } from './driver.ts'

/** A connection string, checked, and what a store needs to know of it. */
export interface Connection {
  /** The driver's connection string. It holds the password, so it must not be in a message. */
  readonly text: string
  /** The user. The driver's native part does not decode the user in the string. */
  readonly credentials: KurrentCredentials | undefined
  /** Whether reading goes to the leader; `false` if the string prefers other nodes. */
  readonly requiresLeader: boolean
}

/**
 * Checks a connection string before the driver sees it. The driver warns of what it does not know by printing the
 * whole string, password and all, and leaves out a password without `tls` in silence.
 *
 * @param deadline milliseconds that the client may wait for an answer, if the string does not say.
 * @throws InvalidArgumentError, which repeats nothing of the string but the name of a parameter.
 */
export function readConnection(connection: string, deadline: number): Connection {
  const match = SHAPE.exec(connection.trim())
  if (!match?.groups) throw new InvalidArgumentError('connection', EXPECTED)
  const { discover, credentials, hosts, query } = match.groups
  for (const host of hosts!.split(',')) checkHost(host)
  const parameters = parametersOf(query ?? '')
  if (credentials !== undefined && parameters.get('tls') === 'false') {
    const expected = 'one with tls (leave out tls=false) or one without a password, which would not be sent'
    throw new InvalidArgumentError('connection', expected)
  }
  const preference = parameters.get('nodePreference')?.toLowerCase() ?? 'leader'
  // The store needs to know why an append failed; and the client has no other way to be told of deadlines.
  parameters.delete('throwOnAppendFailure')
  if (!parameters.has('defaultDeadline')) parameters.set('defaultDeadline', String(deadline))
  // Its native part waits so long before it reads for the first time, half a second by itself.
  if (!parameters.has('discoveryInterval')) parameters.set('discoveryInterval', '100')
  const server = `${credentials === undefined ? '' : `${credentials}@`}${hosts!}`
  const rest = [...parameters].map(([name, value]) => `${name}=${value}`).join('&')
  return {
    text: `kurrentdb${discover ?? ''}://${server}?${rest}`,
    credentials: credentials === undefined ? undefined : readCredentials(credentials),
    requiresLeader: preference === 'leader',
  }
}

/**
 * The connection string that the environment describes: `KURRENT_HOST` (`localhost`), `KURRENT_PORT` (2113),
 * `KURRENT_TLS` (`false`), and, if `KURRENT_PASSWORD` is set, `KURRENT_USERNAME` (`admin`) with it.
 *
 * @throws InvalidArgumentError
 */
export function environmentConnection(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const read = (name: string) => (environment[name] === '' ? undefined : environment[name])
  const { host, port, tls, username, password } = {
    host: read('KURRENT_HOST') ?? 'localhost',
    port: read('KURRENT_PORT') ?? '2113',
    tls: read('KURRENT_TLS') ?? 'false',
    username: read('KURRENT_USERNAME') ?? 'admin',
    password: read('KURRENT_PASSWORD'),
  }
  if (!HOST.test(host)) throw new InvalidArgumentError('KURRENT_HOST', 'the name or address of a host')
  if (!isPort(port)) throw new InvalidArgumentError('KURRENT_PORT', 'a port: a number from 1 to 65535')
  if (tls !== 'true' && tls !== 'false') throw new InvalidArgumentError('KURRENT_TLS', 'true or false')
  if (password !== undefined && tls === 'false') {
    throw new InvalidArgumentError(
      'KURRENT_TLS',
      'true where KURRENT_PASSWORD is set, which would not be sent',
    )
  }
  const credentials = [username, password ?? ''].map(encodeURIComponent).join(':')
  return `kurrentdb://${password === undefined ? '' : `${credentials}@`}${host}:${port}?tls=${tls}`
}

const SHAPE =
  /^(?:kurrentdb|kurrent|kdb|esdb)(?<discover>\+discover)?:\/\/(?:(?<credentials>[^/?]*)@)?(?<hosts>[^/?@]+)\/*(?:\?(?<query>.*))?$/
const HOST = /^[^\s$+!?*'(),;[\]{}|"%~#<>=&:@/]+$/
const EXPECTED =
  'a connection string like kurrentdb://user:password@host:2113 or kurrentdb://host:2113?tls=false'

function readCredentials(credentials: string): KurrentCredentials {
  const parts = credentials.split(':')
  try {
    const [username, password] = parts.map(decodeURIComponent)
    if (parts.length === 2 && username && password) return { username, password }
  } catch {
    // A lone %, which is told of below.
  }
  const expected =
    "one with user:password before the @, where other than letters and digits are written like %40 for '@'"
  throw new InvalidArgumentError('connection', expected)
}

function checkHost(text: string): void {
  const [host = '', port = '2113', ...rest] = text.split(':')
  if (rest.length > 0 || !HOST.test(host) || !isPort(port)) {
    throw new InvalidArgumentError(
      'connection',
      `${EXPECTED}; hosts are written name:port, several with commas`,
    )
  }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536
}

/** The parameters by their names as the driver writes them; it does not mind case. */
function parametersOf(query: string): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const part of query.split('&').filter((text) => text !== '')) {
    const [given = '', ...values] = part.split('=')
    const value = values.join('=').trim()
    const name = NAMES.find((known) => known.toLowerCase() === given.trim().toLowerCase())
    if (name === undefined) {
      const known = `a connection string with the driver's parameters (${NAMES.join(', ')})`
      throw new InvalidArgumentError('connection', `${known}, not ${quote(given)}`)
    }
    const expected = PARAMETERS[name]
    if (!expected.shape.test(value)) {
      throw new InvalidArgumentError(`connection.${name}`, expected.text)
    }
    parameters.set(name, value)
  }
  return parameters
}

const BOOLEAN = { shape: /^(?:true|false)$/, text: 'true or false' }
const WHOLE = { shape: /^-?\d{1,9}$/, text: 'a whole number' }
const TEXT = { shape: /^[^?&]+$/, text: 'a text that is not empty' }

const PARAMETERS = {
  tls: BOOLEAN,
  tlsVerifyCert: BOOLEAN,
  tlsCAFile: TEXT,
  userCertFile: TEXT,
  userKeyFile: TEXT,
  connectionName: TEXT,
  nodePreference: {
    shape: /^(?:leader|follower|read_?only_?replica|random)$/i,
    text: 'leader, follower, readOnlyReplica or random',
  },
  maxDiscoverAttempts: WHOLE,
  discoveryInterval: WHOLE,
  gossipTimeout: WHOLE,
  defaultDeadline: { shape: /^[1-9]\d{0,8}$/, text: 'a number of milliseconds' },
  keepAliveInterval: WHOLE,
  keepAliveTimeout: WHOLE,
  throwOnAppendFailure: BOOLEAN,
} as const

const NAMES = Object.keys(PARAMETERS) as (keyof typeof PARAMETERS)[]
