import { mkdirSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { SqliteDriver } from 'mneme/sqlite'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'

describe.each(drivers)('stores of one process on one file with $name', ({ driver }) => {
  test('stores on one file share a connection and a write queue, whichever path leads to it', async () => {
    const folder = testFolder()
    mkdirSync(join(folder, 'data'))
    symlinkSync(join(folder, 'data'), join(folder, 'link'))
    symlinkSync(join(folder, 'data', 'bank.db'), join(folder, 'bank-link.db'))
    const { log, driver: counted } = recorded(driver)
    const file = join(folder, 'data', 'bank.db')
    const paths = [
      join(folder, 'bank-link.db'),
      file,
      join(folder, 'link', 'bank.db'),
      relative(process.cwd(), file),
    ]
    const stores = await Promise.all(paths.map((path) => sqliteStore(path, { driver: counted })))
    expect(log.filter((line) => line === 'open')).toHaveLength(1)
    log.length = 0
    await Promise.all(stores.map((store) => store.append({ stream: 's', events: [happened()] })))
    // Four appends of four stores in one commit.
    expect(log.filter((line) => line === 'COMMIT')).toHaveLength(1)
    for (const store of stores) expect(await historyOf(store)).toHaveLength(4)
    for (const store of stores) {
      expect(log).not.toContain('close')
      await store.close()
    }
    expect(log).toContain('close')
  })

  test('closing one store leaves others on the file open, and it can be opened again after the last', async () => {
    const file = join(testFolder(), 'bank.db')
    const [one, other] = [await sqliteStore(file, { driver }), await sqliteStore(file, { driver })]
    await one.close()
    await expect(one.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_CLOSED',
    })
    await other.append({ stream: 's', events: [happened()] })
    await other.close()
    const again = await sqliteStore(file, { driver, synchronous: 'normal' })
    expect(await historyOf(again)).toHaveLength(1)
    await again.close()
  })

  test('opening an open file with other settings is refused', async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver })
    for (const [name, options] of Object.entries({
      synchronous: { driver, synchronous: 'normal' },
      driver: { driver: (path: string) => driver(path) },
    } as const)) {
      const refused = sqliteStore(file, options)
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: `options.${name}` })
    }
    await store.close()
  })

  test.each([
    ['full', 2],
    ['normal', 1],
  ] as const)('the connection runs with synchronous=%s', async (synchronous, value) => {
    let seen: unknown
    const spying: SqliteDriver = (file) => {
      const database = driver(file)
      return {
        exec: (sql) => database.exec(sql),
        prepare: (sql) => database.prepare(sql),
        close: () => {
          seen = [
            database.prepare('PRAGMA synchronous').get(),
            database.prepare('PRAGMA journal_mode').get(),
            database.prepare('PRAGMA busy_timeout').get(),
          ]
          return database.close()
        },
      }
    }
    const store = await sqliteStore(join(testFolder(), 'bank.db'), { driver: spying, synchronous })
    await store.close()
    expect(seen).toEqual([{ synchronous: value }, { journal_mode: 'wal' }, { timeout: 0 }])
  })
})

function recorded(driver: SqliteDriver): { log: string[]; driver: SqliteDriver } {
  const log: string[] = []
  const inner = faultyDriver(driver, ({ sql, method }) => {
    if (method !== 'prepare') log.push(sql)
    return undefined
  })
  return {
    log,
    driver: (file) => {
      log.push('open')
      const database = inner(file)
      return Object.assign(database, {
        close: ((close) => () => {
          log.push('close')
          return close()
        })(database.close.bind(database)),
      })
    },
  }
}
