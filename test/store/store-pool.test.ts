import { OverloadedError, StoreClosedError, storePool, type EventStore } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { sqliteStore, tenantFile } from 'mneme/sqlite'
import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'

import { makeStorePool } from '../../src/store/store-pool.ts'
import { BankAccount, Opened } from '../support/bank.ts'
import { gate, times } from '../support/observed-store.ts'
import { testFolder } from '../stores/sqlite/folder.ts'

/** Opens stores in memory, and notes what is opened and closed, and how many were open at most. */
function openings() {
  const log: string[] = []
  let [open, most] = [0, 0]
  const opening = (tenant: string): EventStore => {
    log.push(`open ${tenant}`)
    most = Math.max(most, ++open)
    const store = memoryStore()
    const close = store.close.bind(store)
    store.close = () => {
      log.push(`close ${tenant}`)
      open--
      return close()
    }
    return store
  }
  return { log, opening, most: () => most }
}

/** Lets everything happen that waits for no timer. */
const turns = () => new Promise((resolve) => setImmediate(resolve))

test('leases of one tenant that are raced open its store once, and it stays open for the next', async () => {
  const { log, opening } = openings()
  const pool = storePool(opening)
  const leases = await Promise.all(times(5, () => pool.lease('a')))
  expect(new Set(leases.map(({ store }) => store)).size).toBe(1)
  for (const lease of leases) lease.release()
  await pool.use('a', (store) => store.append({ stream: 's', events: [Opened({ owner: 'Ann' })] }))
  expect(log).toEqual(['open a'])
  await pool.close()
  expect(log).toEqual(['open a', 'close a'])
})

test('a failed opening fails those who wait for it, and is not remembered', async () => {
  let attempts = 0
  const pool = storePool(async (_) => {
    await turns()
    if (++attempts === 1) throw new Error('no disk')
    return memoryStore()
  })
  const results = await Promise.allSettled([pool.lease('a'), pool.lease('a')])
  expect(results).toMatchObject([{ reason: { message: 'no disk' } }, { reason: { message: 'no disk' } }])
  expect(pool.size).toBe(0)
  await pool.use('a', () => undefined)
  expect(attempts).toBe(2)
  await pool.close()
})

test('a store in use is never closed: a lease waits for room, first come, first served, and what is not used makes room', async () => {
  const { log, opening, most } = openings()
  const pool = storePool(opening, { max: 2 })
  const [a, b] = [await pool.lease('a'), await pool.lease('b')]
  const order: string[] = []
  const waiting = ['c', 'd', 'a'].map((tenant) =>
    pool.use(tenant, () => {
      order.push(tenant)
    }),
  )
  await turns()
  // In use anyway, so that it takes no room.
  expect(order).toEqual(['a'])
  a.release()
  a.release()
  await Promise.all(waiting)
  expect(order).toEqual(['a', 'c', 'd'])
  expect(log).toEqual(['open a', 'open b', 'close a', 'open c', 'close c', 'open d'])
  expect(most()).toBe(2)
  b.release()
  await pool.use('e', () => undefined)
  expect(log.slice(-2)).toEqual(['close d', 'open e'])
  await pool.close()
})

test('of 100 tenants at once no more than 5 are open, and every one gets its turn', async () => {
  const { opening, most } = openings()
  const pool = storePool(opening, { max: 5 })
  const served = await Promise.all(
    times(300, (i) =>
      pool.use(`t${(i * 37) % 100}`, async (store) => {
        await turns()
        await store.append({ stream: 's', events: [Opened({ owner: 'Ann' })] })
        return 1
      }),
    ),
  )
  expect(served).toHaveLength(300)
  expect(most()).toBe(5)
  await pool.close()
  expect(pool.size).toBe(0)
})

test('a wait ends with its signal, and the room goes to the next', async () => {
  const { opening } = openings()
  const pool = storePool(opening, { max: 1, maxWaiting: 2 })
  const lease = await pool.lease('a')
  const ending = new AbortController()
  const given = pool.lease('b', { signal: ending.signal })
  const next = pool.lease('c')
  await turns()
  await expect(pool.lease('d')).rejects.toThrow(OverloadedError)
  ending.abort(new Error('enough'))
  await expect(given).rejects.toThrow('enough')
  await expect(pool.lease('c', { signal: ending.signal })).rejects.toThrow('enough')
  lease.release()
  ;(await next).release()
  await pool.close()
})

test('a store is closed after its idle time, by the clock, unless it was leased again', async () => {
  const { log, opening } = openings()
  const timers = new Map<() => void, number>()
  const clock = {
    now: () => 0,
    after: (milliseconds: number, callback: () => void) => {
      timers.set(callback, milliseconds)
      return () => void timers.delete(callback)
    },
  }
  const pool = makeStorePool(opening, { idle: 5_000 }, clock)
  await pool.use('a', () => undefined)
  await pool.use('a', () => undefined)
  expect([...timers.values()]).toEqual([5_000])
  const lease = await pool.lease('a')
  expect(timers.size).toBe(0)
  lease.release()
  for (const callback of timers.keys()) callback()
  await turns()
  expect(log).toEqual(['open a', 'close a'])
  await pool.use('a', () => undefined)
  expect(log).toEqual(['open a', 'close a', 'open a'])
  await pool.close()
})

test('a tenant whose store is being closed is opened again only when that is done', async () => {
  const { log, opening } = openings()
  const closing = gate()
  const pool = storePool(
    (tenant) => {
      const store = opening(tenant)
      const close = store.close.bind(store)
      store.close = async () => {
        await closing.passed
        await close()
      }
      return store
    },
    { idle: 0 },
  )
  await pool.use('a', () => undefined)
  const again = pool.lease('a')
  await turns()
  expect(log).toEqual(['open a'])
  closing.open()
  ;(await again).release()
  expect(log).toEqual(['open a', 'close a', 'open a'])
  await pool.close()
})

test('close waits for the leases, closes every store, and refuses those who wait and who come later', async () => {
  const { log, opening } = openings()
  const pool = storePool(opening, { max: 2 })
  const lease = await pool.lease('a')
  const opened = pool.lease('b')
  const waiting = pool.lease('c')
  await turns()
  let isClosed = false
  const closing = pool.close().then(() => (isClosed = true))
  await expect(waiting).rejects.toThrow(StoreClosedError)
  await expect(pool.lease('a')).rejects.toThrow(StoreClosedError)
  ;(await opened).release()
  await turns()
  expect([isClosed, log]).toEqual([false, ['open a', 'open b', 'close b']])
  await lease.store.append({ stream: 's', events: [Opened({ owner: 'Ann' })] })
  lease.release()
  await closing
  expect(log.at(-1)).toBe('close a')
})

test('a store that somebody closed is opened anew for the next lease', async () => {
  const { log, opening } = openings()
  const pool = storePool(opening)
  await pool.use('a', (store) => store.close())
  await pool.use('a', (store) =>
    store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'Ann' })] }),
  )
  expect(log).toEqual(['open a', 'close a', 'open a'])
  await pool.close()
})

test('wrong arguments are refused by name', async () => {
  expect(() => storePool(undefined as never)).toThrow(/^open must be a function/)
  expect(() => storePool(() => memoryStore(), { max: 0 })).toThrow(/^options.max/)
  expect(() => storePool(() => memoryStore(), { maximum: 1 } as never)).toThrow("unknown option 'maximum'")
  const pool = storePool(() => ({}) as EventStore)
  await expect(pool.lease('')).rejects.toThrow(/^tenant/)
  await expect(pool.lease(7 as never)).rejects.toThrow(/^tenant/)
  await expect(pool.use('a', undefined as never)).rejects.toThrow(/^work/)
  await expect(pool.lease('a')).rejects.toThrow('a store of Mneme')
  await pool.close()
})

test('every name of a tenant is a file of its own, directly in its folder', async () => {
  const folder = testFolder()
  const names = [
    'acme',
    'Acme',
    '../acme',
    '..',
    '.',
    'a/b',
    'a\\b',
    'con',
    'CON',
    'com1',
    '~41cme',
    'ü',
    'u\u0308',
    'a:b',
    'a b ',
  ]
  const pool = storePool((tenant) => sqliteStore(tenantFile(folder, tenant)), { max: 2 })
  for (const name of names) {
    await pool.use(name, (store) =>
      store.append({ stream: 's', events: [Opened({ owner: name })], expected: 'none' }),
    )
  }
  await pool.close()
  const files = readdirSync(folder).filter((file) => file.endsWith('.db'))
  expect(files).toHaveLength(names.length)
  expect(new Set(files.map((file) => file.toLowerCase())).size).toBe(names.length)
  expect(files.every((file) => /^[a-z0-9_~-]+\.db$/.test(file) && !/^(con|com1)\./.test(file))).toBe(true)
  expect(() => tenantFile(folder, 'x'.repeat(241))).toThrow('choose a shorter one')
  expect(() => tenantFile(folder, 'a\0b')).toThrow(/^tenant/)
  expect(() => tenantFile('', 'a')).toThrow(/^folder/)
})
