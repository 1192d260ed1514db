import { join } from 'node:path'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from './drivers.ts'
import { testFolder } from './folder.ts'
import { happened, historyOf } from './history.ts'
import { measureTogether } from './fairness.ts'
import { Worker } from './processes.ts'

type Ledger = [stream: string, revision: number, id: string, position: string][]

describe.each(drivers)('several processes with $name', ({ name, driver }) => {
  test('ten processes that open a new file at once agree on its identity', async () => {
    const file = join(testFolder(), 'bank.db')
    const workers = Array.from({ length: 10 }, () => new Worker('open', name, file))
    const identities = await Promise.all(workers.map((worker) => worker.result<string>()))
    expect(new Set(identities).size).toBe(1)
    const store = await sqliteStore(file, { driver })
    expect(await store.identity()).toBe(identities[0])
    await store.close()
  })

  test('no append is lost: the acknowledgements of three processes are what is stored', async () => {
    const file = join(testFolder(), 'bank.db')
    const workers = Array.from({ length: 3 }, () => new Worker('append', name, file, 8, 15, 5))
    const ledgers = await Promise.all(workers.map((worker) => worker.result<Ledger>()))
    const store = await sqliteStore(file, { driver })
    const stored = (await historyOf(store)).map(({ stream, revision, id, position }) => [
      stream,
      revision,
      id,
      position,
    ])
    expect(stored).toHaveLength(3 * 8 * 15)
    expect(stored).toEqual(ledgers.flat().sort((a, b) => (a[3] < b[3] ? -1 : 1)))
    await store.close()
  })

  test('an append fails with STORE_BUSY after busyTimeout while another process holds the write lock', async () => {
    const file = join(testFolder(), 'bank.db')
    const first = await sqliteStore(file, { driver })
    await first.append({ stream: 's', events: [happened()] })
    await first.close()
    const store = await sqliteStore(file, { driver, busyTimeout: 100 })
    const holder = new Worker('hold', name, file)
    await holder.said('held')
    await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
      code: 'STORE_BUSY',
    })
    expect(await store.head('s')).toBe(0)
    const patient = sqliteStore(file, { driver, busyTimeout: 100 }).then((second) => second.close())
    await patient
    holder.say('go')
    expect(await holder.ended).toBe(0)
    await store.append({ stream: 's', events: [happened()], expected: 0 })
    await store.close()
  })

  test('opening a new file waits for another process that holds its lock, and fails with STORE_BUSY after busyTimeout', async () => {
    const file = join(testFolder(), 'bank.db')
    const holder = new Worker('hold', name, file)
    await holder.said('held')
    await expect(sqliteStore(file, { driver, busyTimeout: 100 })).rejects.toMatchObject({
      code: 'STORE_BUSY',
    })
    const patient = sqliteStore(file, { driver })
    holder.say('go')
    const store = await patient
    await store.close()
  })

  test('a light writer gets its turns while two busy processes write without a pause', async () => {
    // How long it waits is measured by the soak test; the rules of the turns have tests of their own.
    const { waits, appended } = await measureTogether(name, testFolder(), 20)
    expect(waits.count).toBe(20)
    expect(Math.min(...appended)).toBeGreaterThan(0)
  })

  test('a process exits by itself once its store is closed', async () => {
    const worker = new Worker('exit', name, join(testFolder(), 'bank.db'))
    expect(await worker.ended).toBe(0)
    expect(worker.lines).toEqual(['s'])
  })

  test('a process without a given driver finds one', async () => {
    const worker = new Worker('exit', 'default', join(testFolder(), 'bank.db'))
    expect(await worker.ended).toBe(0)
  })
})
