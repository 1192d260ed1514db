import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoreAdapter } from 'mneme/adapter'
import { storeContract } from 'mneme/testing'
import { describe, test } from 'vitest'
import { sqliteAdapter } from '../../src/stores/sqlite/adapter.ts'
import { openConnection } from '../../src/stores/sqlite/connection.ts'
import { fileOf, openShared, type SharedFile } from '../../src/stores/sqlite/shared-file.ts'

const settings = { driver: undefined, synchronous: 'full', busyTimeout: 5_000 } as const
const runner = { describe, test, skip: (name: string, reason: string) => test.skip(`${name} (${reason})`) }

prove('sqlite, each store with a connection of its own', openApart)
prove('sqlite, one connection for all stores', (file) => openShared(file, settings))

function prove(name: string, open: (file: string) => Promise<SharedFile>): void {
  const connect = async (file: string): Promise<StoreAdapter> =>
    sqliteAdapter(await open(file), settings.busyTimeout)
  const create = async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mneme-contract-'))
    return {
      connect: () => connect(join(folder, 'events.db')),
      destroy: () => rm(folder, { recursive: true }),
    }
  }
  storeContract({ name, create }, runner)
}

/** As another process opens it: a process of its own shares neither the connection nor the write queue. */
async function openApart(path: string): Promise<SharedFile> {
  return fileOf(await openConnection(path, settings), path, () => true)
}
