import { setTimeout as sleep } from 'node:timers/promises'
import { defineCommand, execute, load, type EventStore, ofType, RejectedError, tryExecute } from 'mneme'
import { HttpError, httpAnswers, type HttpOptions, type Problem, type RequestOptions } from 'mneme/http'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'
import { cancel, change, Order, place, PlaceBody } from './shop.ts'

/** A service with `POST /orders`, `GET`, `PATCH`, `PUT` and `DELETE /orders/1`, without a server. */
function shop(options: HttpOptions = {}, store: EventStore = memoryStore()) {
  const errors: unknown[] = []
  const http = httpAnswers({ onError: (error) => void errors.push(error), ...options })
  const send = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown) => {
    const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body)
    return handle(
      new Request(new URL(path, 'http://shop'), {
        method,
        headers: { ...(text !== null && { 'Content-Type': 'application/json' }), ...headers },
        body: text,
      }),
    )
  }
  const handle = (request: Request): Promise<Response> => {
    const principal = request.headers.get('X-User')
    const order = new URL(request.url).pathname.split('/')[2]
    if (order === undefined) {
      return http.command(request, {
        body: PlaceBody,
        principal,
        resource: ({ id }) => Order(id),
        execute: (given, { id, body }) => tryExecute(store, place({ order: id, ...body }), given),
        rejections: { 'exists-already': 409 },
        answer: ({ state }, { id }) => ({ status: 201, body: state, headers: { Location: `/orders/${id}` } }),
      })
    }
    const resource = Order(order)
    switch (request.method) {
      case 'PUT':
        return http.command(request, {
          body: PlaceBody,
          principal,
          resource,
          execute: (given, { body }) => tryExecute(store, place({ order, ...body }), given),
          rejections: { 'exists-already': 409 },
          answer: () => ({ status: 201 }),
        })
      case 'PATCH':
        return http.command(request, {
          body: ofType<{ quantity: number }>(),
          principal,
          resource,
          requirePrecondition: true,
          execute: (given, { body }) => tryExecute(store, change({ order, ...body }), given),
          rejections: {
            'unknown-order': 404,
            cancelled: ({ quantity }) => ({ status: 409, title: 'Too late', quantity, rejection: undefined }),
          },
          answer: ({ state: { quantity } }) => ({ body: { quantity } }),
        })
      case 'DELETE':
        return http.command(request, {
          principal,
          requireKey: true,
          execute: (given) => tryExecute(store, cancel(order), given),
          rejections: { 'not-open': 409 },
        })
      default:
        return http.state(request, {
          load: () => load(store, resource),
          answer: ({ status, article, quantity }) => ({ body: { status, article, quantity } }),
        })
    }
  }
  return { store, http, errors, send }
}

const pen = { article: 'pen', quantity: 2 }
const problemOf = async (response: Response) => {
  expect(response.headers.get('Content-Type')).toBe('application/problem+json')
  const problem = (await response.json()) as Problem
  expect(problem.status).toBe(response.status)
  return problem
}
const eventsIn = async (store: EventStore) => {
  let count = 0
  for await (const _ of store.readAll()) count++
  return count
}

test('a command is answered with what it made, its place and its ETag', async () => {
  const { send } = shop()
  const response = await send('POST', '/orders', {}, pen)
  expect(response.status).toBe(201)
  expect(response.headers.get('ETag')).toBe('"0"')
  expect(response.headers.get('Location')).toMatch(/^\/orders\/[\da-f-]{36}$/)
  expect(await response.json()).toEqual({ status: 'open', ...pen })
})

test('a state has an ETag, and the client that has it gets 304', async () => {
  const { send } = shop()
  expect((await problemOf(await send('GET', '/orders/1'))).code).toBe('NOT_FOUND')
  await send('PUT', '/orders/1', {}, pen)
  const response = await send('GET', '/orders/1')
  expect([response.status, response.headers.get('ETag')]).toEqual([200, '"0"'])
  expect(response.headers.get('Cache-Control')).toBe('private, no-cache')
  expect(await response.json()).toEqual({ status: 'open', ...pen })
  for (const tags of ['"0"', 'W/"0"', '"9", "0"', '*']) {
    const unchanged = await send('GET', '/orders/1', { 'If-None-Match': tags })
    expect([unchanged.status, unchanged.headers.get('ETag')]).toEqual([304, '"0"'])
    expect(await unchanged.text()).toBe('')
  }
  expect((await send('GET', '/orders/1', { 'If-None-Match': '"1"' })).status).toBe(200)
  expect((await send('GET', '/orders/1', { 'If-Match': '"1"' })).status).toBe(412)
  const head = await send('HEAD', '/orders/1')
  expect([head.status, head.headers.get('ETag'), await head.text()]).toEqual([200, '"0"', ''])
})

test('another representation has another ETag', async () => {
  const { store, send } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const next = shop({ representation: 'v2' }, store)
  expect((await next.send('GET', '/orders/1', { 'If-None-Match': '"0"' })).headers.get('ETag')).toBe('"0.v2"')
  expect((await next.send('GET', '/orders/1', { 'If-None-Match': '"0.v2"' })).status).toBe(304)
})

test('If-Match lets a change pass only on the revision that the client saw', async () => {
  const { store, send } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const change = (tags: string, quantity: number) =>
    send('PATCH', '/orders/1', { 'If-Match': tags }, { quantity })
  expect((await change('"0"', 3)).headers.get('ETag')).toBe('"1"')
  const late = await change('"0"', 4)
  expect(late.status).toBe(412)
  expect(await problemOf(late)).toMatchObject({ code: 'PRECONDITION_FAILED', title: 'Precondition Failed' })
  expect((await change('W/"1"', 4)).status).toBe(412)
  expect((await change('"7", "0"', 4)).status).toBe(412)
  expect((await change('"0", "1", "7"', 4)).headers.get('ETag')).toBe('"2"')
  expect((await change('*', 5)).headers.get('ETag')).toBe('"3"')
  expect((await change('3', 5)).status).toBe(400)
  expect(await eventsIn(store)).toBe(4)
})

test('If-None-Match: * lets one of many creations pass', async () => {
  const { store, send } = shop()
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => send('PUT', '/orders/1', { 'If-None-Match': '*' }, pen)),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([201, 412, 412, 412, 412, 412, 412, 412])
  expect(await eventsIn(store)).toBe(1)
})

test('a precondition that holds, on a resource that always changes first, is answered with 503', async () => {
  const store = memoryStore()
  const http = httpAnswers()
  await execute(store, place({ order: '1', article: 'pen', quantity: 1 }))
  let changes = 0
  const response = await http.command(
    new Request('http://shop/', { headers: { 'If-None-Match': '"999"' } }),
    {
      principal: null,
      resource: Order('1'),
      execute: async (options) => {
        await execute(store, change({ order: '1', quantity: ++changes }))
        return tryExecute(store, cancel('1'), options)
      },
      rejections: {} as never,
    },
  )
  expect(response.status).toBe(503)
  expect(response.headers.get('Retry-After')).toBe('1')
})

test('If-None-Match with a list lets a change pass on any other revision', async () => {
  const { send } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const change = (tags: string) => send('PATCH', '/orders/1', { 'If-None-Match': tags }, { quantity: 3 })
  expect((await change('"0"')).status).toBe(412)
  expect((await change('W/"0"')).status).toBe(412)
  expect((await change('"1", "2"')).headers.get('ETag')).toBe('"1"')
  expect((await change('"other"')).headers.get('ETag')).toBe('"2"')
})

test('a demanded precondition that is absent is 428', async () => {
  const { send } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const response = await send('PATCH', '/orders/1', {}, { quantity: 3 })
  expect(response.status).toBe(428)
  expect(await problemOf(response)).toMatchObject({
    code: 'PRECONDITION_REQUIRED',
    detail: 'read the resource, then send its ETag in If-Match; to create it, send If-None-Match: *',
  })
})

test('a precondition on a resource without an ETag is 412, not ignored', async () => {
  const { send, store } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const response = await send('DELETE', '/orders/1', { 'If-Match': '"0"', 'Idempotency-Key': 'a' })
  expect(response.status).toBe(412)
  expect(await eventsIn(store)).toBe(1)
})

test('a rejection is a problem document with reason, details and the ETag it stands on', async () => {
  const { send } = shop({ typeBase: 'https://shop.example/problems/' })
  const change = () => send('PATCH', '/orders/1', { 'If-Match': '*' }, { quantity: 3 })
  const created = () => send('PUT', '/orders/1', {}, pen)
  await created()
  const again = await created()
  expect([again.status, again.headers.get('ETag')]).toEqual([409, '"0"'])
  expect(await problemOf(again)).toEqual({
    type: 'https://shop.example/problems/exists-already',
    title: 'Conflict',
    status: 409,
    detail: 'the command was rejected: exists-already',
    code: 'REJECTED',
    reason: 'exists-already',
    rejection: { reason: 'exists-already' },
  })
  await send('DELETE', '/orders/1', { 'Idempotency-Key': 'c' })
  const problem = await problemOf(await change())
  expect(problem).toMatchObject({ status: 409, title: 'Too late', reason: 'cancelled', quantity: 2 })
  expect(problem.rejection).toBeUndefined()
})

test('a request that is sent again with its key gets the first answer, with its ETag', async () => {
  const { store, send } = shop()
  const post = () => send('POST', '/orders', { 'X-User': 'ann', 'Idempotency-Key': '"k1"' }, pen)
  const first = await post()
  const location = first.headers.get('Location')!
  await send('PATCH', location, { 'If-Match': '"0"' }, { quantity: 9 })
  const again = await post()
  expect(again.status).toBe(201)
  expect(Object.fromEntries(again.headers)).toEqual(Object.fromEntries(first.headers))
  expect(await again.text()).toBe(await first.text())
  expect(await eventsIn(store)).toBe(2)
})

test('a change that is sent again with its key gets the first answer, although If-Match no longer holds', async () => {
  const { store, send } = shop()
  await send('PUT', '/orders/1', {}, pen)
  const change = (key: string, tags = '"0"') =>
    send('PATCH', '/orders/1', { 'If-Match': tags, 'Idempotency-Key': key }, { quantity: 3 })
  expect((await change('k1')).headers.get('ETag')).toBe('"1"')
  const again = await change('k1')
  expect([again.status, again.headers.get('ETag'), await again.json()]).toEqual([200, '"1"', { quantity: 3 }])
  expect((await change('k1', '"0", "5"')).headers.get('ETag')).toBe('"1"')
  expect((await change('k2')).status).toBe(412)
  expect(await eventsIn(store)).toBe(2)
})

test('many requests with one key at once take effect once, and all get the same answer', async () => {
  const { store, send } = shop()
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => send('POST', '/orders', { 'Idempotency-Key': 'k' }, pen)),
  )
  expect(new Set(answers.map(({ status, headers }) => `${status} ${headers.get('Location')}`)).size).toBe(1)
  expect(await eventsIn(store)).toBe(1)
})

test('a key says nothing to another principal, path or method', async () => {
  const { store, send } = shop()
  const key = { 'Idempotency-Key': 'k' }
  const first = await send('POST', '/orders', { ...key, 'X-User': 'ann' }, pen)
  const other = await send('POST', '/orders', { ...key, 'X-User': 'bob' }, pen)
  const nobody = await send('POST', '/orders', key, pen)
  const all = [first, other, nobody].map(({ headers }) => headers.get('Location'))
  expect(new Set(all).size).toBe(3)
  for (const order of ['1', '2']) {
    expect((await send('PUT', `/orders/${order}`, key, pen)).status).toBe(201)
    expect(
      (await send('PATCH', `/orders/${order}`, { ...key, 'If-Match': '*' }, { quantity: 3 })).status,
    ).toBe(200)
    expect((await send('DELETE', `/orders/${order}`, key)).status).toBe(204)
  }
  expect(await eventsIn(store)).toBe(9)
})

test('a key with another body is 422', async () => {
  const { store, send } = shop()
  const post = (body: object) => send('POST', '/orders', { 'Idempotency-Key': 'k' }, body)
  await post(pen)
  const response = await post({ ...pen, quantity: 3 })
  expect(response.status).toBe(422)
  expect(await problemOf(response)).toMatchObject({ code: 'KEY_REUSED' })
  expect(await eventsIn(store)).toBe(1)
})

test('a key with and without quotes is the same; no person stands in the store', async () => {
  const { store, send } = shop()
  const post = (key: string) => send('POST', '/orders', { 'Idempotency-Key': key, 'X-User': 'ann' }, pen)
  const [quoted, bare] = [await post('"a-1"'), await post('a-1')]
  expect(bare.headers.get('Location')).toBe(quoted.headers.get('Location'))
  const other = await post(String.raw`"a\"1"`)
  expect(other.headers.get('Location')).not.toBe(quoted.headers.get('Location'))
  expect(await eventsIn(store)).toBe(2)
})

test.each(['""', '"a', 'a b', 'a, b', '"a", "b"', 'é', 'x'.repeat(257)])(
  'the malformed Idempotency-Key %s is 400',
  async (key) => {
    const { store, send } = shop()
    const response = await send('POST', '/orders', { 'Idempotency-Key': key }, pen)
    expect((await problemOf(response)).detail).toContain('Idempotency-Key is malformed')
    expect(response.status).toBe(400)
    expect(await eventsIn(store)).toBe(0)
  },
)

test('a demanded key that is absent is 400', async () => {
  const { send } = shop()
  const response = await send('DELETE', '/orders/1')
  expect(response.status).toBe(400)
  expect(await problemOf(response)).toMatchObject({ code: 'KEY_REQUIRED' })
})

test('what the schema refuses is 400 with issues; so is what a command refuses', async () => {
  const { send, http, store } = shop()
  const response = await send('POST', '/orders', {}, { article: '', quantity: 0.5 })
  const { issues, code } = await problemOf(response)
  expect([response.status, code, issues?.map(({ path }) => path)]).toEqual([
    400,
    'INVALID_DATA',
    ['body.article', 'body.quantity'],
  ])
  const request = new Request('http://shop/', { method: 'POST' })
  const data = await http.command(request, {
    principal: null,
    execute: (given) => tryExecute(store, place({ order: '1', article: 'pen', quantity: NaN }), given),
    rejections: { 'exists-already': 409 },
  })
  expect(data.status).toBe(400)
  expect((await problemOf(data)).issues).toHaveLength(1)
  expect(await eventsIn(store)).toBe(0)
})

test('a rejection that execute throws is 422', async () => {
  const { http, store } = shop()
  const response = await http.command(new Request('http://shop/', { method: 'POST' }), {
    principal: null,
    execute: (given) => execute(store, cancel('1'), given),
    rejections: {},
  })
  expect([response.status, (await problemOf(response)).reason]).toEqual([422, 'not-open'])
})

test('an error of ours is answered as it says, another one with a 500 that says nothing', async () => {
  const { http, errors } = shop()
  const answer = (error: unknown) =>
    http.command(new Request('http://shop/', { method: 'POST' }), {
      principal: null,
      execute: () => Promise.reject(error as Error),
      rejections: {},
    })
  const forbidden = new HttpError(403, { detail: 'not yours', owner: 'bob' }, { 'X-Why': 'owner' })
  const refused = await answer(forbidden)
  expect([refused.status, refused.headers.get('X-Why')]).toEqual([403, 'owner'])
  expect(await problemOf(refused)).toEqual({
    ...{ type: 'about:blank', title: 'Forbidden', status: 403 },
    ...{ detail: 'not yours', owner: 'bob' },
  })
  const secret = new Error('password=hunter2')
  expect(await problemOf(await answer(secret))).toEqual({
    ...{ type: 'about:blank', title: 'Internal Server Error', status: 500 },
  })
  expect(errors).toEqual([secret])
  expect(() => new HttpError(200)).toThrow('status must be the status of an error, from 400 to 599')
})

test('a client that has gone aborts its command', async () => {
  const { http, store, errors } = shop()
  const request = new Request('http://shop/', { method: 'POST', signal: AbortSignal.abort() })
  const response = await http.command(request, {
    principal: null,
    execute: (given) => tryExecute(store, place({ order: '1', ...pen }), given),
    rejections: { 'exists-already': 409 },
  })
  expect(response.status).toBe(499)
  expect(errors).toEqual([])
  expect(await eventsIn(store)).toBe(0)
})

test('what a function of Node throws when it is aborted is no error of the service', async () => {
  const { http, errors } = shop()
  const gone = new AbortController()
  const request = new Request('http://shop/', { method: 'POST', signal: gone.signal })
  const response = http.command(request, {
    principal: null,
    // An AbortError of its own, whose cause is the signal's reason.
    execute: ({ signal }) => sleep(600_000, undefined, { signal }) as Promise<never>,
    rejections: {},
  })
  gone.abort()
  expect((await response).status).toBe(499)
  expect(errors).toEqual([])
})

test('a precondition or key that execute does not pass on is a 500 that is told', async () => {
  const { http, store, errors } = shop()
  const put = (headers: Record<string, string>, pass: (options: RequestOptions) => RequestOptions) =>
    http.command(new Request('http://shop/orders/1', { method: 'PUT', headers }), {
      principal: null,
      resource: Order('1'),
      execute: (options) => tryExecute(store, place({ order: '1', ...pen }), pass(options)),
      rejections: { 'exists-already': 409 },
    })
  const both = { 'If-None-Match': '*', 'Idempotency-Key': 'k' }
  expect((await put(both, (options) => ({ ...options }))).status).toBe(204)
  expect((await put(both, (options) => options)).status).toBe(204)
  expect((await put({}, ({ signal }) => ({ signal }))).status).toBe(409)
  expect(errors).toEqual([])
  const told = async (headers: Record<string, string>) => {
    const response = await put(headers, ({ signal }) => ({ signal }))
    expect(await problemOf(response)).toMatchObject({ status: 500, code: 'INVALID_ARGUMENT' })
    return (errors.pop() as Error).message
  }
  expect(await told({ 'If-Match': '"7"' })).toBe(
    'route.execute did not read options.expected, so If-Match or If-None-Match of the request had no effect; ' +
      'pass the options on: execute: (options) => tryExecute(store, command, options)',
  )
  expect(await told({ 'Idempotency-Key': 'k2' })).toContain(
    'did not read options.key, so Idempotency-Key of the request had no effect',
  )
  const forbidden = await http.command(new Request('http://shop/', { method: 'PUT', headers: both }), {
    principal: null,
    resource: Order('1'),
    execute: () => Promise.resolve({ ok: false as const, rejection: { reason: 'closed' as const } }),
    rejections: { closed: 403 },
  })
  expect([forbidden.status, errors]).toEqual([403, []])
})

test('a resource that the command does not read is a 500 that is told', async () => {
  const { http, store, errors } = shop()
  const response = await http.command(new Request('http://shop/', { method: 'PUT' }), {
    principal: null,
    resource: Order('2'),
    execute: (options) => tryExecute(store, place({ order: '1', ...pen }), options),
    rejections: { 'exists-already': 409 },
  })
  expect(response.status).toBe(500)
  expect(errors.map((error) => (error as Error).message)).toEqual([
    'route.resource is the stream "Order-2", which the command does not read; it reads "Order-1"; ' +
      'name one of these, or leave resource out',
  ])
})

test('a repeated result names the streams of the first call, so its resource is not checked', async () => {
  const { http, store, errors } = shop()
  const once = defineCommand({
    name: 'order.once',
    reads: (order: string) => Order(order),
    keyedBy: () => 'pen',
    handle: () => Order.events.Placed(pen),
  })
  const put = (order: string) => {
    const headers = { 'Idempotency-Key': 'k' }
    return http.command(new Request('http://shop/', { method: 'PUT', headers }), {
      principal: null,
      resource: Order(order),
      execute: (options) => tryExecute(store, once(order), options),
      rejections: {},
    })
  }
  expect([(await put('1')).status, (await put('2')).status, errors]).toEqual([204, 204, []])
})

test('a misspelt option is a 500 that is told; options of the service throw', async () => {
  const { http, errors } = shop()
  const request = new Request('http://shop/', { method: 'POST' })
  const execute = () => Promise.reject(new RejectedError({ reason: 'x' }))
  await http.command(request, { principal: null, execute, requireKeys: true } as never)
  await http.command(request, { execute } as never)
  expect(errors.map((error) => (error as Error).message)).toEqual([
    expect.stringContaining("unknown option 'route.requireKeys'; known options: body, principal"),
    'principal must be who sends the request, as a string; or null',
  ])
  expect(() => httpAnswers({ retries: 1 } as never)).toThrow("unknown option 'retries'")
  expect(() => httpAnswers({ retryAfter: 0.5 })).toThrow('retryAfter must be a whole number from 0')
})
