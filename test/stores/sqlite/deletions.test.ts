import { join } from 'node:path'
import { openStore } from 'mneme'
import { test } from 'vitest'
import { raceWithDeletions } from '../../support/deletion-race.ts'
import { testFolder } from './folder.ts'

test('E3: no append of eight processes comes after the deletion of its stream on SQLite', async () => {
  const url = `sqlite:${join(testFolder(), 'deletions.db')}`
  const store = await openStore(url)
  await raceWithDeletions(url, store)
  await store.close()
})
