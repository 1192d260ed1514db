import { join } from 'node:path'
import { load } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { expect, test } from 'vitest'
import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { Lamp, switches } from '../../support/lamp.ts'

test.each(drivers)('$name: a file made before there were snapshots gets them', async ({ driver }) => {
  const file = join(testFolder(), 'lamps.db')
  const store = await sqliteStore(file, { driver })
  await store.append({ stream: Lamp('a'), events: switches })
  const identity = await store.identity()
  await store.close()
  const old = driver(file)
  old.exec(
    "DROP TRIGGER mneme_event_deleted; DROP TABLE mneme_snapshots; UPDATE mneme_meta SET value = '1' WHERE name = 'schema'",
  )
  old.close()

  const migrated = await sqliteStore(file, { driver })
  expect(await migrated.identity()).toBe(identity)
  expect((await load(migrated, Lamp('a'))).state).toEqual({ times: 7 })
  await migrated.close()
  const database = driver(file)
  expect({
    ...(database.prepare('SELECT stream, name, revision FROM mneme_snapshots').get() as object),
  }).toEqual({
    stream: 'Lamp-a',
    name: 'Lamp',
    revision: 6,
  })
  database.close()
})

test.each(drivers)('$name: a snapshot goes with its event, whoever deletes that', async ({ driver }) => {
  const file = join(testFolder(), 'lamps.db')
  const store = await sqliteStore(file, { driver })
  await store.append({ stream: Lamp('a'), events: switches })
  await load(store, Lamp('a'))
  await store.close()
  const database = driver(file)
  const count = () => (database.prepare('SELECT count(*) AS n FROM mneme_snapshots').get() as { n: number }).n
  database.exec("DELETE FROM mneme_events WHERE stream = 'Lamp-a' AND revision < 6")
  expect(count()).toBe(1)
  database.exec("DELETE FROM mneme_events WHERE stream = 'Lamp-a'")
  expect(count()).toBe(0)
  database.close()
})

test('a stream whose beginning was removed is folded from its snapshot', async () => {
  const { driver } = drivers[0]!
  const file = join(testFolder(), 'lamps.db')
  const store = await sqliteStore(file, { driver })
  await store.append({ stream: Lamp('a'), events: switches })
  await load(store, Lamp('a'))
  await store.close()
  const database = driver(file)
  database.exec("DELETE FROM mneme_events WHERE stream = 'Lamp-a' AND revision < 6")
  database.close()
  const cold = await sqliteStore(file, { driver })
  expect(await load(cold, Lamp('a'))).toEqual({ state: { times: 7 }, revision: 6 })
  await cold.close()
})
