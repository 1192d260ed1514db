import { memoryStore } from 'mneme/memory'
import { sqliteTarget } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { ask, callOf, inspect } from './calls.ts'
import { runShop } from './read-models.ts'
import { cancel, Order, pictureShop } from './shop.ts'

test('projections and reactions are listed with how far each is behind, and why it does not go on', async () => {
  const store = await pictureShop()
  const readModels = await runShop(store)
  const inspector = inspect({ store, readModels, aggregates: [Order], commands: [cancel] })
  onTestFinished(async () => {
    await inspector.close()
    await readModels.close()
    await store.close()
  })
  const listed = async () => {
    const { followers, failures, databases } = await ask(inspector, 'followers', {})
    expect([failures, databases]).toEqual([[], 1])
    return followers.map(({ name, kind, live, parked }) => ({
      ...{ name, kind, state: live.state, handled: live.handled, parked, behind: live.lag?.events },
    }))
  }
  const before = await listed()
  expect(before).toMatchObject([
    { name: 'letters', kind: 'projection', state: 'blocked', handled: 0 },
    { name: 'parcels', kind: 'projection', state: 'stopped', parked: 2, behind: 0 },
    { name: 'totals', kind: 'projection', state: 'stopped', handled: 20, parked: 0, behind: 0 },
    { name: 'unpaid', kind: 'reaction', state: 'stopped', handled: 24, behind: 0 },
  ])
  expect(before[0]!.behind).toBeGreaterThan(50)
  await store.append({ stream: Order('new'), events: [Order.events.Cancelled({ reason: 'r' })] })
  expect((await listed()).map(({ behind }) => behind)).toEqual([before[0]!.behind! + 1, 1, 1, 1])

  const letters = await ask(inspector, 'follower', { name: 'letters', database: 0 })
  expect(letters.live.failure).toMatchObject({
    message: 'there is no paper',
    event: { stream: 'Order-1005', revision: 1 },
  })
  const parcels = await ask(inspector, 'follower', { name: 'parcels', database: 0 })
  expect(parcels.parkedEvents[0]).toMatchObject({
    ...{ stream: 'Order-1007', revision: 2, type: 'Order.Shipped' },
    failure: { message: 'the parcel GB-1007 has no <b>address</b>' },
  })
  const unpaid = await ask(inspector, 'follower', { name: 'unpaid', database: 0 })
  expect(unpaid.timers.length).toBe(24)
  expect(unpaid.timers[0]).toMatchObject({
    ...{ timer: 'unpaid:1001', state: 'waiting', command: 'order.remind', due: '2054-03-20T08:50:30.534Z' },
    ...{ input: { value: { order: '1001' } }, event: { stream: 'Order-1001', revision: 0 } },
  })
  await expect(ask(inspector, 'follower', { name: 'none', database: 0 })).rejects.toThrow('404 NO_PROJECTION')
  await expect(ask(inspector, 'follower', { name: 'letters', database: 7 })).rejects.toThrow('404')
})

test('a blocked projection may try again where that is allowed, and it is logged before', async () => {
  const store = await pictureShop()
  const readModels = await runShop(store)
  const [reading, writing] = [inspect({ store, readModels }), inspect({ store, readModels, write: true })]
  onTestFinished(async () => {
    await Promise.all([reading.close(), writing.close()])
    await readModels.close()
    await store.close()
  })
  const head = await store.logHead()
  const letters = { name: 'letters', database: 0 }
  const isBlocked = async () => (await ask(writing, 'follower', letters)).live.state === 'blocked'
  expect((await ask(reading, 'follower', letters)).canUnblock).toBe(false)
  await expect(ask(reading, 'unblock', letters)).rejects.toThrow('403 READ_ONLY: the inspector only reads')
  const foreign = await writing.fetch(
    callOf(writing, 'unblock', letters, { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' }),
  )
  expect(foreign.status).toBe(403)
  const form = callOf(writing, 'unblock', letters, { 'Content-Type': 'text/plain' })
  expect((await writing.fetch(form)).status).toBe(415)
  await expect(ask(writing, 'unblock', { name: 'none', database: 0 })).rejects.toThrow('404 NO_PROJECTION')
  await expect(ask(writing, 'unblock', { name: 'totals', database: 0 })).rejects.toThrow('409 NOT_BLOCKED')
  await expect(ask(writing, 'unblock', { ...letters, reason: 'x'.repeat(1_001) })).rejects.toThrow('400')
  expect([await store.logHead(), await isBlocked()]).toEqual([head, true])

  expect((await ask(writing, 'about', {})).write).toBe(true)
  expect((await ask(writing, 'follower', letters)).canUnblock).toBe(true)
  const { wasBlocked, logged } = await ask(writing, 'unblock', { ...letters, reason: 'paper is back' })
  expect([wasBlocked, await isBlocked()]).toEqual([true, false])
  const { events } = await store.readPage(logged.stream)
  expect(events).toMatchObject([
    {
      type: 'MnemeTools.UnblockRequested',
      revision: logged.revision,
      data: { reason: 'paper is back', name: 'letters', kind: 'projection' },
    },
  ])
  expect(logged.stream).toBe('MnemeTools-actions')
  await expect(ask(writing, 'unblock', letters)).rejects.toThrow('409 NOT_BLOCKED')
})

test('what cannot be logged is not done', async () => {
  const store = await pictureShop()
  const readModels = await runShop(store)
  const inspector = inspect({ store, readModels, write: true })
  onTestFinished(() => readModels.close())
  const failing = { ...store, append: () => Promise.reject(new Error('the disk is full')) }
  const unlogged = inspect({ store: failing, readModels, write: true })
  await expect(ask(unlogged, 'unblock', { name: 'letters', database: 0 })).rejects.toThrow('the disk is full')
  expect((await ask(inspector, 'follower', { name: 'letters', database: 0 })).live.state).toBe('blocked')
  await Promise.all([inspector.close(), unlogged.close()])
  await store.close()
})

test('a database that cannot be read is named beside those that can', async () => {
  const store = memoryStore()
  const readModels = [sqliteTarget('/nowhere/at/all.db', { migrate: false }), sqliteTarget(':memory:')]
  const inspector = inspect({ store, readModels })
  onTestFinished(async () => {
    await inspector.close()
    await store.close()
  })
  const { followers, failures, databases } = await ask(inspector, 'followers', {})
  expect([followers, databases]).toEqual([[], 2])
  expect(failures).toEqual([expect.stringContaining('/nowhere/at/all.db')])
  const none = await ask(inspect({ store }), 'followers', {})
  expect(none).toEqual({ followers: [], failures: [], databases: 0 })
})

test('a projection of another store has no lag here', async () => {
  const [store, other] = [await pictureShop(), memoryStore()]
  const readModels = await runShop(store)
  const inspector = inspect({ store: other, readModels })
  onTestFinished(async () => {
    await inspector.close()
    await readModels.close()
    await store.close()
    await other.close()
  })
  const { followers } = await ask(inspector, 'followers', {})
  // The letters have handled nothing yet, so they are of no store.
  expect(followers.map(({ name, live }) => [name, live.lag?.events])).toEqual([
    ['letters', 0],
    ['parcels', undefined],
    ['totals', undefined],
    ['unpaid', undefined],
  ])
})
