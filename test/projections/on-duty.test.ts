import { parkedIn, projectionsIn, runProjections, unblockIn } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

import { memoryStore } from 'mneme/memory'
import { testFolder } from '../stores/sqlite/folder.ts'
import { Account, balances, deposit, patiently, places, until } from './rig.ts'

const amountOf = ({ data }: { data: unknown }) => (data as { amount: number }).amount

describe.each(places)('a person on duty, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('parkAndGoOn sets the event aside that blocks a projection, which goes on behind it', async () => {
      const { store, target, ...place } = await open()
      const before = (event: { data: unknown }) => {
        if (amountOf(event) === 13) throw new Error('unlucky')
      }
      const projection = balances(target, { before, maxRetries: 0 })
      expect(await projectionsIn(target)).toEqual([])
      expect(await projection.parkAndGoOn(store)).toBe(false)
      for (const amount of [1, 13, 2, 13, 3]) await deposit(store, 1, amount)
      const running = await runProjections(store, [projection])
      const blockedAt = async (revision: number) =>
        (await projection.status(store)).failure?.event?.revision === revision
      await until(() => blockedAt(1), 'it is blocked by the first of the two')
      const elsewhere = memoryStore()
      await expect(projection.parkAndGoOn(elsewhere)).rejects.toThrow(/^store must be the store/)
      await elsewhere.close()
      const both = await Promise.all([projection.parkAndGoOn(store), projection.parkAndGoOn(store)])
      expect(both.sort()).toEqual([false, true])
      await until(() => blockedAt(3), 'it is blocked by the second')
      expect(await projection.parkAndGoOn(store)).toBe(true)
      await running.caughtUp(patiently)
      expect(await place.balances()).toEqual({ 'Account-a0': 6 })
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 3, parked: 2 })
      expect((await projection.parked()).map(({ event }) => event.revision)).toEqual([1, 3])
      await running.stop()
    })

    test('one parked event is retried or discarded by its id, and the others stay', async () => {
      const { store, target, ...place } = await open()
      let isMended = false
      const before = () => {
        if (!isMended) throw new Error('not yet')
      }
      const projection = balances(target, { before, onError: 'park', maxRetries: 0 })
      for (const amount of [1, 2, 4]) await deposit(store, 1, amount)
      const running = await runProjections(store, [projection])
      await running.caughtUp(patiently)
      const ids = (await projection.parked()).map(({ event }) => event.id)
      expect(ids).toHaveLength(3)
      isMended = true
      expect(await projection.retryParked(ids[1])).toEqual({ handled: 1, failed: 0 })
      expect(await projection.retryParked(ids[1])).toEqual({ handled: 0, failed: 0 })
      expect(await projection.discard(ids[0]!)).toBe(true)
      expect(await projection.discard(ids[0]!)).toBe(false)
      await expect(projection.discard('')).rejects.toThrow(/^id must be/)
      expect((await projection.parked()).map(({ event }) => event.id)).toEqual([ids[2]])
      expect(await place.balances()).toEqual({ 'Account-a0': 2 })
      await running.stop()
    })

    test('a database lists the projections that it holds, with the stack and the causes of a failure', async () => {
      const { store, target } = await open()
      const before = () => {
        const cause = Object.assign(new TypeError('no currency'), { code: 'E_CURRENCY' })
        throw new RangeError('cannot convert', { cause })
      }
      const fine = balances(target, { name: 'fine' })
      const broken = balances(target, { name: 'broken', table: 'others', before, maxRetries: 0 })
      await store.append({ stream: Account('a'), events: [Account.events.Deposited({ amount: 1 })] })
      const running = await runProjections(store, [fine, broken])
      await running.caughtUp(patiently).catch(() => undefined)
      await fine.caughtUpTo(await store.logHead(), patiently)
      await running.stop()
      const [first, second] = await projectionsIn(target)
      expect(first).toMatchObject({ name: 'broken', version: 1, state: 'blocked', handled: 0, parked: 0 })
      expect(first?.failure).toMatchObject({
        name: 'RangeError',
        message: 'cannot convert',
        causes: [{ name: 'TypeError', message: 'no currency', code: 'E_CURRENCY' }],
      })
      expect(first?.failure?.stack).toContain('on-duty.test.ts')
      expect(first?.failure?.causes?.[0]?.stack).toContain('on-duty.test.ts')
      expect(second).toEqual({
        ...{ name: 'fine', kind: 'projection', version: 1, state: 'stopped', handled: 1, parked: 0 },
        ...{ failure: undefined, rebuild: undefined },
        store: await store.identity(),
        position: await store.logHead(),
      })
      expect(await unblockIn(target, 'broken')).toBe(true)
      expect(await unblockIn(target, 'broken')).toBe(false)
      expect(await unblockIn(target, 'unknown')).toBe(false)
      expect((await projectionsIn(target))[0]).toMatchObject({ state: 'stopped', failure: undefined })
    })

    test('what another program has set aside is listed by the name of its projection', async () => {
      const { store, target } = await open()
      expect(await parkedIn(target, 'balances')).toEqual([])
      const before = () => {
        throw new Error('unlucky')
      }
      const projection = balances(target, { name: 'balances', before, onError: 'park', maxRetries: 0 })
      await deposit(store, 1, 13)
      const running = await runProjections(store, [projection])
      await running.caughtUp(patiently)
      await running.stop()
      expect(await parkedIn(target, 'balances')).toMatchObject([
        { event: { data: { amount: 13 } }, failure: { message: 'unlucky' } },
      ])
      expect(await parkedIn(target, 'unknown')).toEqual([])
      await expect(parkedIn(target, '')).rejects.toThrow(/^name must be/)
    })
  })
})

test('a target with migrate: false makes no table, and no file', async () => {
  const file = join(testFolder(), 'models.db')
  const missing = sqliteTarget(file, { migrate: false })
  await expect(projectionsIn(missing)).rejects.toThrow(`${file} does not exist`)
  await (await sqliteStore(file)).close()
  const store = memoryStore()
  const target = sqliteTarget(file, { migrate: false })
  expect(await projectionsIn(target)).toEqual([])
  const running = runProjections(store, [balances(target, {})])
  await expect(running).rejects.toMatchObject({ code: 'CANNOT_OPEN', reason: 'no-store' })
  expect(() => sqliteTarget(file, { migrate: 1 as never })).toThrow('migrate must be true or false')
  await Promise.all([missing.close(), target.close(), store.close()])
})
