import { storeContract } from 'mneme/testing'
import { afterAll, beforeAll, describe, test } from 'vitest'

import { ContractRealms } from '../stores/postgres/contract.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'

const runner = { describe, test, skip: (name: string, reason: string) => test.skip(`${name} (${reason})`) }

describe.skipIf(serverProblem)(serverProblem ? `postgres (skipped: ${serverProblem})` : 'postgres', () => {
  let realms: ContractRealms

  beforeAll(async () => {
    const server = await testServer()
    realms = new ContractRealms(server, await server.createDatabase(), { prepare: false })
  })
  afterAll(() => realms.end())

  const create = () => Promise.resolve(realms.create())
  storeContract({ name: 'postgres', create }, runner)
})
