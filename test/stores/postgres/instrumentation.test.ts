import { postgresStore } from 'mneme/postgres'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import { startProxy } from '../../support/proxy.ts'
import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, until } from './database.ts'
import { serverProblem } from './server.ts'
import { Subscriber } from './subscriber.ts'

type Query = (this: pg.Client, ...args: unknown[]) => unknown

interface Span {
  readonly text: string
  ends: number
}

/**
 * Wraps the driver as @opentelemetry/instrumentation-pg (0.77) does: it begins a span for each `client.query()`, and
 * ends it by the callback if the last argument is one, or by the promise if there is one; else never.
 */
function trace(): Span[] {
  const spans: Span[] = []
  const prototype = pg.Client.prototype as { query: Query }
  const original = prototype.query
  onTestFinished(() => {
    prototype.query = original
  })
  prototype.query = function (...args) {
    const [config] = args
    const span: Span = {
      text: typeof config === 'string' ? config : (config as { text: string }).text,
      ends: 0,
    }
    spans.push(span)
    const end = () => {
      span.ends++
    }
    const callback = args.at(-1)
    if (typeof callback === 'function') {
      args[args.length - 1] = function (this: unknown, ...results: unknown[]) {
        end()
        return (callback as Query).apply(this as pg.Client, results)
      }
    }
    const result = original.apply(this, args)
    if (result instanceof Promise) result.then(end, end)
    return result
  }
  return spans
}

describe.skipIf(serverProblem)('a program that traces the driver', () => {
  test('each of our queries has a span, which is ended once: after success, an error, a time-out and a lost connection', async () => {
    const database = await testDatabase()
    const proxy = await startProxy(database.server.port)
    const spans = trace()
    const store = await postgresStore(
      { connectionString: proxy.url(database.url) },
      { statementTimeout: 500, busyTimeout: 100 },
    )
    const subscriber = new Subscriber(store)
    await store.append({ stream: 's', events: [happened()], expected: 'none' })
    await expect(store.append({ stream: 's', events: [happened()], expected: 'none' })).rejects.toThrow()
    await Promise.all([1, 2, 3].map((n) => store.append({ stream: `t-${n}`, events: [happened()] })))
    expect(await historyOf(store)).toHaveLength(4)
    await subscriber.has(4)
    const ours = ['append_one', '.append(', '.horizon()', 'LISTEN']
    await until(
      () => ours.every((text) => spans.some((span) => span.text.includes(text))),
      'there is a span for each kind of query',
    )
    await subscriber.stop()

    await database.query('ALTER TABLE mneme.events RENAME COLUMN data TO elsewhere')
    await expect(historyOf(store)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await database.query('ALTER TABLE mneme.events RENAME COLUMN elsewhere TO data')
    proxy.mute()
    await expect(store.head('s')).rejects.toMatchObject({ code: 'STORE_TIMEOUT' })
    proxy.cut()
    expect(await store.head('s')).toBe(0)
    proxy.mute()
    const appended = store.append({ stream: 's', events: [happened()] })
    await until(
      async () => (await database.query('SELECT FROM mneme.events')).length === 5,
      'it is committed',
    )
    proxy.cut()
    await appended
    await store.close()
    await until(() => spans.every(({ ends }) => ends > 0), 'no span is left open')
    expect(spans.filter(({ ends }) => ends !== 1)).toEqual([])
  })
})
