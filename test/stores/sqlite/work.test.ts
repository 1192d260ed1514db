import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openShared, type SharedFile } from '../../../src/stores/sqlite/shared-file.ts'
import type { SqliteDriver } from '../../../src/stores/sqlite/index.ts'
import { drivers } from './drivers.ts'
import { faultyDriver } from './faulty-driver.ts'
import { testFolder } from './folder.ts'

describe.each(drivers)('work in the write queue with $name', ({ driver }) => {
  async function opened(as: SqliteDriver = driver) {
    const settings = { driver: as, synchronous: 'full', busyTimeout: 1_000 } as const
    const file = await openShared(join(testFolder(), 'bank.db'), settings)
    await write(file, 'CREATE TABLE t (n INTEGER UNIQUE)')
    return file
  }
  const write = (file: SharedFile, sql: string) =>
    file.queue.write(() => file.connection.database.exec(sql), 1_000)
  const numbers = (file: SharedFile) =>
    (file.connection.database.prepare('SELECT n FROM t ORDER BY n').all() as { n: number }[]).map(
      ({ n }) => n,
    )

  test('works that wait together are committed together, and an error undoes only the work that threw it', async () => {
    const commits = { count: 0 }
    const file = await opened(
      faultyDriver(driver, ({ sql, method }) => {
        if (sql === 'COMMIT' && method === 'run') commits.count++
        return undefined
      }),
    )
    const before = commits.count
    const enough = new RangeError('enough')
    const outcomes = await Promise.allSettled([
      write(file, 'INSERT INTO t VALUES (1)'),
      file.queue.write(() => {
        file.connection.database.exec('INSERT INTO t VALUES (2)')
        throw enough
      }, 1_000),
      write(file, 'INSERT INTO t VALUES (3)'),
      write(file, 'INSERT INTO t VALUES (1)'),
      write(file, 'INSERT INTO t VALUES (5)'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(outcomes[1]).toMatchObject({ reason: enough })
    expect(numbers(file)).toEqual([1, 3, 5])
    expect(commits.count - before).toBe(1)
    await file.release()
  })

  test('a work that ends the transaction is refused, and so is each work whose writes it took along', async () => {
    for (const end of ['COMMIT', 'ROLLBACK', 'COMMIT; BEGIN', 'ROLLBACK; BEGIN']) {
      const file = await opened()
      const outcomes = await Promise.allSettled([
        write(file, 'INSERT INTO t VALUES (1)'),
        write(file, `INSERT INTO t VALUES (2); ${end}`),
        write(file, 'INSERT INTO t VALUES (3)'),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled'])
      expect(outcomes[1]).toMatchObject({
        reason: { message: expect.stringContaining('leaves the transaction open') as unknown },
      })
      expect(numbers(file)).toEqual(end.startsWith('COMMIT') ? [1, 2, 3] : [3])
      await file.release()
    }
  })

  test('only the work that breaks a constraint checked at COMMIT is refused', async () => {
    const file = await opened()
    await write(
      file,
      'CREATE TABLE parent (id INTEGER PRIMARY KEY); ' +
        'CREATE TABLE child (parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)',
    )
    file.connection.database.exec('PRAGMA foreign_keys = ON')
    const outcomes = await Promise.allSettled([
      write(file, 'INSERT INTO t VALUES (1)'),
      write(file, 'INSERT INTO child VALUES (7)'),
      write(file, 'INSERT INTO t VALUES (3)'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(String((outcomes[1] as PromiseRejectedResult).reason)).toContain('FOREIGN KEY')
    expect(numbers(file)).toEqual([1, 3])
    await file.release()
  })

  test('works that could not be synced to disk fail and leave nothing behind', async () => {
    let isBroken = false
    const file = await opened(
      faultyDriver(driver, ({ sql, method }) =>
        isBroken && sql === 'COMMIT' && method === 'run' ? 'before' : undefined,
      ),
    )
    isBroken = true
    const outcomes = await Promise.allSettled([
      write(file, 'INSERT INTO t VALUES (1)'),
      write(file, 'INSERT INTO t VALUES (2)'),
    ])
    expect(outcomes).toMatchObject([
      { reason: { code: 'STORE_FAILED' } },
      { reason: { code: 'STORE_FAILED' } },
    ])
    isBroken = false
    await write(file, 'INSERT INTO t VALUES (3)')
    expect(numbers(file)).toEqual([3])
    await file.release()
  })
})
