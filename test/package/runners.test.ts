import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import {
  bundleContract,
  contractTest,
  countPassed,
  runIn,
  runners,
  runtimesProblem,
} from '../support/runtimes/index.ts'

// An author of a store proves it with whatever runner they have.

let folder: string
const passed = new Map<string, number>()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mneme-runners-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  await bundleContract(folder)
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the contract suite passes on the memory store', () => {
  test.skipIf(runtimesProblem).each(Object.entries(runners))('with the tests of %s', async (name, runner) => {
    writeFileSync(join(folder, 'contract.test.mjs'), contractTest(runner.module, 'proveMemory'))
    const count = countPassed(await runIn(folder, runner.command))
    passed.set(name, count)
    expect(count).toBeGreaterThan(200)
    expect([...passed.values()]).toEqual(Array.from({ length: passed.size }, () => count))
  })
})
