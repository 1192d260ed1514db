import { test } from 'vitest'
import { raceWithDeletions } from '../../support/deletion-race.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

test.skipIf(serverProblem)(
  'E3: no append of eight processes comes after the deletion of its stream on PostgreSQL',
  async () => {
    const database = await testDatabase()
    await raceWithDeletions(database.url, await database.open())
  },
)
