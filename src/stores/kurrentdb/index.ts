import { checkBoolean, checkOptions, checkWhole } from '../../base/arguments.ts'
import { checkKeyRing, createStore, STORE_OPTIONS } from '../../store/create-store.ts'
import { InvalidArgumentError, OpenError } from '../../base/errors.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { kurrentdbAdapter } from './adapter.ts'
import { environmentConnection, readConnection } from './options.ts'
import { type KurrentClient, makeClient } from './driver.ts'
import { causeOf } from './errors.ts'

export type { KurrentClient, KurrentCredentials, KurrentEvent, KurrentReader, StreamCheck } from './driver.ts'

/** Options of `kurrentdbStore`. */
export interface KurrentdbOptions extends StoreOptions {
  /**
   * Milliseconds to wait for the server's answer, and for a server that starts again. Then reading fails; what
   * became of an append is found out for as long again, before `OutcomeUnknownError`. 10,000.
   */
  readonly deadline?: number | undefined
  /**
   * Whether only the leader of a cluster may answer reads, so that a store reads what it has acknowledged. `true`,
   * unless `nodePreference` in the connection string names another node.
   */
  readonly requiresLeader?: boolean | undefined
}

/**
 * Opens a store on KurrentDB, formerly EventStoreDB, by its official client `@kurrent/kurrentdb-client` (1.3 or
 * newer), which is to be installed. On servers before 26.1 it takes one stream at a time and no idempotency keys.
 *
 * @param connection a connection string (`kurrentdb://`, `kurrentdb+discover://`, `esdb://` and so on); a client,
 *   which is then left open by `close`; or nothing, for what `KURRENT_HOST` (`localhost`), `KURRENT_PORT` (2113),
 *   `KURRENT_TLS` (`false`), `KURRENT_USERNAME` (`admin`) and `KURRENT_PASSWORD` say.
 * @throws OpenError if it cannot be opened; its `reason` says why. Nothing is remembered: try again.
 * @throws StoreUnavailableError if no server can be reached within the deadline.
 * @throws InvalidArgumentError if an argument is wrong.
 * @example
 * ```ts
 * const store = await kurrentdbStore('kurrentdb://localhost:2113?tls=false')
 * ```
 */
export async function kurrentdbStore(
  connection: string | KurrentClient = environmentConnection(),
  options: KurrentdbOptions = {},
): Promise<EventStore> {
  const known = ['deadline', 'requiresLeader', ...STORE_OPTIONS] as const
  const { deadline = 10_000, requiresLeader, ...rest } = checkOptions(options, 'options', known)
  checkWhole(deadline, 'options.deadline', 1)
  if (deadline > MAX_DEADLINE_MS)
    throw new InvalidArgumentError('options.deadline', `at most ${String(MAX_DEADLINE_MS)}`)
  if (requiresLeader !== undefined) checkBoolean(requiresLeader, 'options.requiresLeader')
  // `createStore` checks these as well, but by then there would be a connection.
  if (rest.maxPending !== undefined) checkWhole(rest.maxPending, 'maxPending', 1)
  if (rest.cachedStates !== undefined) checkWhole(rest.cachedStates, 'cachedStates', 0)
  checkKeyRing(rest.personal)
  if (typeof connection !== 'string') {
    const client = checkClient(connection)
    return createStore(
      await kurrentdbAdapter(client, { deadline, requiresLeader: requiresLeader ?? true }),
      rest,
    )
  }
  const checked = readConnection(connection, deadline)
  const { credentials } = checked
  const settings = { deadline, credentials, requiresLeader: requiresLeader ?? checked.requiresLeader }
  const connect = () => connectTo(checked.text)
  return createStore(await kurrentdbAdapter(await connect(), settings, connect), rest)
}

/** A certificate that is not there is told of when the client is made. @throws OpenError */
async function connectTo(connectionString: string): Promise<KurrentClient> {
  try {
    return await makeClient(connectionString)
  } catch (error) {
    if (error instanceof OpenError) throw error
    const message =
      'the driver refused the connection string: a file of certificates that it names cannot be read?'
    throw new OpenError('failed', message, { cause: causeOf(error) })
  }
}

function checkClient(client: KurrentClient): KurrentClient {
  const isClient =
    typeof client === 'object' &&
    (client as unknown) !== null &&
    typeof client.appendToStream === 'function' &&
    typeof client.appendRecords === 'function' &&
    typeof (client.rustClient as unknown) === 'object'
  if (isClient) return client
  throw new InvalidArgumentError(
    'connection',
    'a connection string like kurrentdb://host:2113?tls=false, or a KurrentDBClient of @kurrent/kurrentdb-client 1.3 or newer',
  )
}

/** A day, in milliseconds. */
const MAX_DEADLINE_MS = 86_400_000
