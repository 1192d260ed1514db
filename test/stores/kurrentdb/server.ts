import { devNull } from 'node:os'
import type { ContractRealm } from 'mneme/testing'

import { kurrentdbAdapter } from '../../../src/stores/kurrentdb/adapter.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { readConnection } from '../../../src/stores/kurrentdb/options.ts'
import { makeClient } from '../../../src/stores/kurrentdb/driver.ts'
import type { StoreAdapter } from '../../../src/adapter/store-adapter.ts'
import { setApart } from './apart.ts'
import { FAR_DEADLINE_MS } from './jumping-clock.ts'
import { standIn } from './stand-in/server.ts'

// Each client of the driver loads the system's certificates anew, which takes most of its time, also without TLS.
process.env.SSL_CERT_FILE = devNull
delete process.env.SSL_CERT_DIR

/** The server that the tests were given, by a connection string. */
export const realServer = process.env.MNEME_TEST_KURRENTDB

/** What differs from the other stores. */
export const capabilities = { settlesAny: false, erasesAtOnce: false, listsStreams: false }

/** An adapter over a server. */
export async function adapterOf(
  connectionString: string,
  deadline = 10_000,
  clock?: Clock,
): Promise<StoreAdapter> {
  const { text, requiresLeader, credentials } = readConnection(connectionString, deadline)
  const connect = () => makeClient(text)
  return kurrentdbAdapter(await connect(), { deadline, requiresLeader, credentials, clock }, connect)
}

/** A realm of the contract on a server that others use, too. */
export async function realRealm(connectionString: string): Promise<ContractRealm> {
  const adapter = await adapterOf(connectionString)
  const position = await adapter.logHead()
  const id = position === undefined ? undefined : await adapter.idAt(position)
  await adapter.close()
  const floor = position === undefined || id === undefined ? undefined : { position, id }
  const part = { prefix: `${crypto.randomUUID().replaceAll('-', '')}~`, floor }
  return {
    connect: async () => setApart(await adapterOf(connectionString, FAR_DEADLINE_MS), part),
    destroy: () => Promise.resolve(),
  }
}

/** A realm of the contract on a stand-in of its own. */
export async function standInRealm(version?: string): Promise<ContractRealm> {
  // The test shares a process with the server: how soon the parts of an append arrive says nothing.
  const server = await standIn({ writeTimeout: FAR_DEADLINE_MS, ...(version !== undefined && { version }) })
  return {
    connect: () => adapterOf(server.connectionString, FAR_DEADLINE_MS),
    destroy: () => server.stop(),
  }
}
