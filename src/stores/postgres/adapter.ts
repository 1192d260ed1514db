import { ALL_CAPABILITIES } from '../../adapter/capabilities.ts'
import { tailLog } from '../../adapter/subscription-hub.ts'
import { skipByAppending } from '../../adapter/skipping.ts'
import type { StoreAdapter } from '../../adapter/store-adapter.ts'
import { Appender } from './appender.ts'
import { Connections, type CallSettings } from './connection.ts'
import type { PostgresPool } from './driver.ts'
import { History } from './history.ts'
import { StandbyHorizon } from './standby.ts'
import { LogWatch, type PollIntervals } from './subscribe.ts'
import { openSchema } from './migrate.ts'
import { Reader } from './read.ts'
import { quoteSchema } from './schema.ts'
import { snapshotsIn } from './snapshots.ts'
import { Statements } from './statements.ts'

/** How a store is kept in a database. */
export interface AdapterSettings extends CallSettings {
  readonly schema: string
  readonly busyTimeout: number
  readonly migrate: boolean
  readonly standbys: boolean
  /** How often the log is polled for subscribers; as documented by default. */
  readonly pollIntervals?: PollIntervals
  /** Milliseconds after which a poll that is not answered is given up; 5,000 by default. */
  readonly pollTimeout?: number
}

const POLL_TIMEOUT_MS = 5_000

/**
 * Opens a store in a schema of a database.
 *
 * @param end ends what was made for it alone.
 * @throws OpenError, StoreUnavailableError, InvalidArgumentError
 */
export async function postgresAdapter(
  pool: PostgresPool,
  settings: AdapterSettings,
  end: () => Promise<void> = () => Promise.resolve(),
): Promise<StoreAdapter> {
  const { schema, busyTimeout, migrate, standbys, statementTimeout } = settings
  const quoted = quoteSchema(schema)
  const statements = new Statements(quoted)
  const history = new History(statements)
  const connections = new Connections(pool, settings, (session) => history.check(session))
  const identity = await openSchema(connections, quoted, { mayMigrate: migrate, notesHorizon: standbys })
  const horizon = standbys ? new StandbyHorizon(connections, statements, history) : undefined
  // So that a standby can be read before anything is appended.
  await horizon?.note()
  const waits = { busyTimeout, settleTimeout: statementTimeout }
  const log = new LogWatch(connections, statements, identity, settings.pollIntervals)
  const appender = new Appender(connections, statements, history, waits, () => {
    horizon?.appended()
    log.appended()
  })
  const reader = new Reader(connections, statements, history, {
    busyTimeout,
    pollTimeout: settings.pollTimeout ?? POLL_TIMEOUT_MS,
  })
  return {
    capabilities: ALL_CAPABILITIES,
    identity: () => Promise.resolve(identity),
    append: (request, signal) => appender.append(request, signal),
    erase: (request, signal) =>
      signal?.aborted ? Promise.reject(signal.reason as Error) : appender.erase(request),
    skip: (request) => skipByAppending((append) => appender.append(append), request),
    read: (request) => reader.stream(request),
    readAll: (request) => reader.all(request),
    streams: (request) => reader.streams(request),
    keys: (after) => reader.keys(after),
    heads: (streams) => reader.heads(streams),
    logHead: () => reader.logHead(),
    idAt: (position) => reader.idAt(position),
    subscribe: tailLog({
      scan: (request) =>
        reader.scan(request, (isHeldBack) => {
          log.looked(isHeldBack)
        }),
      watch: log.watch,
      isSparing: true,
    }),
    snapshots: snapshotsIn(connections, statements),
    close: async () => {
      await Promise.all([horizon?.close(), log.close()])
      connections.close()
      await end()
    },
  }
}
