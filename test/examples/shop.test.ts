import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore, type EventStore } from 'mneme'
import { runReactions } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { serveFastify } from '../../examples/shop/fastify.ts'
import { serveHono } from '../../examples/shop/hono.ts'
import { testMails } from '../../examples/shop/mails.ts'
import { testPayments } from '../../examples/shop/payments.ts'
import { fulfilment, shippingMails } from '../../examples/shop/reactions.ts'
import { shop } from '../../examples/shop/service.ts'
import { SseClient } from '../http/sse-client.ts'

const frameworks = { Hono: serveHono, Fastify: serveFastify }
const stores = {
  memory: () => Promise.resolve('memory:'),
  SQLite: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mneme-shop-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    return `sqlite:${join(folder, 'shop.db')}`
  },
}
const cases = [
  ['Hono', 'memory'],
  ['Fastify', 'memory'],
  ['Hono', 'SQLite'],
  ['Fastify', 'SQLite'],
] as const

/** The shop behind a real server. */
async function open(framework: keyof typeof frameworks, store: keyof typeof stores) {
  const events = await openStore(await stores[store]())
  const errors: unknown[] = []
  const payments = testPayments()
  const routes = shop(events, payments, (error) => void errors.push(error))
  const { port, close } = await frameworks[framework](routes, 0)
  onTestFinished(async () => {
    await events.close()
    await close()
  })
  const send = (user: string, method: string, path: string, body?: object, headers: object = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: {
        Authorization: `Bearer ${user}`,
        ...(body && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body && { body: JSON.stringify(body) }),
    })
  return { events, errors, payments, send, port }
}

const countOf = async (store: EventStore) => {
  let count = 0
  for await (const _ of store.readAll()) count++
  return count
}

test.each(cases)('with %s on %s, an order is placed, paid and watched', async (framework, storeName) => {
  const { events, errors, payments, send } = await open(framework, storeName)
  await send('boss', 'POST', '/articles/pen/deliveries', { quantity: 10, price: 150 })
  await send('boss', 'POST', '/articles/ink/deliveries', { quantity: 5, price: 900 })
  const watching = await send('ann', 'GET', '/events')
  expect(watching.headers.get('Content-Type')).toBe('text/event-stream')
  const watch = new SseClient(watching.body!)

  // Placed twice by a client that did not get the first answer.
  const place = () =>
    send('ann', 'POST', '/orders', { lines: { pen: 4, ink: 1 } }, { 'Idempotency-Key': '"place-1"' })
  const [placed, again] = [await place(), await place()]
  expect([placed.status, placed.headers.get('ETag')]).toEqual([201, '"0"'])
  expect(await placed.json()).toMatchObject({ status: 'open', total: 1500 })
  expect([again.status, again.headers.get('Location')]).toEqual([201, placed.headers.get('Location')])
  const path = placed.headers.get('Location')!
  expect(await (await send('x', 'GET', '/articles/pen')).json()).toEqual({ stock: 6, price: 150 })

  // Too many: neither of the two is reserved.
  const tooMany = await send('ann', 'POST', '/orders', { lines: { pen: 1, ink: 5 } })
  expect(tooMany.status).toBe(409)
  expect(await tooMany.json()).toMatchObject({
    reason: 'out-of-stock',
    rejection: { articles: ['ink'] },
  })

  // Another one's order is not there.
  expect((await send('bob', 'GET', path)).status).toBe(404)
  expect((await send('ann', 'GET', path, undefined, { 'If-None-Match': '"0"' })).status).toBe(304)

  const pay = (key: string, card = '5100000000000000') =>
    send('ann', 'POST', `${path}/payment`, { card }, { 'Idempotency-Key': key })
  expect((await send('ann', 'POST', `${path}/payment`, { card: '5100000000000000' })).status).toBe(400)
  expect((await pay('pay-0', '4000000000000000')).status).toBe(402)
  const paid = await Promise.all([pay('pay-1'), pay('pay-1'), pay('pay-1')])
  expect(paid.map(({ status, headers }) => [status, headers.get('ETag')])).toEqual(
    Array.from({ length: 3 }, () => [200, '"1"']),
  )
  expect((await pay('pay-2')).status).toBe(409)
  expect([...payments.charged.values()]).toEqual([1500])
  expect((await send('ann', 'DELETE', path, undefined, { 'If-Match': '"1"' })).status).toBe(409)

  await watch.until(({ messages }) => messages.length === 2)
  expect(watch.messages.map(({ event, data }) => [event, data])).toEqual([
    ['Order.Placed', { order: path.slice(8), customer: 'ann', lines: { pen: 4, ink: 1 }, total: 1500 }],
    ['Order.Paid', { order: path.slice(8), payment: expect.any(String) as string, amount: 1500 }],
  ])
  expect(await countOf(events)).toBe(6)
  expect(errors).toEqual([])
  await events.close()
  await watch.ended
})

test.each(cases.slice(0, 2))(
  'with %s on %s, an order is cancelled as it was seen',
  async (framework, storeName) => {
    const { errors, send } = await open(framework, storeName)
    await send('boss', 'POST', '/articles/pen/deliveries', { quantity: 10, price: 150 })
    const placed = await send('ann', 'POST', '/orders', { lines: { pen: 4 } })
    const path = placed.headers.get('Location')!
    expect((await send('ann', 'DELETE', path)).status).toBe(428)
    expect((await send('ann', 'DELETE', path, undefined, { 'If-Match': '"7"' })).status).toBe(412)
    expect((await send('bob', 'DELETE', path, undefined, { 'If-Match': '"0"' })).status).toBe(404)
    const cancelled = await send('ann', 'DELETE', path, undefined, { 'If-Match': '"0"' })
    expect([cancelled.status, cancelled.headers.get('ETag')]).toEqual([204, '"1"'])
    expect(await (await send('x', 'GET', '/articles/pen')).json()).toEqual({ stock: 10, price: 150 })
    expect(errors).toEqual([])
  },
)

test.each(cases.slice(0, 2))('with %s on %s, bad requests write nothing', async (framework, storeName) => {
  const { events, errors, send, port } = await open(framework, storeName)
  const post = async (body: string, type = 'application/json') => {
    const headers = { Authorization: 'Bearer ann', 'Content-Type': type }
    const response = await fetch(`http://127.0.0.1:${port}/orders`, { method: 'POST', body, headers })
    expect(response.headers.get('Content-Type')).toBe('application/problem+json')
    return response.status
  }
  expect(await post('{"lines":{"pen":0}}')).toBe(400)
  expect(await post('{"lines":{"p e n":1}}')).toBe(400)
  expect(await post('{')).toBe(400)
  expect(await post('lines', 'text/plain')).toBe(415)
  expect(await post(' '.repeat(2_000_000))).toBe(413)
  expect((await send('ann', 'GET', '/orders/no-uuid')).status).toBe(400)
  expect((await send('ann', 'GET', '/articles/%00')).status).toBe(400)
  expect((await fetch(`http://127.0.0.1:${port}/orders`, { method: 'POST' })).status).toBe(401)
  expect(await countOf(events)).toBe(0)
  expect(errors).toEqual([])
})

test('a paid order is shipped and its customer told once, and an unpaid one is cancelled', async () => {
  const { events, errors, send } = await open('Hono', 'SQLite')
  const state = sqliteTarget(':memory:')
  const mails = testMails()
  const unpaid = fulfilment({ minutes: 30 })
  const running = await runReactions(events, [unpaid, shippingMails(mails)], { state })
  onTestFinished(async () => {
    await running.stop()
    await state.close()
  })
  await send('boss', 'POST', '/articles/pen/deliveries', { quantity: 10, price: 150 })
  const place = async () =>
    (await send('ann', 'POST', '/orders', { lines: { pen: 4 } })).headers.get('Location')!
  const [paid, forgotten] = [await place(), await place()]
  const card = { card: '5100000000000000' }
  await send('ann', 'POST', `${paid}/payment`, card, { 'Idempotency-Key': 'pay-1' })

  // The second time for what the first one has caused.
  await running.caughtUp()
  await running.caughtUp()
  expect(await (await send('ann', 'GET', paid)).json()).toMatchObject({ status: 'shipped' })
  expect([...mails.sent.values()]).toEqual([`ann: Order-${paid.slice(8)} is on its way`])

  const [timer, ...others] = await unpaid.in(state).timers()
  expect([timer?.timer, others]).toEqual([`unpaid:Order-${forgotten.slice(8)}`, []])
  for await (const { stream, time } of events.readAll()) {
    if (stream !== timer?.event.stream) continue
    expect(Date.parse(timer.due)).toBe(Date.parse(time) + 30 * 60_000)
  }
  await unpaid.in(state).fireTimer(timer!.timer)
  await expect
    .poll(async () => (await send('ann', 'GET', forgotten)).json(), { timeout: 60_000 })
    .toMatchObject({ status: 'cancelled' })
  expect(await (await send('x', 'GET', '/articles/pen')).json()).toEqual({ stock: 6, price: 150 })
  expect(await unpaid.in(state).timers()).toEqual([])
  expect(errors).toEqual([])
})

test('the README says how long the service is, under 330 lines', async () => {
  const linesOf = async (...files: string[]) => {
    const texts = await Promise.all(files.map((file) => readFile(new URL(file, folder), 'utf8')))
    return texts.join('').split('\n').length - 1
  }
  const folder = new URL('../../examples/shop/', import.meta.url)
  const common = ['articles.ts', 'orders.ts', 'service.ts']
  const [hono, fastify] = [await linesOf(...common, 'hono.ts'), await linesOf(...common, 'fastify.ts')]
  const readme = await readFile(new URL('README.md', folder), 'utf8')
  expect(readme).toContain(`The service is ${hono} lines with Hono, ${fastify} with Fastify`)
  expect(Math.max(hono, fastify)).toBeLessThan(330)
})
