import { copyFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { EventStore } from 'mneme'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('a file removed or replaced under an open store with $name', ({ driver }) => {
  /** A store that has appended to `s`, and a backup of its file with that event. */
  async function opened(): Promise<{ file: string; backup: string; store: EventStore }> {
    const folder = testFolder()
    const [file, backup] = [join(folder, 'bank.db'), join(folder, 'backup.db')]
    const store = await sqliteStore(file, { driver })
    onTestFinished(() => store.close())
    await store.append({ stream: 's', events: [happened()], expected: 'none' })
    const other = driver(file)
    other.exec(`VACUUM INTO '${backup}'`)
    other.close()
    return { file, backup, store }
  }

  const remove = (file: string) => {
    for (const end of ['', '-wal', '-shm', '-signal', '-turn']) rmSync(`${file}${end}`, { force: true })
  }

  const ways: [string, RegExp, (file: string, backup: string) => void][] = [
    ['removed', /bank\.db was removed while it was open/, (file) => remove(file)],
    [
      'replaced by a backup',
      /bank\.db was replaced by another file while it was open/,
      (file, backup) => {
        remove(file)
        renameSync(backup, file)
      },
    ],
    ['replaced by a backup renamed over it', /was replaced/, (file, backup) => renameSync(backup, file)],
    [
      'renamed, and copied back',
      /was replaced/,
      (file) => {
        renameSync(file, `${file}.old`)
        copyFileSync(`${file}.old`, file)
      },
    ],
  ]

  test.each(ways)('an append to a file that was %s fails and says so', async (_, message, replace) => {
    const { file, backup, store } = await opened()
    replace(file, backup)
    const appends = [
      () => store.append({ stream: 's', events: [happened()], expected: 0 }),
      () => store.append({ stream: 't', events: [happened()] }),
      () => store.append({ stream: 's', expected: 0 }),
    ]
    for (const append of appends) {
      const expected: unknown = expect.stringMatching(message)
      await expect(append()).rejects.toMatchObject({ code: 'HISTORY_REWOUND', message: expected })
    }
    await expect(store.read('s').next()).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
  })

  test('a store opened after its file was replaced does not join the old connection', async () => {
    const { file, backup, store } = await opened()
    remove(file)
    renameSync(backup, file)
    const again = await sqliteStore(file, { driver })
    await again.append({ stream: 's', events: [happened()], expected: 0 })
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'HISTORY_REWOUND',
    })
    await store.close()
    const third = await sqliteStore(file, { driver })
    expect(await historyOf(third)).toHaveLength(2)
    await third.close()
    await again.close()
  })

  test('a subscription to a file that was removed ends with an error', async () => {
    const { file, store } = await opened()
    const subscription = store.subscribe({ from: 'end' })
    const next = subscription.next()
    const ended = expect(next).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
    await subscription.caughtUp()
    remove(file)
    await ended
  })

  test('a read model in a file that was removed acknowledges nothing', async () => {
    const file = join(testFolder(), 'views.db')
    const target = sqliteTarget(file, { driver })
    onTestFinished(() => target.close())
    await target.query('SELECT 1')
    remove(file)
    const write = target.transaction(function* () {
      yield* []
    }, 1_000)
    await expect(write).rejects.toMatchObject({ code: 'HISTORY_REWOUND' })
  })
})
