import type { StoreAdapter } from '../../adapter/store-adapter.ts'
import { Appender } from './append.ts'
import { Calls, type CallSettings } from './connection.ts'
import type { KurrentClient } from './driver.ts'
import { loadDriverParts } from './driver-internals.ts'
import { Eraser } from './erase.ts'
import { NEEDS_SERVER_26_1 } from './errors.ts'
import { knowsAppendRecords, readIdentity } from './server.ts'
import { keysPages } from './idempotency.ts'
import { Locator } from './locate.ts'
import { parseLogPosition } from './position.ts'
import { Reader } from './read.ts'
import { skip } from './skip.ts'
import { Snapshots } from './snapshots.ts'
import { subscriptionsTo } from './subscribe.ts'

/**
 * Opens a store on a server, which is asked what it can do.
 *
 * @param connect makes another client of the same kind; without it, the one given is left open.
 * @throws OpenError, StoreUnavailableError
 */
export async function kurrentdbAdapter(
  client: KurrentClient,
  settings: CallSettings,
  connect?: () => Promise<KurrentClient>,
): Promise<StoreAdapter> {
  const calls = new Calls(client, settings, await loadDriverParts(client), connect)
  try {
    const isModern = await knowsAppendRecords(calls)
    const common = {
      severalStreams: isModern,
      keys: isModern,
      settlesAny: false,
      truncation: true,
      erasesAtOnce: false,
      listsStreams: false,
      imports: true,
      snapshots: true,
    }
    const capabilities = isModern ? common : { ...common, needed: NEEDS_SERVER_26_1 }
    const reader = new Reader(calls)
    const locator = new Locator(calls, reader)
    const appender = new Appender(calls, reader, capabilities)
    const snapshots = new Snapshots(calls, reader)
    const eraser = new Eraser(calls, reader, snapshots, capabilities)
    let identity: Promise<string> | undefined
    return {
      capabilities,
      identity: () => {
        identity ??= readIdentity(calls, reader).catch((error: unknown) => {
          identity = undefined
          throw error
        })
        return identity
      },
      append: (request, signal) => appender.append(request, signal),
      erase: (request, signal) =>
        signal?.aborted ? Promise.reject(signal.reason as Error) : eraser.erase(request),
      skip: (request) => skip(calls, reader, eraser, request),
      read: (request) => reader.stream(request),
      readAll: (request) => reader.all(request),
      ...(isModern && { keys: (after) => keysPages(reader, after) }),
      heads: (streams) => reader.heads(streams),
      logHead: () => reader.logHead(),
      idAt: (position) => locator.idAt(parseLogPosition(position, 'from')),
      subscribe: subscriptionsTo(calls, reader, locator),
      snapshots,
      close: () => calls.close(),
    }
  } catch (error) {
    await calls.close()
    throw error
  }
}
