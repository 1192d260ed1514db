import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { ofType } from 'mneme'
import { HttpError, httpAnswers } from 'mneme/http'
import { expect, onTestFinished, test } from 'vitest'
import { serveFastify } from '../../examples/shop/fastify.ts'
import { serveHono } from '../../examples/shop/hono.ts'
import { serve } from './node-server.ts'

/** Answers with the body that it has read, up to 1,000 bytes. */
async function echo(request: Request): Promise<Response> {
  const http = httpAnswers({ maxBodyBytes: 1_000 })
  return http.command(request, {
    principal: null,
    body: ofType<unknown>(),
    execute: () => Promise.resolve({ ok: true as const, revisions: new Map<string, number>() }),
    rejections: {},
    answer: (_result, { body }) => ({ body: { body } }),
  })
}

const post = (body: string | Uint8Array<ArrayBuffer> | null, headers: Record<string, string> = {}) =>
  echo(
    new Request('http://shop/', {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/json', ...headers },
    }),
  )
const codeOf = async (response: Response) => [
  response.status,
  ((await response.json()) as { code: string }).code,
]

/** The status line and the body that a server answers to what is written by hand. */
async function raw(
  url: string,
  text: string,
  more?: (write: (chunk: string) => boolean) => void,
): Promise<string> {
  const socket = connectSocket(Number(new URL(url).port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => undefined)
  let answer = ''
  socket.on('data', (chunk) => (answer += String(chunk)))
  socket.write(text)
  more?.((chunk) => socket.write(chunk))
  await once(socket, 'close')
  return answer
}

test('a body of JSON is read, whatever its parts', async () => {
  const text = JSON.stringify({ name: 'Zoë 🖊', list: [1, null] })
  for (const type of [
    'application/json',
    'Application/JSON; charset=UTF-8',
    'application/vnd.shop+json;charset="utf-8"',
  ]) {
    const response = await post(text, { 'Content-Type': type })
    expect(await response.json()).toEqual({ body: JSON.parse(text) as unknown })
  }
  const bytes = new TextEncoder().encode(text)
  const byteByByte = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })
  const request = new Request('http://shop/', {
    ...{ method: 'POST', body: byteByByte, duplex: 'half', headers: { 'Content-Type': 'application/json' } },
  })
  expect(await (await echo(request)).json()).toEqual({ body: JSON.parse(text) as unknown })
})

test('a body of another media type, or encoded, is 415', async () => {
  for (const headers of [
    { 'Content-Type': 'text/plain' },
    { 'Content-Type': 'application/x-www-form-urlencoded' },
    { 'Content-Type': 'application/jsonp' },
    { 'Content-Type': 'application/json; charset=iso-8859-1' },
    { 'Content-Encoding': 'gzip' },
  ]) {
    const response = await post('{}', headers)
    expect(await codeOf(response), JSON.stringify(headers)).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE'])
  }
  expect((await post('{}', { 'Content-Type': 'text/plain' })).headers.get('Accept')).toBe('application/json')
  const untyped = await echo(
    new Request('http://shop/', { method: 'POST', body: new Uint8Array([123, 125]) }),
  )
  expect(untyped.status).toBe(415)
})

test('what is not JSON in UTF-8 is 400', async () => {
  for (const body of ['{', '', '{"a":1}}', 'NaN', new Uint8Array([0x22, 0xff, 0x22])]) {
    expect(await codeOf(await post(body))).toEqual([400, 'INVALID_JSON'])
  }
  expect(await codeOf(await post(null))).toEqual([400, 'INVALID_JSON'])
})

test('a body at the limit is read; one above it is 413', async () => {
  expect((await post(JSON.stringify('x'.repeat(998)))).status).toBe(200)
  expect(await codeOf(await post(JSON.stringify('x'.repeat(999))))).toEqual([413, 'BODY_TOO_LARGE'])
})

test('a length above the limit is refused before a byte of the body has come', async () => {
  const url = await serve(echo)
  const headers = 'Host: shop\r\nContent-Type: application/json\r\n'
  const answer = await raw(url, `POST / HTTP/1.1\r\n${headers}Content-Length: 10000000000\r\n\r\n`)
  expect(answer).toContain('HTTP/1.1 413 ')
  expect(answer).toContain('BODY_TOO_LARGE')
  expect(answer.toLowerCase()).toContain('connection: close')
})

test('a body without a length is refused when it has passed the limit, though it never ends', async () => {
  const url = await serve(echo)
  const headers = 'Host: shop\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n'
  const answer = await raw(url, `POST / HTTP/1.1\r\n${headers}\r\n`, (write) => {
    write(`7d0\r\n"${'x'.repeat(1_999)}\r\n`)
  })
  expect(answer).toContain('HTTP/1.1 413 ')
  expect(answer).toContain('BODY_TOO_LARGE')
})

test('a body that was read before is a mistake of the program', async () => {
  const errors: unknown[] = []
  const http = httpAnswers({ onError: (error) => void errors.push(error) })
  const request = new Request('http://shop/', { method: 'POST', body: '{}' })
  await request.text()
  const response = await http.command(request, {
    principal: null,
    body: ofType<object>(),
    execute: () => Promise.reject(new Error('not called')),
    rejections: {},
  })
  expect(response.status).toBe(500)
  expect(String(errors[0])).toContain('the body of the request was read before')
})

/** Ways to serve a handler; each resolves with a port. */
const servers = {
  'node:http': async (answer: (request: Request) => Promise<Response>) =>
    Number(new URL(await serve(answer)).port),
  Hono: async (answer: (request: Request) => Promise<Response>) => {
    const { port, close } = await serveHono([{ method: 'POST', path: '/', answer }], 0)
    onTestFinished(close)
    return port
  },
  Fastify: async (answer: (request: Request) => Promise<Response>) => {
    const { port, close } = await serveFastify([{ method: 'POST', path: '/', answer }], 0)
    onTestFinished(close)
    return port
  },
}

test.each(Object.entries(servers))(
  'a client that goes away in the middle of its body is 499, and no error of the service, under %s',
  async (_, start) => {
    const errors: unknown[] = []
    let settle: (response: Response) => void = () => undefined
    const answered = new Promise<Response>((resolve) => (settle = resolve))
    const http = httpAnswers({ onError: (error) => void errors.push(error) })
    let isReading: () => void = () => undefined
    const reading = new Promise<void>((resolve) => (isReading = resolve))
    const port = await start(async (request) => {
      isReading()
      const response = await http.command(request, {
        principal: null,
        body: ofType<object>(),
        execute: () => Promise.reject(new Error('not called')),
        rejections: {},
      })
      settle(response.clone())
      return response
    })
    const socket = connectSocket(port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => undefined)
    socket.write(
      'POST / HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":',
    )
    await reading
    socket.destroy()
    expect((await answered).status).toBe(499)
    expect(errors).toEqual([])
  },
)

/** The answer to a request whose body throws when it is read. */
function echoUnreadable(error: Error): Promise<Response> {
  const body = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(error) })
  const headers = { 'Content-Type': 'application/json' }
  return echo(new Request('http://shop/', { method: 'POST', body, headers, duplex: 'half' }))
}

test('a body that cannot be read to its end although its client is there is 400', async () => {
  const answer = await echoUnreadable(new Error('a broken encoding'))
  expect(await codeOf(answer)).toEqual([400, 'BODY_INCOMPLETE'])
})

test('what a body throws as an HttpError is answered as such', async () => {
  const answer = await echoUnreadable(new HttpError(413, { code: 'BODY_TOO_LARGE' }))
  expect(await codeOf(answer)).toEqual([413, 'BODY_TOO_LARGE'])
})
