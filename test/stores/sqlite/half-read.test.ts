import { defineAggregate, event } from 'mneme'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'

// better-sqlite3 can neither commit nor roll back while a row iterator is not at its end.

interface Iterating {
  iterate(): Iterator<unknown>
}

const Page = defineAggregate({
  name: 'Page',
  events: { Viewed: event() },
  initial: () => ({}),
  apply: { Viewed: (state) => state },
})

describe.each(drivers)('a handler that reads a query only in part, with $name', ({ driver }) => {
  const views = (file: string, fails: () => boolean) =>
    defineProjection({
      name: 'views',
      into: sqliteTarget(file, { driver }),
      from: [Page],
      tables: ['views'],
      retry: { maxRetries: 0 },
      setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.views} (page TEXT)`),
      on: {
        'Page.Viewed': ({ stream }, db, { tables }) => {
          db.prepare(`INSERT INTO ${tables.views} VALUES (?)`).run(stream)
          const rows = db.prepare(`SELECT page FROM ${tables.views}`) as unknown as Iterating
          rows.iterate().next()
          if (fails()) throw new Error('half-way')
        },
      },
    })

  test('is committed, and the store on the file goes on', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    const projection = views(file, () => false)
    const running = await runProjections(store, [projection])
    for (let i = 0; i < 3; i++) await store.append({ stream: Page('home'), events: [Page.events.Viewed()] })
    await running.caughtUp()
    expect(await projection.status(store)).toMatchObject({ handled: 3, state: 'running' })
    await store.close()
  })

  test('that fails is blocked, and the store on the file goes on', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    const projection = views(file, () => true)
    await store.append({ stream: Page('home'), events: [Page.events.Viewed()] })
    const running = await runProjections(store, [projection])
    await expect(running.caughtUp()).rejects.toMatchObject({ code: 'PROJECTION_BLOCKED' })
    await store.append({ stream: Page('home'), events: [Page.events.Viewed()] })
    expect(await projection.status(store)).toMatchObject({
      state: 'blocked',
      failure: { message: 'half-way' },
    })
    await store.close()
  })
})
