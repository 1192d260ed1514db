import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type EventStore } from 'mneme'
import { type SqliteDatabase, sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('a full disk with $name', ({ driver }) => {
  test('a batch of 64 that reaches max_page_count stores exactly what was acknowledged', async () => {
    const file = join(testFolder(), 'bank.db')
    let connection: SqliteDatabase | undefined
    const store = await sqliteStore(file, { driver: (path) => (connection = driver(path)) })
    // A limit of the connection: the first few of the batch find room, the others do not.
    const { page_count: pages } = connection!.prepare('PRAGMA page_count').get() as { page_count: number }
    connection!.exec(`PRAGMA max_page_count = ${pages + 200}`)
    await fillUp(store, 'STORE_FULL')
    connection!.exec('PRAGMA max_page_count = 1000000')
    await worksAgain(store)
    await store.close()
  })

  test('a batch of 64 that fills the file system stores exactly what was acknowledged', async (context) => {
    const folder = join(testFolder(), 'small')
    mkdirSync(folder)
    const mounted = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder], {
      encoding: 'utf8',
    })
    if (mounted.error || mounted.status !== 0) {
      return context.skip(`mounting a tmpfs needs root: ${mounted.error?.message ?? mounted.stderr.trim()}`)
    }
    // Lazily: a test that failed may have left the store open.
    onTestFinished(() => void spawnSync('/bin/umount', ['-l', folder]))
    const ballast = join(folder, 'ballast')
    writeFileSync(ballast, Buffer.alloc(1_500_000))
    const store = await sqliteStore(join(folder, 'bank.db'), { driver })
    await fillUp(store, /^STORE_(FULL|FAILED)$/)
    rmSync(ballast)
    await worksAgain(store)
    await store.close()
  })
})

/** Batches of 64 until one finds no room; checks that what is there is what was acknowledged. */
async function fillUp(store: EventStore, code: string | RegExp): Promise<void> {
  const acknowledged: string[] = []
  let refused = 0
  for (let round = 0; refused < 100; round++) {
    const appends = Array.from({ length: 64 }, async (_, i) => {
      // Of different sizes: what finds no room is in the middle of the batch.
      const event = happened(i, 400 * (i % 40))
      try {
        await store.append({ stream: `s-${i}`, events: [event] })
        acknowledged.push(event.id)
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(code) as unknown, isRetryable: true })
        refused++
      }
    })
    await Promise.all(appends)
    expect(round).toBeLessThan(500)
  }
  expect(acknowledged.length).toBeGreaterThan(64)
  const stored = (await historyOf(store)).map(({ id }) => id)
  expect(stored.sort()).toEqual(acknowledged.sort())
}

async function worksAgain(store: EventStore): Promise<void> {
  const before = (await historyOf(store)).length
  await Promise.all(
    Array.from({ length: 64 }, (_, i) => store.append({ stream: `s-${i}`, events: [happened(i, 100)] })),
  )
  expect(await historyOf(store)).toHaveLength(before + 64)
}
