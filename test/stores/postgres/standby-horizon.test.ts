import type { Position } from 'mneme'
import { describe, expect, test } from 'vitest'

import { happened } from '../sqlite/history.ts'
import { sleep, testDatabase, until, type TestDatabase } from './database.ts'
import { serverProblem } from './server.ts'

describe.skipIf(serverProblem)('the horizon noted for standbys', () => {
  const noted = async (database: TestDatabase, position: Position) => {
    const [row] = await database.query('SELECT position FROM mneme.horizon')
    return BigInt(String(row!.position)) >= BigInt(position)
  }

  test('the noted horizon reaches the last event', async () => {
    const database = await testDatabase()
    const store = await database.open({ standbys: true })
    expect(await store.logHead()).toBeUndefined()
    for (let i = 0; i < 3; i++) {
      const { position } = await store.append({ stream: 's', events: [happened(i)] })
      await until(() => noted(database, position!), 'it is noted')
    }
    const { position } = await store.append({ stream: 's', events: [happened()] })
    await store.close()
    expect(await noted(database, position!)).toBe(true)
  })

  test('the noted horizon reaches the last event after an earlier append is rolled back', async () => {
    const database = await testDatabase()
    const store = await database.open({ standbys: true })
    const client = await database.client()
    await client.query('BEGIN')
    await client.query(
      `SELECT mneme.append_one('s', -3, NULL, 1000, gen_random_uuid(), 'Happened', 1, '{}', '{}')`,
    )
    const { position } = await store.append({ stream: 't', events: [happened()] })
    await sleep(150)
    await client.query('ROLLBACK')
    await until(() => noted(database, position!), 'it is noted')
  })

  test('the noted horizon reaches the last event after another process has locked it', async () => {
    const database = await testDatabase()
    const store = await database.open({ standbys: true })
    const client = await database.client()
    await client.query('BEGIN')
    await client.query('SELECT FROM mneme.horizon FOR UPDATE')
    const { position } = await store.append({ stream: 't', events: [happened()] })
    await sleep(150)
    await client.query('ROLLBACK')
    await until(() => noted(database, position!), 'it is noted')
  })
})
