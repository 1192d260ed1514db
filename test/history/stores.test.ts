import { expect, test } from 'vitest'
import { checkHistory } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { ownServer, rawClient, storeOf } from '../stores/kurrentdb/rig.ts'
import { passTime } from '../stores/kurrentdb/stand-in/log.ts'
import { checkOnStore } from './on-a-store.ts'
import { counted, Person, record } from './program.ts'

test('a history in memory is checked', () => checkOnStore(memoryStore()))

test('a history in SQLite is checked', async () => {
  const store = await sqliteStore(':memory:')
  await checkOnStore(store)
  await store.close()
})

test('a history on KurrentDB is checked', async () => {
  await checkOnStore(await storeOf((await ownServer()).connectionString), true)
})

test('a stream that KurrentDB has cut off has no findings, and neither has one that it has deleted', async () => {
  const { connectionString } = await ownServer()
  const [store, client] = [await storeOf(connectionString), rawClient(connectionString)]
  for (const id of ['cut', 'deleted', 'whole']) {
    await record(store, `Person-${id}`, counted(), counted(), counted())
  }
  await client.setStreamMetadata('Person-cut', { truncateBefore: 2 })
  await client.tombstoneStream('Person-deleted')
  passTime(1_000)
  const whole = await checkHistory(store, [Person])
  expect(whole.findings).toEqual([])
  const few = await checkHistory(store, [Person], { maxStates: 1 })
  expect(few).toMatchObject({ findings: [], events: whole.events })
})
