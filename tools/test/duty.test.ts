import { join } from 'node:path'
import { defineAggregate, defineCommand, event } from 'mneme'
import { defineProjection, runProjections } from 'mneme/projections'
import { after, defineReaction, runReactions } from 'mneme/reactions'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { testFolder } from '../../test/stores/sqlite/folder.ts'
import { mneme } from './mneme.ts'

const Order = defineAggregate({
  name: 'Order',
  events: { Placed: event<{ total: number }>(), Reminded: event() },
  initial: () => ({ reminders: 0 }),
  apply: { Placed: (state) => state, Reminded: ({ reminders }) => ({ reminders: reminders + 1 }) },
})
const remind = defineCommand({
  name: 'order.remind',
  reads: ({ order }: { order: string }) => Order(order),
  handle: () => Order.events.Reminded(),
})

/** A file with an order, a reaction that will remind of it, and a projection that is blocked by it. */
async function openShop() {
  const file = join(testFolder(), 'shop.db')
  const [store, target] = [await sqliteStore(file), sqliteTarget(file)]
  onTestFinished(async () => {
    await target.close()
    await store.close()
  })
  const { position } = await store.append({
    stream: Order('7'),
    events: [Order.events.Placed({ total: 5 })],
  })
  const reminders = defineReaction({
    name: 'reminders',
    from: [Order],
    startAt: 'start',
    commands: [remind],
    on: { 'Order.Placed': () => after({ hours: 24 }, remind({ order: '7' }), { timer: 'order-7' }) },
  })
  const sales = defineProjection({
    name: 'sales',
    into: target,
    from: [Order],
    retry: { maxRetries: 0 },
    on: {
      'Order.Placed': () => {
        throw new Error('no table yet')
      },
    },
  })
  const reacting = await runReactions(store, [reminders], { state: target })
  await reacting.caughtUp()
  await reacting.stop()
  const projecting = await runProjections(store, [sales])
  await expect(sales.caughtUpTo(position, { timeout: 60_000 })).rejects.toThrow('no table yet')
  await projecting.stop()
  return { store, url: `sqlite:${file}`, sales }
}

test('projections and reactions of a database are listed, one is shown whole, and let go on only with --write', async () => {
  const { url, store, sales } = await openShop()
  const { out } = await mneme(['projections', url, '--json'])
  expect(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toMatchObject([
    { name: 'reminders', kind: 'reaction', state: 'stopped', handled: 1 },
    { name: 'sales', kind: 'projection', state: 'blocked', failure: { message: 'no table yet' } },
  ])
  expect((await mneme(['projections', url])).out).toContain('no table yet')
  const one = await mneme(['projections', url, 'sales'])
  expect(JSON.parse(one.out)).toMatchObject({ failure: { event: { stream: 'Order-7' } }, parked: [] })
  expect(await mneme(['projections', url, 'sales', '--unblock'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--write') as string,
  })
  expect((await sales.status(store)).state).toBe('blocked')
  expect(await mneme(['projections', url, 'sales', '--unblock', '--write'])).toMatchObject({
    code: 0,
    err: "'sales' may try again\n",
  })
  expect((await sales.status(store)).state).toBe('stopped')
  expect(await mneme(['projections', url, 'salse'])).toMatchObject({
    code: 2,
    err: "mneme: the database has no projection, reaction or relay 'salse'; there are: reminders, sales\n",
  })
})

test('timers are shown with what they will do', async () => {
  const { url } = await openShop()
  const { out } = await mneme(['timers', url, '--json'])
  expect(JSON.parse(out)).toMatchObject({
    ...{ reaction: 'reminders', timer: 'order-7', state: 'waiting', command: 'order.remind' },
    input: { order: '7' },
  })
  expect((await mneme(['timers', url, 'reminders'])).out).toContain('{"order":"7"}')
})

test('looking at projections makes nothing, and a store of another kind has none', async () => {
  const file = join(testFolder(), 'bank.db')
  const store = await sqliteStore(file)
  await store.close()
  expect(await mneme(['projections', `sqlite:${file}`])).toMatchObject({ code: 0, out: '' })
  expect(await mneme(['timers', `sqlite:${file}`])).toMatchObject({ code: 0, out: '' })
  const target = sqliteTarget(file)
  expect(await target.query("SELECT 1 FROM sqlite_schema WHERE name LIKE 'mneme_projection%'")).toEqual([])
  await target.close()
})
