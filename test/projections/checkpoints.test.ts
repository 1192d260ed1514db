import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { runProjections, type Projection } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import type { EventStore } from 'mneme'
import { describe, expect, test } from 'vitest'

import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { postgresStore, postgresTarget } from '../../src/stores/postgres/index.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { testServer } from '../stores/postgres/server.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { balances, deposit, folded, places, until } from './rig.ts'

describe.each(places)('checkpoints of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('a checkpoint of another store blocks the projection until it is reset', async () => {
      const [one, other] = [await open(), await open()]
      await deposit(one.store, 20)
      await deposit(other.store, 30)
      const projection = balances(one.target)
      const first = await runProjections(one.store, [projection])
      await first.caughtUp()
      await first.stop()
      const before = await one.balances()

      const running = await runProjections(other.store, [projection])
      await isBlocked(projection, other.store, 'CHECKPOINT_FROM_ANOTHER_STORE')
      expect(await one.balances()).toEqual(before)
      // The checkpoint is still that of another store.
      await projection.unblock()
      await isBlocked(projection, other.store, 'CHECKPOINT_FROM_ANOTHER_STORE')
      await projection.reset()
      await running.caughtUp()
      expect(await one.balances()).toEqual(await folded(other.store))
      await running.stop()
    })
  })
})

describe('a store restored from a backup', () => {
  test('a SQLite store that was restored from a backup blocks projections with newer checkpoints', async () => {
    const folder = testFolder()
    const [events, backup] = [join(folder, 'events.db'), join(folder, 'backup.db')]
    const target = sqliteTarget(join(folder, 'model.db')) as ProjectionTarget<unknown>
    let store = await sqliteStore(events)
    await deposit(store, 10)
    await store.close()
    copyFileSync(events, backup)
    store = await sqliteStore(events)
    await deposit(store, 10)
    await follow(store, target)
    await store.close()
    copyFileSync(backup, events)
    store = await sqliteStore(events)
    await followRestored(store, target)
    await store.close()
    await target.close()
  })

  test.skipIf(places.at(-1)!.problem)(
    'a PostgreSQL store that was restored from a backup blocks projections with newer checkpoints',
    async () => {
      const server = await testServer()
      const [url, model] = [(await testDatabase()).url, (await testDatabase()).url]
      const target = postgresTarget(model) as ProjectionTarget<unknown>
      let store = await postgresStore(url)
      await deposit(store, 10)
      const head = await store.logHead()
      await deposit(store, 10)
      await follow(store, target)
      await store.close()
      await server.query(
        `DELETE FROM mneme.events WHERE position > ${String(BigInt(head ?? 0))}`,
        new URL(url).pathname.slice(1),
      )
      store = await postgresStore(url)
      await followRestored(store, target)
      await store.close()
      await target.close()
    },
  )
})

async function follow(store: EventStore, target: ProjectionTarget<unknown>): Promise<void> {
  const running = await runProjections(store, [balances(target)])
  await running.caughtUp()
  await running.stop()
}

/** It stays blocked, also when as many events were appended since as were lost. */
async function followRestored(store: EventStore, target: ProjectionTarget<unknown>): Promise<void> {
  const projection = balances(target)
  const running = await runProjections(store, [projection])
  await isBlocked(projection, store, 'HISTORY_REWOUND')
  await deposit(store, 30, 2)
  await projection.unblock()
  await isBlocked(projection, store, 'HISTORY_REWOUND')
  expect(await projection.status(store)).toMatchObject({ handled: 20, lag: { events: 40 } })
  await projection.reset()
  await running.caughtUp()
  await until(async () => (await projection.status(store)).state === 'running', 'it is done')
  expect(await projection.status(store)).toMatchObject({ handled: 40 })
  await running.stop()
}

async function isBlocked(projection: Projection, store: EventStore, code: string): Promise<void> {
  await until(async () => (await projection.status(store)).state === 'blocked', 'it is blocked')
  expect(await projection.status(store)).toMatchObject({ failure: { code } })
}
