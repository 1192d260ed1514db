import { test } from 'vitest'
import { checkOnStore } from '../../history/on-a-store.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

test.skipIf(serverProblem)('a history in PostgreSQL is checked', async () => {
  await checkOnStore(await (await testDatabase()).open())
})
