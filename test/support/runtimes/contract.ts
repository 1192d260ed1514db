// The contract suite on two stores, bundled for runners that cannot resolve the sources.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { storeContract, type ContractRunner } from 'mneme/testing'
import { memoryAdapter, MemoryData } from '../../../src/stores/memory/adapter.ts'
import { sqliteAdapter } from '../../../src/stores/sqlite/adapter.ts'
import { openShared } from '../../../src/stores/sqlite/shared-file.ts'

const settings = { driver: undefined, synchronous: 'full', busyTimeout: 5_000 } as const

export function proveMemory(runner: ContractRunner): void {
  storeContract(
    {
      name: 'memory',
      create: async () => {
        const data = new MemoryData()
        return { connect: async () => memoryAdapter(data), destroy: async () => {} }
      },
    },
    runner,
  )
}

export function proveSqlite(runner: ContractRunner): void {
  storeContract(
    {
      name: 'sqlite',
      create: async () => {
        const folder = await mkdtemp(join(tmpdir(), 'mneme-contract-'))
        const file = join(folder, 'events.db')
        return {
          connect: async () => sqliteAdapter(await openShared(file, settings), settings.busyTimeout),
          destroy: () => rm(folder, { recursive: true }),
        }
      },
    },
    runner,
  )
}
