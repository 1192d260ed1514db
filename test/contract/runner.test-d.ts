import type { ContractRunner } from 'mneme/testing'
import type * as node from 'node:test'
import { expectTypeOf, test, type describe, type TestAPI } from 'vitest'

test('the functions of test runners fit', () => {
  expectTypeOf<Pick<typeof node, 'describe' | 'test'>>().toExtend<ContractRunner>()
  expectTypeOf<{ describe: typeof describe; test: TestAPI }>().toExtend<ContractRunner>()
})
