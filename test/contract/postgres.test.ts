import { storeContract } from 'mneme/testing'
import { beforeAll, describe, test } from 'vitest'

import { realmOn } from '../stores/postgres/contract.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'

const runner = { describe, test, skip: (name: string, reason: string) => test.skip(`${name} (${reason})`) }

describe.skipIf(serverProblem)(serverProblem ? `postgres (skipped: ${serverProblem})` : 'postgres', () => {
  let database: string

  beforeAll(async () => {
    const server = await testServer()
    database = await server.createDatabase()
  })

  const create = async () => realmOn(await testServer(), database, { prepare: false })
  storeContract({ name: 'postgres', create }, runner)
})
