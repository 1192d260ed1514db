import { ALL_CAPABILITIES } from '../../adapter/capabilities.ts'
import { tailLog } from '../../adapter/subscription-hub.ts'
import { formatPosition, parsePosition } from '../../adapter/position.ts'
import { skipByAppending } from '../../adapter/skipping.ts'
import type { StoreAdapter } from '../../adapter/store-adapter.ts'
import { headOf } from './append.ts'
import { erase } from './erase.ts'
import { ensureNotDeleted } from './erased.ts'
import { keysPages } from './kept-keys.ts'
import { retryBusy } from './errors.ts'
import type { Statements } from './connection.ts'
import { nextTurn } from '../../base/clock.ts'
import { isTurnDue } from './event-loop.ts'
import { allPages, idAt, logHeadOf, scanPages, streamPages } from './read.ts'
import { streamsPages } from './streams.ts'
import { snapshotsIn } from './snapshots.ts'
import type { SharedFile } from './shared-file.ts'

/** A store's adapter on an open file, which it may share. Waits up to `busyTimeout` ms for other processes. */
export function sqliteAdapter(file: SharedFile, busyTimeout: number): StoreAdapter {
  const { connection, queue, signal, recent } = file
  const reading = async <T>(read: (sql: Statements) => T): Promise<T> => {
    if (isTurnDue()) await nextTurn()
    return retryBusy(() => {
      connection.history.ensure()
      return connection.reading(read)
    }, busyTimeout)
  }
  return {
    capabilities: ALL_CAPABILITIES,
    identity: () => Promise.resolve(connection.identity),
    append: (request, signal) => queue.append(request, busyTimeout, signal),
    erase: (request, signal) => erase(file, request, busyTimeout, signal),
    skip: (request) => skipByAppending((append) => queue.append(append, busyTimeout), request),
    read: (request) => streamPages(connection, request, busyTimeout),
    readAll: (request) => allPages(connection, request, busyTimeout),
    streams: (request) => streamsPages(connection, request, busyTimeout),
    keys: (after) => keysPages(connection, after, busyTimeout),
    heads: (streams) =>
      reading((sql) => streams.map((stream) => ensureNotDeleted(stream, headOf(sql, stream)))),
    logHead: async () => {
      const position = await reading(logHeadOf)
      return position > 0 ? formatPosition(position) : undefined
    },
    idAt: async (position) => {
      const number = parsePosition(position, 'from')
      return reading((sql) => idAt(sql, number))
    },
    subscribe: tailLog({
      scan: (request) => scanPages(connection, recent, request, busyTimeout),
      watch: (changed) => signal.watch(changed),
    }),
    snapshots: snapshotsIn(file, reading, busyTimeout),
    close: () => file.release(),
  }
}
