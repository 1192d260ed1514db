import { spawnSync } from 'node:child_process'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execute, type EventStore } from 'mneme'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { deposit, open, withdraw } from '../../support/bank.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase } from './database.ts'
import { ownServerProblem, startServer, systemBinaries, type TestServer } from './server.ts'

const system = systemBinaries()

describe.skipIf(!system)('a dump, restored', () => {
  test('a restored dump has the identity, positions and keys, and appends continue above them', async () => {
    const server = await startServer({ binaries: system!.folder })
    onTestFinished(() => server.destroy())
    const [from, to] = [await testDatabase(server), await testDatabase(server)]
    const store = await from.open()
    for (let i = 0; i < 20; i++)
      await store.append({ stream: `s-${i % 3}`, events: [happened(i)] }, { key: `k-${i}` })
    const before = await historyOf(store)
    const checkpoint = before[12]!.position
    const dump = spawnSync(join(system!.folder, 'pg_dump'), ['--schema=mneme', from.url], {
      encoding: 'utf8',
      maxBuffer: 1e9,
    })
    expect(dump.status).toBe(0)
    const psql = spawnSync(join(system!.folder, 'psql'), ['-q', '-v', 'ON_ERROR_STOP=1', to.url], {
      input: dump.stdout,
      encoding: 'utf8',
    })
    expect([psql.status, psql.stderr]).toEqual([0, ''])
    const restored = await to.open()
    expect(await restored.identity()).toBe(await store.identity())
    expect(await historyOf(restored)).toEqual(before)
    expect(
      await restored.append(
        { stream: 's-0', events: [{ ...happened(0), data: before[0]!.data }] },
        { key: 'k-0' },
      ),
    ).toMatchObject({ repeated: true })
    const { position } = await restored.append({ stream: 's-0', events: [happened()], expected: 6 })
    expect(position! > before.at(-1)!.position).toBe(true)
    const rest: string[] = []
    for await (const event of restored.readAll({ after: checkpoint })) rest.push(event.position)
    expect(rest).toEqual([...before.slice(13).map((event) => event.position), position])
  })
})

/** Puts the data of a server back to where they were when the copy was made. */
async function copyData(server: TestServer): Promise<{ restore: () => Promise<void> }> {
  const copy = `${server.dataFolder}.copy`
  rmSync(copy, { recursive: true, force: true })
  await server.stop()
  spawnSync('cp', ['-a', server.dataFolder, copy])
  await server.start()
  return {
    restore: async () => {
      await server.stop('immediate')
      rmSync(server.dataFolder, { recursive: true })
      renameSync(copy, server.dataFolder)
      await server.start()
    },
  }
}

describe.skipIf(ownServerProblem)('a restore to an earlier point', () => {
  let server: TestServer

  beforeAll(async () => {
    if (ownServerProblem === undefined) server = await startServer()
  })
  afterAll(() => (server as TestServer | undefined)?.destroy())

  async function restorable(
    prepare: (store: EventStore) => Promise<unknown> = (store) =>
      store.append({ stream: 's', events: [happened(0)] }),
  ) {
    const database = await testDatabase(server)
    const store = await database.open()
    await prepare(store)
    return { database, store, ...(await copyData(server)) }
  }

  test('a restore is noticed by the process whose acknowledged events are lost, whatever it does next', async () => {
    const { database, store, restore } = await restorable()
    for (let i = 1; i < 5; i++) await store.append({ stream: 's', events: [happened(i)] })
    await restore()
    const rewound = { code: 'HISTORY_REWOUND', isRetryable: false }
    await expect(historyOf(store)).rejects.toMatchObject(rewound)
    await expect(store.logHead()).rejects.toMatchObject(rewound)
    // Other processes have appended since, so that numbers and revisions tell nothing any more.
    const other = await database.open()
    for (let i = 1; i < 8; i++) await other.append({ stream: 's', events: [happened(100 + i)] })
    await expect(historyOf(store)).rejects.toMatchObject(rewound)
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject(rewound)
    expect(await historyOf(other)).toHaveLength(8)
    // A store that is opened anew knows nothing of the lost events, and continues.
    const anew = await database.open()
    await anew.append({ stream: 's', events: [happened()], expected: 7 })
  })

  test('a restore is noticed by a command with a cached state, which does not decide on lost events', async () => {
    const { database, store, restore } = await restorable(async (before) => {
      await execute(before, open('a'))
      await execute(before, deposit({ account: 'a', amount: 10 }))
    })
    await execute(store, deposit({ account: 'a', amount: 90 }))
    await restore()
    const other = await database.open()
    await execute(other, deposit({ account: 'a', amount: 1 }))
    // Its revision is what the state at hand expects, but there are 11 and not 100.
    await expect(execute(store, withdraw({ account: 'a', amount: 100 }))).rejects.toMatchObject({
      code: 'HISTORY_REWOUND',
    })
    expect(await other.head('BankAccount-a')).toBe(2)
  })

  test('a restore is noticed by a process that only read the lost events', async () => {
    const { database, store, restore } = await restorable()
    const reader = await database.open()
    await store.append({ stream: 's', events: [happened(1)] })
    const seen = await historyOf(reader)
    expect(seen).toHaveLength(2)
    await restore()
    const other = await database.open()
    for (let i = 1; i < 4; i++) await other.append({ stream: 't', events: [happened(i)] })
    await expect(reader.readAll({ after: seen[1]!.position }).next()).rejects.toMatchObject({
      code: 'HISTORY_REWOUND',
    })
  })

  test('a server that was only restarted, or crashed, is not taken for a restore', async () => {
    const { store } = await restorable()
    for (const mode of ['fast', 'immediate'] as const) {
      const { position } = await store.append({ stream: 's', events: [happened()] })
      await server.restart(mode)
      expect((await historyOf(store)).at(-1)!.position).toBe(position)
      const after = await store.append({ stream: 's', events: [happened()] })
      expect(after.position! > position!).toBe(true)
    }
  })
})
