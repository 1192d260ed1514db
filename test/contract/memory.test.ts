import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { storeContract } from 'mneme/testing'
import { describe, test } from 'vitest'

storeContract(
  {
    name: 'memory',
    create: async () => {
      const data = new MemoryData()
      return { connect: async () => memoryAdapter(data), destroy: async () => {} }
    },
  },
  { describe, test, skip: (name, reason) => test.skip(`${name} (${reason})`, () => {}) },
)
