import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoreAdapter } from 'mneme/adapter'
import { storeContract, type ContractRealm } from 'mneme/testing'
import { describe, test } from 'vitest'
import { sqliteAdapter } from '../../src/stores/sqlite/adapter.ts'
import { openConnection } from '../../src/stores/sqlite/connection.ts'
import type { SqliteDatabase } from '../../src/stores/sqlite/driver.ts'
import { fileOf, openShared, type SharedFile } from '../../src/stores/sqlite/shared-file.ts'

/** The folder of a driver to use instead of the default, whose main export is a class of databases. */
const folder = process.env.MNEME_TEST_SQLITE_DRIVER
const Given =
  folder === undefined
    ? undefined
    : (createRequire(import.meta.url)(folder) as new (file: string) => SqliteDatabase)
const driver = Given && ((file: string) => new Given(file))
const settings = { driver, synchronous: 'full', busyTimeout: 5_000 } as const
const skip = (name: string, reason: string) => test.skip(`${name} (${reason})`)

/** How often each case connected, where all stores of a process share one connection: as users have it. */
const connections = new Map<string, number>()
let running = ''

storeContract(
  {
    name: 'sqlite, one connection for all stores',
    create: () => realm((file) => openShared(file, settings)),
  },
  {
    describe,
    skip,
    test: (name, body) =>
      test(name, async () => {
        running = name
        connections.set(name, 0)
        await body()
      }),
  },
)

// With one connection in all, it is the same: then it is proved above.
storeContract(
  { name: 'sqlite, each store with a connection of its own', create: () => realm(openApart) },
  {
    describe,
    skip,
    test: (name, body) =>
      test(name, async ({ skip }) => {
        running = ''
        if (connections.get(name) === 1) skip('it connects once: proved with one connection for all stores')
        await body()
      }),
  },
)

async function realm(open: (file: string) => Promise<SharedFile>): Promise<ContractRealm> {
  const folder = await mkdtemp(join(tmpdir(), 'mneme-contract-'))
  return {
    connect: async (): Promise<StoreAdapter> => {
      connections.set(running, (connections.get(running) ?? 0) + 1)
      return sqliteAdapter(await open(join(folder, 'events.db')), settings.busyTimeout)
    },
    destroy: () => rm(folder, { recursive: true }),
  }
}

/** As another process opens it: a process of its own shares neither the connection nor the write queue. */
async function openApart(path: string): Promise<SharedFile> {
  return fileOf(await openConnection(path, settings), path, () => true)
}
