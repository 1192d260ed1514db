import { test } from 'vitest'
import { raceForClaims } from '../../support/claim-race.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

test.skipIf(serverProblem)(
  'a value that eight processes claim at once never has two owners on PostgreSQL',
  async () => {
    const database = await testDatabase()
    await raceForClaims(database.url, await database.open())
  },
)
