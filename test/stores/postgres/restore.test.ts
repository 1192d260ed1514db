import { spawnSync } from 'node:child_process'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execute, type EventStore } from 'mneme'
import { describe, expect, onTestFinished, test } from 'vitest'

import { deposit, open, withdraw } from '../../support/bank.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { TestDatabase, testDatabase } from './database.ts'
import { ownServerProblem, startServer, systemBinaries, type TestServer } from './server.ts'

const system = systemBinaries()

describe.skipIf(!system)('a dump, restored', () => {
  test('has the identity, the positions and the keys; appending goes on above them', async () => {
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
  async function restorable(
    prepare: (store: EventStore) => Promise<unknown> = (store) =>
      store.append({ stream: 's', events: [happened(0)] }),
  ) {
    const server = await startServer()
    onTestFinished(() => server.destroy())
    const name = new URL(await server.createDatabase()).pathname.slice(1)
    const database = new TestDatabase(server, server.url(name))
    const store = await database.open()
    await prepare(store)
    return { server, database, store, ...(await copyData(server)) }
  }

  test('is noticed by who was acknowledged what is lost, whatever it does next', async () => {
    const { database, store, restore } = await restorable()
    for (let i = 1; i < 5; i++) await store.append({ stream: 's', events: [happened(i)] })
    await restore()
    const rewound = { code: 'HISTORY_REWOUND', isRetryable: false }
    await expect(historyOf(store)).rejects.toMatchObject(rewound)
    await expect(store.logHead()).rejects.toMatchObject(rewound)
    // Others have gone on meanwhile, so that numbers and revisions tell nothing any more.
    const other = await database.open()
    for (let i = 1; i < 8; i++) await other.append({ stream: 's', events: [happened(100 + i)] })
    await expect(historyOf(store)).rejects.toMatchObject(rewound)
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject(rewound)
    expect(await historyOf(other)).toHaveLength(8)
    // Who opens it anew knows nothing of it, and goes on.
    const anew = await database.open()
    await anew.append({ stream: 's', events: [happened()], expected: 7 })
  })

  test('is noticed by a command whose state is at hand: it does not decide on what is lost', async () => {
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

  test('is noticed by who only read what is lost', async () => {
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

  test('is none where only the server was restarted, or crashed', async () => {
    const { server, store } = await restorable()
    for (const mode of ['fast', 'immediate'] as const) {
      const { position } = await store.append({ stream: 's', events: [happened()] })
      await server.restart(mode)
      expect((await historyOf(store)).at(-1)!.position).toBe(position)
      const after = await store.append({ stream: 's', events: [happened()] })
      expect(after.position! > position!).toBe(true)
    }
  })
})
