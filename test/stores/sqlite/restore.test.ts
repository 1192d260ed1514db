import { join } from 'node:path'
import { defineAggregate, defineCommand, event, execute, type EventStore } from 'mneme'
import { type SqliteDatabase, sqliteStore } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

const Counter = defineAggregate({
  name: 'A',
  events: { Counted: event<{ n: number }>() },
  initial: () => ({ count: 0 }),
  apply: { Counted: ({ count }) => ({ count: count + 1 }) },
})

const count = defineCommand({
  reads: () => Counter('a'),
  handle: ({ count: n }) => Counter.events.Counted({ n }),
})

/** Copies a database into another one as a whole, while programs have it open: SQLite's backup API. */
type Backup = SqliteDatabase & { backup?(target: string): Promise<unknown> }

describe.each(drivers)('a file restored in place under a running program with $name', ({ driver }) => {
  const ways: [string, (file: string, backup: string) => Promise<void>][] = [
    [
      'deleted events',
      async (file) => {
        const other = driver(file)
        other.exec('DELETE FROM mneme_events WHERE position > 10')
        other.close()
      },
    ],
  ]
  const probe = driver(':memory:') as Backup
  if (probe.backup) {
    ways.push([
      "SQLite's backup API",
      async (file, backup) => {
        const source = driver(backup) as Backup
        await source.backup!(file)
        source.close()
      },
    ])
  }
  probe.close()

  describe.each(ways)('by %s', (_, restore) => {
    /** A store that has executed 20 commands, over a file that was then restored to the first 10 events. */
    async function restored(): Promise<{ file: string; store: EventStore }> {
      const folder = testFolder()
      const [file, backup] = [join(folder, 'bank.db'), join(folder, 'backup.db')]
      const store = await sqliteStore(file, { driver })
      onTestFinished(() => store.close())
      for (let i = 0; i < 20; i++) {
        await execute(store, count())
        if (i !== 9) continue
        const other = driver(file)
        other.exec(`VACUUM INTO '${backup}'`)
        other.close()
      }
      await restore(file, backup)
      return { file, store }
    }

    /** What the file holds for a program that opens it now. */
    async function revisionsIn(file: string): Promise<number[]> {
      const other = driver(file)
      const rows = other.prepare('SELECT revision FROM mneme_events ORDER BY position').all()
      other.close()
      return (rows as { revision: number }[]).map(({ revision }) => revision)
    }

    const first10 = Array.from({ length: 10 }, (_, i) => i)
    const calls: [string, (store: EventStore) => Promise<unknown>][] = [
      ['a command', (store) => execute(store, count())],
      ['an append', (store) => store.append({ stream: 'A-a', events: [happened()], expected: 19 })],
      [
        'an append to a new stream',
        (store) => store.append({ stream: 'A-b', events: [happened()], expected: 'none' }),
      ],
      ['an append that expects any', (store) => store.append({ stream: 'A-a', events: [happened()] })],
      [
        'an append under a key',
        (store) => store.append({ stream: 'A-a', events: [happened()] }, { key: 'k' }),
      ],
      ['reading the stream', (store) => store.read('A-a').next()],
    ]

    test.each(calls)('%s fails with HISTORY_REWOUND and writes nothing', async (__, call) => {
      const { file, store } = await restored()
      await expect(call(store)).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
      for (const [, again] of calls) {
        await expect(again(store)).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
      }
      expect(await revisionsIn(file)).toEqual(first10)
    })

    test('a command fails with HISTORY_REWOUND although others have appended past its revision', async () => {
      const { file, store } = await restored()
      const other = driver(file)
      for (let i = 10; i < 20; i++) {
        other.exec(
          `INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) VALUES
           ('A-a', ${i}, '${crypto.randomUUID()}', 'A.Counted', 1, '2026-01-01T00:00:00.000Z', '{"n":1}', '{}')`,
        )
      }
      other.close()
      await expect(execute(store, count())).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
      expect(await revisionsIn(file)).toHaveLength(20)
    })

    test('the file opens anew after the error, also while the old store is still open', async () => {
      const { file, store } = await restored()
      await expect(execute(store, count())).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
      const again = await sqliteStore(file, { driver })
      await execute(again, count())
      expect((await historyOf(again)).map(({ revision }) => revision)).toEqual([...first10, 10])
      await expect(execute(store, count())).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
      await again.close()
    })
  })

  test('events that are only appended by others are no other history', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    for (let i = 0; i < 5; i++) {
      await execute(store, count())
      const other = driver(file)
      other.exec(
        `INSERT INTO mneme_events (stream, revision, id, type, version, time, data, metadata) VALUES
         ('A-a', ${2 * i + 1}, '${crypto.randomUUID()}', 'A.Counted', 1, '2026-01-01T00:00:00.000Z', '{"n":1}', '{}')`,
      )
      other.close()
    }
    expect((await execute(store, count())).state).toEqual({ count: 11 })
    await store.close()
  })

  test('a stream with a gap is damaged, and is not said to have lost its beginning', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    for (let i = 0; i < 8; i++) await execute(store, count())
    await store.close()
    const other = driver(file)
    other.exec('DELETE FROM mneme_events WHERE revision BETWEEN 3 AND 5')
    other.close()
    const again = await sqliteStore(file, { driver })
    await expect(execute(again, count())).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: 'stream "A-a" lacks revisions 3 to 5: events were removed, so restore the store from a backup',
    })
    await again.close()
  })
})
