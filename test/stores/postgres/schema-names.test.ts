import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { TestDatabase } from './database.ts'
import { serverProblem, testServer } from './server.ts'

let shared: Promise<TestDatabase> | undefined

/** One database for all of them. */
function oneDatabase(): Promise<TestDatabase> {
  return (shared ??= testServer().then(
    async (server) => new TestDatabase(server, await server.createDatabase()),
  ))
}

describe.skipIf(serverProblem)('the name of a schema', () => {
  test.each([
    'we"ird',
    'Größe',
    'a.b',
    'SCHEMA.',
    'x$mneme$y',
    "it's",
    'back\\slash',
    'POSITIONS',
    'select',
    ' ',
    'ö'.repeat(31) + 'x',
    '%s $1 {}',
  ])('a schema may be called %j, beside others', async (schema) => {
    const database = await oneDatabase()
    const [store, other] = [await database.open({ schema }), await database.open()]
    const identity = await store.identity()
    expect(identity).not.toBe(await other.identity())
    const before = (await historyOf(other)).length
    const event = happened()
    await store.append({ stream: 's', events: [event], expected: 'none' })
    await other.append({ stream: `of ${schema}`, events: [happened()] })
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        store.append({ stream: `c-${i}`, events: [happened(i)] }, { key: `k${i}` }),
      ),
    )
    expect(await store.append({ stream: 's', events: [event], expected: 'none' })).toMatchObject({
      repeated: true,
    })
    await expect(store.append({ stream: 's', events: [happened()], expected: 7 })).rejects.toMatchObject({
      code: 'CONFLICT',
    })
    expect(await historyOf(store)).toHaveLength(9)
    expect(await historyOf(other)).toHaveLength(before + 1)
    const filtered: string[] = []
    for await (const { stream } of store.readAll({ categories: ['c'], streams: ['s'], types: ['Happened'] }))
      filtered.push(stream)
    expect(filtered).toHaveLength(9)
    // Of the same name's another store the same stream is not locked.
    const holder = await database.hold('free')
    await store.append({ stream: 'free', events: [happened()] })
    await holder.release()
    expect(await (await database.open({ schema })).identity()).toBe(identity)
  })
})
