import { once } from 'node:events'
import { createServer, request as sendRequest } from 'node:http'
import { connect as connectSocket, type AddressInfo } from 'node:net'
import { defineEvents, event, type EventStore, type Recorded, type Subscription } from 'mneme'
import { type EventRoute, httpAnswers } from 'mneme/http'
import { memoryStore } from 'mneme/memory'
import { expect, onTestFinished, test, vi } from 'vitest'
import { serve } from './node-server.ts'
import { connect, type SseClient } from './sse-client.ts'

const { Said, Whispered } = defineEvents('Talk', {
  Said: event<{ text: string; n: number }>(),
  Whispered: event<{ n: number }>(),
})
const said = (n: number, text = '') => Said({ text, n })

/** A store that counts the subscriptions that have not ended. */
function setUp(route: Partial<EventRoute> = {}) {
  const store = memoryStore()
  const open = new Set<Subscription>()
  const errors: unknown[] = []
  const http = httpAnswers({ onError: (error) => void errors.push(error) })
  let ended = () => {}
  let taken = 0
  const answer = (request: Request) =>
    http.events(request, {
      subscribe: (resume) => observed(store.subscribe({ ...resume, types: [Said] })),
      message: ({ type, data }) => (taken++, { event: type, data: data }),
      heartbeat: 60_000,
      ...route,
    })
  const observed = (subscription: Subscription) => {
    open.add(subscription)
    const end = subscription.return!.bind(subscription)
    subscription.return = async () => {
      const result = await end()
      open.delete(subscription)
      ended()
      return result
    }
    return subscription
  }
  /** Resolves when no subscription is left. */
  const allEnded = async () => {
    while (open.size > 0) await new Promise<void>((resolve) => (ended = resolve))
  }
  return { store, http, open, errors, answer, observed, allEnded, taken: () => taken }
}

const append = (store: EventStore, ...events: (ReturnType<typeof said> | ReturnType<typeof Whispered>)[]) =>
  store.append({ stream: 'Talk-1', events })
const numbers = ({ messages }: SseClient) => messages.map(({ data }) => (data as { n: number }).n)
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

test('a client gets existing and new events, and resumes by Last-Event-ID after each one', async () => {
  const { store, answer } = setUp()
  const url = await serve(answer)
  await append(store, said(0), said(1))
  const client = await connect(url)
  await client.until(({ messages }) => messages.length === 2)
  await append(store, said(2, 'two\nlines'))
  await client.until(({ messages }) => messages.length === 3)
  expect(client.messages[2]).toMatchObject({ event: 'Talk.Said', data: { text: 'two\nlines', n: 2 } })

  for (const { id, data } of client.messages.slice()) {
    const resumed = await connect(url, id)
    await append(store, said(9))
    await resumed.until((one) => numbers(one).includes(9))
    expect(numbers(resumed).filter((n) => n < 9)).toEqual(range((data as { n: number }).n + 1, 3))
  }
})

test('the response is not to be buffered, cached or transformed', async () => {
  const { answer } = setUp({ headers: { 'Access-Control-Allow-Origin': '*' } })
  const response = await fetch(await serve(answer))
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    'access-control-allow-origin': '*',
  })
  await response.body?.cancel()
})

test('an id names the position, the event and the store', async () => {
  const { store, answer } = setUp()
  const client = await connect(await serve(answer))
  const { events } = await append(store, said(0))
  await client.until(({ messages }) => messages.length === 1)
  expect(client.lastEventId).toBe(`${events[0]!.position}.${events[0]!.id}.${await store.identity()}`)
})

test('an id of another store is 410', async () => {
  const [here, there] = [setUp(), setUp()]
  await append(here.store, said(0))
  await append(there.store, said(0))
  const client = await connect(await serve(here.answer))
  await client.until(({ messages }) => messages.length === 1)
  const response = await fetch(await serve(there.answer), {
    headers: { 'Last-Event-ID': client.lastEventId },
  })
  expect(response.status).toBe(410)
  expect(await response.json()).toMatchObject({
    code: 'CHECKPOINT_FROM_ANOTHER_STORE',
    detail: expect.stringContaining('connect without Last-Event-ID') as string,
  })
  await there.allEnded()
})

test('an id of a history that was rewound is 410', async () => {
  const { store, answer, allEnded } = setUp()
  await append(store, said(0))
  const [position, store_] = [await store.logHead(), await store.identity()]
  const gone = `${position}.${crypto.randomUUID()}.${store_}`
  const response = await fetch(await serve(answer), { headers: { 'Last-Event-ID': gone } })
  expect(response.status).toBe(410)
  expect(await response.json()).toMatchObject({ code: 'HISTORY_REWOUND' })
  await allEnded()
})

test('a malformed Last-Event-ID is 400, without a subscription', async () => {
  for (const id of ['17', 'a.b', '0000000000000001', '1.2.3.4', `1.${'x'.repeat(20_000)}`, '0.x.y z']) {
    const { answer, open } = setUp()
    const response = await answer(new Request('http://shop/', { headers: { 'Last-Event-ID': id } }))
    expect(response.status, id).toBe(400)
    expect(open.size).toBe(0)
  }
})

test('a position that this store cannot have given is 410', async () => {
  const { store, answer } = setUp()
  const id = `17.${crypto.randomUUID()}.${await store.identity()}`
  const response = await answer(new Request('http://shop/', { headers: { 'Last-Event-ID': id } }))
  expect(response.status).toBe(410)
})

test('a silent connection gets comments, and the id of the history that was looked through', async () => {
  const { store, answer } = setUp({ heartbeat: 10 })
  const url = await serve(answer)
  const client = await connect(url)
  await client.until(({ comments }) => comments > 3)
  await append(store, Whispered({ n: 1 })) // not for this client
  await client.until(({ lastEventId }) => lastEventId !== '')
  expect(client.messages).toEqual([])
  await append(store, said(2))
  const resumed = await connect(url, client.lastEventId)
  await resumed.until(({ messages }) => messages.length === 1)
  expect(numbers(resumed)).toEqual([2])
})

test('message may leave an event out, and take its time', async () => {
  const message = async ({ data }: Recorded) => {
    await Promise.resolve()
    return (data as { n: number }).n % 2 === 0 ? { data } : undefined
  }
  const { store, answer } = setUp({ message })
  await append(store, ...range(0, 5).map((n) => said(n)))
  const client = await connect(await serve(answer))
  await client.until(({ messages }) => messages.length === 3)
  expect(numbers(client)).toEqual([0, 2, 4])
  expect(client.messages[0]!.event).toBe('message')
})

test('no id goes past an event whose message is not yet made', async () => {
  let make = () => {}
  const made = new Promise<void>((resolve) => (make = resolve))
  const message = async ({ data }: Recorded) => {
    await made
    return { data }
  }
  const { store, answer } = setUp({ message, heartbeat: 10 })
  const client = await connect(await serve(answer))
  await client.until(({ comments }) => comments > 1)
  await append(store, said(0))
  const { comments } = client
  await client.until((one) => one.comments > comments + 2)
  expect(client.lastEventId).toBe('')
  make()
  await client.until(({ messages }) => messages.length === 1)
})

test('an error of message ends the response and is told', async () => {
  const wrong = new Error('wrong')
  const message = () => {
    throw wrong
  }
  const { store, answer, errors, allEnded } = setUp({ message })
  await append(store, said(0))
  const client = await connect(await serve(answer))
  await client.ended
  expect(client.messages).toEqual([])
  expect(errors).toEqual([wrong])
  await allEnded()
})

test('a message without data that is JSON ends the response and is told, and null is data', async () => {
  for (const data of [undefined, () => 1, Symbol('no')]) {
    const { store, answer, errors, allEnded } = setUp({ message: () => ({ event: 'said', data }) })
    await append(store, said(0))
    const client = await connect(await serve(answer))
    await client.ended
    expect(client.messages).toEqual([])
    expect((errors[0] as Error).message).toContain(
      'the message of said has no data that is JSON; give { data: null }',
    )
    await allEnded()
  }
  const { store, answer } = setUp({ message: () => ({ data: null }) })
  await append(store, said(0))
  const client = await connect(await serve(answer))
  await client.until(({ messages }) => messages.length === 1)
  expect(client.messages.map(({ data }) => data)).toEqual([null])
})

test('the subscription ends when the client has gone', async () => {
  const { store, answer, open, allEnded } = setUp()
  const gone = new AbortController()
  const client = await connect(await serve(answer), '', gone.signal)
  await append(store, said(0))
  await client.until(({ messages }) => messages.length === 1)
  expect(open.size).toBe(1)
  gone.abort()
  await allEnded()
})

test('the subscription ends when the client has gone, under a server without signals', async () => {
  const { answer, allEnded, open } = setUp()
  const gone = new AbortController()
  const url = await serve((request) => answer(new Request(request.url)))
  await connect(url, '', gone.signal)
  expect(open.size).toBe(1)
  gone.abort()
  await allEnded()
})

test('a client that has gone before there is an answer leaves no subscription', async () => {
  const { answer, allEnded } = setUp()
  const response = await answer(new Request('http://shop/', { signal: AbortSignal.abort() }))
  await response.text()
  await allEnded()
})

test('many clients that come and go leave no subscription', async () => {
  const { store, answer, open, allEnded } = setUp()
  const url = await serve(answer)
  await append(store, said(0))
  const gone = new AbortController()
  const clients = await Promise.all(range(0, 50).map(() => connect(url, '', gone.signal)))
  await Promise.all(clients.map((client) => client.until(({ messages }) => messages.length === 1)))
  expect(open.size).toBe(50)
  gone.abort()
  await allEnded()
})

test('closing the store ends the response', async () => {
  const { store, answer } = setUp()
  const client = await connect(await serve(answer))
  await append(store, said(0))
  await client.until(({ messages }) => messages.length === 1)
  await store.close()
  await client.ended
})

test('a store that is closed already answers with 503, or with an empty stream', async () => {
  const { store, answer } = setUp()
  await store.close()
  const response = await answer(new Request('http://shop/'))
  expect([200, 503]).toContain(response.status)
  await response.text()
})

test('a client that takes nothing is closed, and resumes without loss', { timeout: 60_000 }, async () => {
  const { store, answer, allEnded, taken, errors } = setUp({ heartbeat: 25 })
  const url = await serve(answer)
  // It reads the beginning of the answer, and nothing from then on.
  const slow = connectSocket(Number(new URL(url).port), '127.0.0.1')
  onTestFinished(() => void slow.destroy())
  const text: string[] = []
  slow.on('data', (chunk) => text.push(String(chunk)))
  slow.write('GET / HTTP/1.1\r\nHost: shop\r\n\r\n')
  await once(slow, 'data')
  slow.pause()

  let isClosed = false
  void allEnded().then(() => (isClosed = true))
  let n = 0
  const long = 'x'.repeat(200_000)
  while (!isClosed) {
    await append(store, said(n++, long), said(n++, long))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(errors).toEqual([])
  // What was in the buffers of the connection is what it still gets; the last event may be half.
  slow.resume()
  slow.on('error', () => undefined)
  await once(slow, 'close')
  const ids = [...text.join('').matchAll(/^id: (\S+)\nevent: .*\ndata: .*\n\n/gm)].map(([, id]) => id!)
  expect(taken()).toBeGreaterThanOrEqual(ids.length)

  const seen: number[] = []
  for (let last = ids.at(-1) ?? ''; seen.at(-1) !== n - 1;) {
    const resumed = await connect(url, last)
    await Promise.race([resumed.ended, resumed.until((one) => numbers(one).at(-1) === n - 1).catch(() => {})])
    seen.push(...numbers(resumed))
    last = resumed.lastEventId
  }
  expect(seen).toEqual(range(ids.length, n))
})

test('an event is taken from the subscription only when the client took the one before', async () => {
  const { store, answer, taken } = setUp()
  await append(store, ...range(0, 100).map((n) => said(n)))
  const response = await answer(new Request('http://shop/'))
  const reader = response.body!.getReader()
  await reader.read()
  for (const n of range(0, 10)) {
    expect(taken()).toBeLessThanOrEqual(n + 1)
    await reader.read()
  }
  await reader.cancel()
})

test('a client is closed when it takes nothing for two heartbeats, and not before', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const { store, answer, allEnded } = setUp({ heartbeat: 1_000 })
  await append(store, ...range(0, 20).map((n) => said(n)))
  const response = await answer(new Request('http://shop/'))
  const reader = response.body!.getReader()
  for (const _ of range(0, 10)) {
    await reader.read()
    vi.advanceTimersByTime(1_000)
  }
  vi.advanceTimersByTime(1_000)
  await allEnded()
  await expect(reader.read()).rejects.toThrow('the client takes no more events')
})

test('a response ends after its time, and the client continues where it was', async () => {
  const { store, answer, allEnded } = setUp({ endAfter: 20 })
  const url = await serve(answer)
  const seen: number[] = []
  let lastEventId = ''
  let n = 0
  while (seen.length < 5) {
    if (n < 5) await append(store, said(n++))
    const client = await connect(url, lastEventId)
    await client.ended
    seen.push(...numbers(client))
    lastEventId = client.lastEventId
  }
  expect(seen).toEqual(range(0, 5))
  await allEnded()
})

/** A proxy that buffers an answer until it ends, like nginx with a large buffer; one that obeys X-Accel-Buffering. */
async function bufferingProxy(target: string, isObedient: boolean): Promise<string> {
  const proxy = createServer((incoming, outgoing) => {
    const passed = sendRequest(target, { headers: incoming.headers }, (answer) => {
      const isBuffered = !isObedient || answer.headers['x-accel-buffering'] !== 'no'
      outgoing.writeHead(answer.statusCode!, answer.headers)
      outgoing.flushHeaders()
      const held: Buffer[] = []
      answer.on('data', (chunk: Buffer) => (isBuffered ? held.push(chunk) : outgoing.write(chunk)))
      answer.on('end', () => outgoing.end(Buffer.concat(held)))
      answer.on('error', () => outgoing.destroy())
    })
    passed.on('error', () => outgoing.destroy())
    outgoing.on('close', () => passed.destroy())
    passed.end()
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

test('events are live behind a proxy that buffers unless it is told not to', async () => {
  const { store, answer } = setUp()
  const client = await connect(await bufferingProxy(await serve(answer), true))
  for (const n of range(0, 5)) {
    await append(store, said(n))
    await client.until(({ messages }) => messages.length === n + 1)
  }
})

test('behind a proxy that buffers whatever it is told, nothing is lost, and endAfter bounds the delay', async () => {
  const { store, answer } = setUp({ endAfter: 30 })
  const url = await bufferingProxy(await serve(answer), false)
  const seen: number[] = []
  let lastEventId = ''
  let n = 0
  while (seen.length < 6) {
    if (n < 6) await append(store, said(n++))
    const client = await connect(url, lastEventId)
    await client.ended
    seen.push(...numbers(client))
    lastEventId = client.lastEventId
  }
  expect(seen).toEqual(range(0, 6))
})

test('bad options are refused with a 500 that is told', async () => {
  const { http, errors, store } = setUp()
  const request = new Request('http://shop/')
  const route = { subscribe: () => store.subscribe(), message: () => undefined }
  expect((await http.events(request, { ...route, heartbeat: 0 })).status).toBe(500)
  expect((await http.events(request, { ...route, endAfter: 30 * 86_400_000 })).status).toBe(500)
  expect((await http.events(request, { ...route, beat: 1 } as never)).status).toBe(500)
  expect(errors.map((error) => (error as Error).message)).toEqual([
    'heartbeat must be whole milliseconds, from 1 to 2147483647',
    'endAfter must be whole milliseconds, from 1 to 2147483647',
    "unknown option 'route.beat'; known options: subscribe, message, heartbeat, endAfter, headers",
  ])
})
