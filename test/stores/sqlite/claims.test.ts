import { join } from 'node:path'
import { openStore } from 'mneme'
import { test } from 'vitest'
import { raceForClaims } from '../../support/claim-race.ts'
import { testFolder } from './folder.ts'

test('a value that eight processes claim at once never has two owners on SQLite', async () => {
  const url = `sqlite:${join(testFolder(), 'claims.db')}`
  const store = await openStore(url)
  await raceForClaims(url, store)
  await store.close()
})
