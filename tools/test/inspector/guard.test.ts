import { memoryStore } from 'mneme/memory'
import { describe, expect, onTestFinished, test } from 'vitest'

import type { Problem } from '../../src/inspector/api.ts'
import type { InspectorOptions } from '../../src/inspector/inspector.ts'
import { ask, callOf, inspect, ORIGIN } from './calls.ts'

function inspectorOf(options: Partial<InspectorOptions> = {}) {
  const store = memoryStore()
  const inspector = inspect({ store, ...options })
  onTestFinished(async () => {
    await inspector.close()
    await store.close()
  })
  return inspector
}

async function refusal(response: Promise<Response>) {
  const { status, body } = await response.then(async (answer) => ({
    status: answer.status,
    body: (await answer.json()) as Problem,
  }))
  return `${status} ${body.error.code}`
}

describe('a call', () => {
  test('is answered with the token, and with nothing less', async () => {
    const inspector = inspectorOf()
    expect(inspector.token).toMatch(/^[\w-]{43}$/)
    expect(await ask(inspector, 'about', {})).toMatchObject({ name: 'store', head: null, write: false })
    for (const Authorization of ['', 'Bearer', `Bearer ${'x'.repeat(43)}`, `Basic ${inspector.token}`]) {
      const call = callOf(inspector, 'about', {}, { Authorization })
      expect(await refusal(inspector.fetch(call)), Authorization).toBe('401 UNAUTHORIZED')
    }
  })

  test('is refused if another page sends it, also with the token', async () => {
    const inspector = inspectorOf()
    const foreign = [
      { Origin: 'https://evil.example' },
      { Origin: 'http://localhost:4712' },
      { Origin: 'null' },
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
    ]
    for (const headers of foreign) {
      const call = callOf(inspector, 'about', {}, headers)
      expect(await refusal(inspector.fetch(call)), JSON.stringify(headers)).toBe('403 FOREIGN_ORIGIN')
    }
  })

  test('is refused under the name of a host that is not known', async () => {
    const inspector = inspectorOf()
    const rebound = new Request('http://evil.example:4711/api/about', { method: 'POST' })
    expect(await refusal(inspector.fetch(rebound))).toBe('421 UNKNOWN_HOST')
    const mounted = inspectorOf({ hosts: ['Admin.example'], authorize: () => true })
    const page = await mounted.fetch(new Request('https://admin.example/'))
    expect(page.status).toBe(200)
    expect(await refusal(mounted.fetch(new Request(`${ORIGIN}/`)))).toBe('421 UNKNOWN_HOST')
  })

  test('is refused as a form or a link can send it', async () => {
    const inspector = inspectorOf()
    const asText = callOf(inspector, 'about', {}, { 'Content-Type': 'text/plain' })
    expect(await refusal(inspector.fetch(asText))).toBe('415 NOT_JSON')
    const asGet = new Request(`${ORIGIN}/api/about`, { headers: { 'Sec-Fetch-Mode': 'navigate' } })
    expect(await refusal(inspector.fetch(asGet))).toBe('405 METHOD_NOT_ALLOWED')
    const preflight = new Request(`${ORIGIN}/api/about`, {
      method: 'OPTIONS',
      headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' },
    })
    expect(await refusal(inspector.fetch(preflight))).toBe('403 FOREIGN_ORIGIN')
  })

  test('is refused if it is malformed, unknown or too large', async () => {
    const inspector = inspectorOf()
    expect(await refusal(inspector.fetch(callOf(inspector, 'about', 'text')))).toBe('400 NOT_JSON')
    expect(await refusal(inspector.fetch(callOf(inspector, 'about', [])))).toBe('400 NOT_JSON')
    expect(await refusal(inspector.fetch(callOf(inspector, 'nothing', {})))).toBe('404 NOT_FOUND')
    expect(await refusal(inspector.fetch(callOf(inspector, 'constructor', {})))).toBe('404 NOT_FOUND')
    expect(await refusal(inspector.fetch(callOf(inspector, 'stream', { stream: 5 })))).toBe(
      '400 INVALID_CALL',
    )
    expect(await refusal(inspector.fetch(callOf(inspector, 'stream', { stream: '$all' })))).toBe(
      '400 INVALID_ARGUMENT',
    )
    const large = callOf(inspector, 'stream', { stream: 'x'.repeat(6_000_000) })
    expect(await refusal(inspector.fetch(large))).toBe('413 TOO_LARGE')
  })
})

test("the program's own guard decides, for the page as well", async () => {
  const inspector = inspectorOf({ authorize: ({ headers }) => headers.get('Cookie') === 'user=ann' })
  expect(inspector.token).toBeUndefined()
  expect(await refusal(inspector.fetch(callOf(inspector, 'about', {})))).toBe('401 UNAUTHORIZED')
  expect(await refusal(inspector.fetch(new Request(`${ORIGIN}/`)))).toBe('401 UNAUTHORIZED')
  const headers = { Cookie: 'user=ann' }
  expect((await inspector.fetch(callOf(inspector, 'about', {}, headers))).status).toBe(200)
  expect((await inspector.fetch(new Request(`${ORIGIN}/`, { headers }))).status).toBe(200)
})

test('a guard that throws lets nobody through', async () => {
  const inspector = inspectorOf({
    authorize: () => {
      throw new Error('no session store')
    },
  })
  expect((await inspector.fetch(callOf(inspector, 'about', {}))).status).toBe(500)
})

test('the page is served below a base path, to a link from elsewhere too, and holds nothing', async () => {
  const inspector = inspectorOf({ basePath: '/admin/history' })
  const bare = await inspector.fetch(new Request(`${ORIGIN}/admin/history`))
  expect([bare.status, bare.headers.get('Location')]).toEqual([308, '/admin/history/'])
  const link = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' }
  const page = await inspector.fetch(new Request(`${ORIGIN}/admin/history/`, { headers: link }))
  expect([page.status, await page.text()]).toEqual([200, '<!doctype html>'])
  const asScript = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' }
  const script = inspector.fetch(new Request(`${ORIGIN}/admin/history/`, { headers: asScript }))
  expect(await refusal(script)).toBe('403 FOREIGN_ORIGIN')
  expect((await inspector.fetch(new Request(`${ORIGIN}/admin/history/__proto__`))).status).toBe(404)
  expect((await inspector.fetch(new Request(`${ORIGIN}/`))).status).toBe(404)
})

test('every answer is kept by nobody, framed by nobody, and runs nothing that is not its own', async () => {
  const inspector = inspectorOf()
  const requests = [
    new Request(`${ORIGIN}/`),
    new Request(`${ORIGIN}/nothing`),
    new Request('http://evil.example/'),
    callOf(inspector, 'about', {}),
    callOf(inspector, 'about', {}, { Authorization: '' }),
  ]
  for (const request of requests) {
    const { headers } = await inspector.fetch(request)
    expect(headers.get('Cache-Control')).toBe('no-store')
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff')
    expect(headers.get('Referrer-Policy')).toBe('no-referrer')
    const policy = headers.get('Content-Security-Policy')!
    expect(policy).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(headers.has('Access-Control-Allow-Origin')).toBe(false)
    expect(headers.has('Set-Cookie')).toBe(false)
  }
})

test('options that are wrong say what is right', () => {
  const store = memoryStore()
  const mistakes: [Partial<InspectorOptions>, RegExp][] = [
    [{ token: 'short' }, /token has to be at least 32/],
    [{ basePath: 'admin' }, /basePath has to be a path/],
    [{ hosts: 'admin.example' as never }, /hosts has to be a list/],
    [{ authorize: true as never }, /authorize has to be a function/],
    [{ authorize: () => true, token: 'x'.repeat(32) }, /either a token or authorize/],
    [{ aggregates: [{} as never] }, /aggregates\[0\] has to be an aggregate/],
  ]
  for (const [options, message] of mistakes) expect(() => inspect({ store, ...options })).toThrow(message)
})

test('a closed inspector answers no call', async () => {
  const inspector = inspectorOf()
  await inspector.close()
  expect(await refusal(inspector.fetch(callOf(inspector, 'about', {})))).toBe('503 CLOSED')
})
