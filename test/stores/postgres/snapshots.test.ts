import { defineAggregate, event, load } from 'mneme'
import { describe, expect, test } from 'vitest'
import { testDatabase } from './database.ts'
import { serverProblem } from './server.ts'

const Lamp = defineAggregate({
  name: 'Lamp',
  events: { Switched: event() },
  initial: () => ({ times: 0 }),
  apply: { Switched: ({ times }) => ({ times: times + 1 }) },
  snapshot: { version: 1, every: 5 },
})
const switches = Array.from({ length: 7 }, () => Lamp.events.Switched())

describe.skipIf(serverProblem)('snapshots', () => {
  test('a snapshot goes with its event, whoever deletes that', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await store.append({ stream: Lamp('a'), events: switches })
    await load(store, Lamp('a'))
    await store.close()
    const kept = () => database.query('SELECT stream, revision FROM mneme.snapshots')
    await database.query('DELETE FROM mneme.events WHERE revision < 6')
    expect(await kept()).toEqual([{ stream: 'Lamp-a', revision: '6' }])
    const cold = await database.open()
    expect(await load(cold, Lamp('a'))).toEqual({ state: { times: 7 }, revision: 6 })
    await database.query('DELETE FROM mneme.events')
    expect(await kept()).toEqual([])
  })
})
