import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { describe, onTestFinished, test } from 'vitest'

import { checkCopying } from '../../history/copies.ts'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

describe.skipIf(serverProblem)(serverProblem ?? 'copies of histories with PostgreSQL', () => {
  test('a history is copied from PostgreSQL to memory, again, and live', async () => {
    await checkCopying(await (await testDatabase()).open(), memoryStore())
  })

  test('a history is copied from SQLite to PostgreSQL, again, and live', async () => {
    const from = await sqliteStore(':memory:')
    onTestFinished(() => from.close())
    await checkCopying(from, await (await testDatabase()).open())
  })

  test('a history is copied from one schema of PostgreSQL to another, again, and live', async () => {
    const database = await testDatabase()
    await checkCopying(await database.open(), await database.open({ schema: 'other' }))
  })
})
