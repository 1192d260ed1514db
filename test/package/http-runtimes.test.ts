import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { rolldown } from 'rolldown'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { connect } from '../http/sse-client.ts'
import { runtimes, runtimesProblem } from '../support/runtimes/index.ts'

let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mneme-http-'))
  const bundle = await rolldown({
    input: resolve(import.meta.dirname, '../support/runtimes/http.ts'),
    platform: 'node',
    external: [/^node:/, 'better-sqlite3', 'pg', '@kurrent/kurrentdb-client'],
    resolve: { conditionNames: ['mneme:source', 'node', 'import'] },
  })
  await bundle.write({ file: join(folder, 'http.mjs'), codeSplitting: false })
  await bundle.close()
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe.skipIf(runtimesProblem).each(['Bun', 'Deno'] as const)('HTTP on %s', (name) => {
  test('commands, states and events are answered', async () => {
    const [program, ...args] = runtimes[name]
    const child = spawn(program, [...args, 'http.mjs'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const url = `http://127.0.0.1:${line.slice('port '.length)}`
    // Not killed: the package of Deno starts the runtime as a process of its own.
    onTestFinished(async () => {
      await fetch(`${url}/end`).catch(() => undefined)
      await ended
    })
    const put = (order: string, body: string, headers: Record<string, string> = {}) =>
      fetch(`${url}/orders/${order}`, {
        ...{ method: 'PUT', body, headers: { 'Content-Type': 'application/json', ...headers } },
      })
    const pen = JSON.stringify({ article: 'pen', quantity: 2 })

    const created = await put('1', pen, { 'If-None-Match': '*', 'Idempotency-Key': 'k' })
    expect([created.status, created.headers.get('ETag')]).toEqual([201, '"0"'])
    expect((await put('1', pen, { 'If-None-Match': '*', 'Idempotency-Key': 'k' })).status).toBe(201)
    expect((await put('1', pen, { 'If-None-Match': '*' })).status).toBe(412)
    const refused = await put('1', pen)
    expect([refused.status, ((await refused.json()) as { reason: string }).reason]).toEqual([
      409,
      'exists-already',
    ])
    expect((await put('2', '{')).status).toBe(400)
    expect((await put('2', JSON.stringify('x'.repeat(20_000)))).status).toBe(413)
    expect((await fetch(`${url}/orders/1`, { headers: { 'If-None-Match': '"0"' } })).status).toBe(304)

    const gone = new AbortController()
    const client = await connect(`${url}/events`, '', gone.signal)
    await client.until(({ messages, comments }) => messages.length === 1 && comments > 2)
    await put('2', pen)
    await client.until(({ messages }) => messages.length === 2)
    const resumed = await connect(`${url}/events`, client.messages[0]!.id, gone.signal)
    await resumed.until(({ messages }) => messages.length === 1)
    expect(resumed.messages).toEqual(client.messages.slice(1))
    const lost = await fetch(`${url}/events`, { headers: { 'Last-Event-ID': `${client.lastEventId}0` } })
    expect(lost.status).toBe(410)

    gone.abort()
    while ((await (await fetch(`${url}/open`)).text()) !== '0') {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })
})
