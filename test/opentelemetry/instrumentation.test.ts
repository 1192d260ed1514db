import { context, diag, type DiagLogger, SpanStatusCode, trace } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { AlwaysOffSampler } from '@opentelemetry/sdk-trace-base'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineAggregate, defineCommand, event, execute, load, reject, tryExecute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { linksTo, mnemeInstrumentation, observeProjections } from 'mneme/opentelemetry'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteTarget } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { BankAccount, Deposited, Opened } from '../support/bank.ts'
import { sdk } from './sdk.ts'

const deposit = defineCommand({
  name: 'deposit',
  reads: ({ account }: { account: string; amount: number }) => BankAccount(account),
  handle: (_, { amount }) => {
    if (amount === 0) return reject('nothing')
    if (amount < 0) throw new RangeError('less than nothing')
    return Deposited({ amount })
  },
})

/** The SDK, with Mneme's instrumentation. */
function instrumented(config: { traceparent?: boolean } = {}) {
  const real = sdk()
  const instrumentation = mnemeInstrumentation({ ...config, ...real })
  onTestFinished(() => instrumentation.disable())
  return { ...real, instrumentation }
}

/** The metrics that the documentation lists. */
function documented(): string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs/observability.md'), 'utf8')
  const [, metrics = ''] = text.split('## OpenTelemetry')
  return [...metrics.matchAll(/^\| `(mneme\.[^`]+)` /gm)].map(([, name]) => name!)
}

const silent = Object.fromEntries(
  ['verbose', 'debug', 'info', 'warn', 'error'].map((level) => [level, () => undefined]),
) as unknown as DiagLogger

const idOf = (span: { spanContext(): { traceId: string; spanId: string } }) => {
  const { traceId, spanId } = span.spanContext()
  return `00-${traceId}-${spanId}-01`
}

test('a command is a span in its caller’s trace, its append is a child, and what handle traces is a child, too', async () => {
  const { spans, tracer } = instrumented()
  const store = memoryStore()
  const traced = defineCommand({
    name: 'traced',
    reads: () => BankAccount('a'),
    handle: () => {
      tracer.startSpan('thinking').end()
      return Deposited({ amount: 1 })
    },
  })
  const request = tracer.startSpan('request')
  await context.with(trace.setSpan(context.active(), request), () => execute(store, traced()))
  request.end()
  const [thinking, append, executed] = spans()
  expect(executed).toMatchObject({
    name: 'execute traced',
    attributes: {
      'mneme.command': 'traced',
      'mneme.category': 'BankAccount',
      'mneme.streams': 'BankAccount-a',
      'mneme.outcome': 'ok',
      'mneme.attempts': 1,
      'mneme.events': 1,
    },
    parentSpanContext: { spanId: request.spanContext().spanId },
    status: { code: SpanStatusCode.UNSET },
  })
  const parent = { parentSpanContext: { spanId: executed!.spanContext().spanId } }
  expect(thinking).toMatchObject({ name: 'thinking', ...parent })
  expect(append).toMatchObject({ name: 'append BankAccount', ...parent, attributes: { 'mneme.commands': 1 } })
  await store.close()
})

test('a rejection is no error; an error of handle is one, with its type', async () => {
  const { spans } = instrumented()
  const store = memoryStore()
  await tryExecute(store, deposit({ account: 'a', amount: 0 }))
  await execute(store, deposit({ account: 'a', amount: -1 })).catch(() => undefined)
  const [rejected, failed] = spans().filter(({ name }) => name === 'execute deposit')
  expect(rejected).toMatchObject({
    attributes: { 'mneme.outcome': 'rejected', 'mneme.reason': 'nothing' },
    status: { code: SpanStatusCode.UNSET },
  })
  expect(failed).toMatchObject({
    attributes: { 'mneme.outcome': 'error', 'error.type': 'RangeError' },
    status: { code: SpanStatusCode.ERROR, message: 'less than nothing' },
    events: [{ name: 'exception' }],
  })
  await store.close()
})

test('events carry the traceparent of the span that produced them, unless the caller gave one', async () => {
  const { spans } = instrumented()
  const store = memoryStore()
  const metadata = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }
  await execute(store, deposit({ account: 'a', amount: 1 }), { metadata: { actor: 'ann' } })
  await store.append({ stream: BankAccount('a'), events: [Deposited({ amount: 2 })] })
  await store.append({ stream: BankAccount('a'), events: [Deposited({ amount: 3 })] }, { metadata })
  const stored = []
  for await (const event of store.read(BankAccount('a'))) stored.push(event)
  const [, executed, appended] = spans()
  expect(stored.map((event) => event.metadata)).toEqual([
    { actor: 'ann', traceparent: idOf(executed!) },
    { traceparent: idOf(appended!) },
    metadata,
  ])
  expect(linksTo(...stored, stored[0]!)).toMatchObject([
    { context: { spanId: executed!.spanContext().spanId, traceFlags: 1, isRemote: true } },
    { context: { spanId: appended!.spanContext().spanId } },
    { context: { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) } },
  ])
  await store.close()
})

test.each([
  ['none', undefined],
  ['not text', 7],
  ['too short', '00-1-2-01'],
  ['of zeros', `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`],
  ['of the version that is forbidden', `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`],
  ['in capitals', `00-${'A'.repeat(32)}-${'b'.repeat(16)}-01`],
])('a traceparent that is %s gives no link', (_, traceparent) => {
  expect(linksTo({ metadata: { traceparent } })).toEqual([])
})

test('with traceparent: false, and without a tracer provider, metadata stays as it was', async () => {
  const { instrumentation } = instrumented({ traceparent: false })
  const store = memoryStore()
  const once = async () => {
    const { events } = await execute(store, deposit({ account: 'a', amount: 1 }))
    return events[0]?.metadata
  }
  expect(await once()).toEqual({})
  instrumentation.disable()
  const bare = mnemeInstrumentation()
  expect(await once()).toEqual({})
  bare.disable()
  await store.close()
})

test('the span of a projection’s batch has no parent, is linked to the producers’ spans, and holds what handlers trace', async () => {
  const { spans, tracer } = instrumented()
  const store = memoryStore()
  const target = sqliteTarget(':memory:')
  const projection = defineProjection({
    name: 'balances',
    into: target,
    from: [BankAccount],
    retry: { maxRetries: 1, baseDelay: 1, minDelay: 1 },
    onError: 'park',
    on: {
      'BankAccount.Deposited': ({ data }) => {
        tracer.startSpan('handling').end()
        if (data.amount === 13) throw new RangeError('unlucky')
      },
    },
  })
  await execute(store, deposit({ account: 'a', amount: 1 }))
  await execute(store, deposit({ account: 'b', amount: 2 }))
  const producers = spans().filter(({ name }) => name === 'execute deposit')
  const request = tracer.startSpan('start-up')
  const running = await context.with(trace.setSpan(context.active(), request), () =>
    runProjections(store, [projection]),
  )
  await running.caughtUp()
  const [batch] = spans().filter(({ name }) => name === 'project balances')
  expect(batch).toMatchObject({
    attributes: { 'mneme.projection': 'balances', 'mneme.outcome': 'ok', 'mneme.events': 2 },
    links: producers.map((span) => ({ context: { spanId: span.spanContext().spanId } })),
  })
  expect(batch!.parentSpanContext).toBeUndefined()
  const handling = spans().filter(({ name }) => name === 'handling')
  expect(new Set(handling.map((span) => span.parentSpanContext?.spanId))).toEqual(
    new Set([batch!.spanContext().spanId]),
  )
  await execute(store, deposit({ account: 'b', amount: 13 }))
  await running.caughtUp()
  await running.stop()
  const failed = spans().filter(({ attributes }) => attributes['mneme.outcome'] === 'failed')
  expect(failed).toHaveLength(2)
  expect(failed[0]).toMatchObject({
    attributes: { 'error.type': 'RangeError' },
    status: { message: 'unlucky' },
  })
  await store.close()
  await target.close()
})

test('snapshots are counted by what became of them', async () => {
  const { measured } = instrumented()
  const Door = defineAggregate({
    name: 'Door',
    events: { Opened: event() },
    initial: () => ({ times: 0 }),
    apply: { Opened: ({ times }) => ({ times: times + 1 }) },
    snapshot: { version: 1, every: 2 },
  })
  const store = memoryStore()
  await store.append({ stream: Door('secret-name'), events: [Door.events.Opened(), Door.events.Opened()] })
  await load(store, Door('secret-name'))
  await store.close()
  const metrics = await measured()
  expect(metrics['mneme.snapshots']).toEqual([
    {
      attributes: { 'mneme.category': 'Door', 'mneme.action': 'read', 'mneme.outcome': 'missing' },
      value: 1,
    },
    {
      attributes: { 'mneme.category': 'Door', 'mneme.action': 'write', 'mneme.outcome': 'written' },
      value: 1,
    },
  ])
  expect(documented()).toEqual(expect.arrayContaining(Object.keys(metrics)))
})

test('metrics know commands, categories and outcomes, and never the name of a stream', async () => {
  const { measured } = instrumented()
  const store = memoryStore()
  await store.append({ stream: BankAccount('secret-name'), events: [Opened({ owner: 'Ann' })] })
  for (const amount of [1, 2, 0]) await tryExecute(store, deposit({ account: 'secret-name', amount }))
  await execute(store, deposit({ account: 'secret-name', amount: -1 })).catch(() => undefined)
  await execute(store, deposit({ account: 'secret-name', amount: 1 }), { key: 'k' })
  await execute(store, deposit({ account: 'secret-name', amount: 1 }), { key: 'k' })
  const metrics = await measured()
  const own = { 'mneme.command': 'deposit', 'mneme.category': 'BankAccount' }
  const counts = metrics['mneme.execute.duration']!.map(({ attributes, value }) => [
    attributes,
    (value as [number, number])[0],
  ])
  expect(counts).toEqual([
    [{ ...own, 'mneme.outcome': 'ok' }, 3],
    [{ ...own, 'mneme.outcome': 'rejected' }, 1],
    [{ ...own, 'mneme.outcome': 'error', 'error.type': 'RangeError' }, 1],
    [{ ...own, 'mneme.outcome': 'repeated' }, 1],
  ])
  expect(metrics['mneme.cache.lookups']).toEqual([
    { attributes: { ...own, 'mneme.cached': false }, value: 1 },
    { attributes: { ...own, 'mneme.cached': true }, value: 5 },
  ])
  expect(metrics['mneme.append.events']).toEqual([
    { attributes: { 'mneme.category': 'BankAccount' }, value: [6, 4] },
  ])
  expect(metrics['mneme.pending']).toEqual([{ attributes: {}, value: 0 }])
  expect(JSON.stringify(metrics)).not.toContain('secret')
  expect(documented()).toEqual(expect.arrayContaining(Object.keys(metrics)))
  await store.close()
})

test('the lag of projections, their blocks and parked events are measured when metrics are collected', async () => {
  const { measured, meterProvider } = instrumented()
  const store = memoryStore()
  const target = sqliteTarget(':memory:')
  const projection = defineProjection({
    name: 'broken',
    into: target,
    from: [BankAccount],
    retry: { maxRetries: 0 },
    on: {
      'BankAccount.Deposited': () => {
        throw new Error('broken')
      },
    },
  })
  await store.append({ stream: BankAccount('a'), events: [1, 2].map((amount) => Deposited({ amount })) })
  const running = await runProjections(store, [projection])
  const stop = observeProjections(running, { meterProvider, attributes: { region: 'eu' } })
  await running.caughtUp().catch(() => undefined)
  const metrics = await measured()
  const attributes = { 'mneme.projection': 'broken', region: 'eu' }
  expect(metrics['mneme.projection.lag.events']).toEqual([{ attributes, value: 2 }])
  expect(metrics['mneme.projection.blocked']).toEqual([{ attributes, value: 1 }])
  expect(metrics['mneme.projection.parked']).toEqual([{ attributes, value: 0 }])
  expect(metrics['mneme.projection.lag.time']).toMatchObject([{ attributes }])
  expect(metrics['mneme.projection.failures']).toMatchObject([
    {
      attributes: { 'mneme.projection': 'broken', 'mneme.outcome': 'blocked', 'error.type': 'Error' },
      value: 1,
    },
  ])
  expect(documented()).toEqual(expect.arrayContaining(Object.keys(metrics)))
  await running.stop()
  await store.close()
  await target.close()
  // Neither the store nor the target can be asked any more.
  await measured()
  stop()
})

test('it is an Instrumentation of OpenTelemetry: registered, enabled and disabled as others are', async () => {
  const { spans, tracerProvider, meterProvider } = sdk()
  const instrumentation = mnemeInstrumentation({ enabled: false })
  const store = memoryStore()
  await execute(store, deposit({ account: 'a', amount: 1 }))
  expect(spans()).toEqual([])
  const unload = registerInstrumentations({
    instrumentations: [instrumentation],
    tracerProvider,
    meterProvider,
  })
  await execute(store, deposit({ account: 'a', amount: 1 }))
  expect(spans().map(({ name }) => name)).toEqual(['append BankAccount', 'execute deposit'])
  unload()
  await execute(store, deposit({ account: 'a', amount: 1 }))
  expect(spans()).toHaveLength(2)
  await store.close()
})

test('the first of two instrumentations records, once, and the second says that it does not', async () => {
  const { spans, instrumentation, measured } = instrumented()
  const warnings: string[] = []
  diag.setLogger({ ...silent, warn: (text) => warnings.push(text) })
  onTestFinished(() => diag.disable())
  const second = mnemeInstrumentation()
  onTestFinished(() => second.disable())
  const store = memoryStore()
  await execute(store, deposit({ account: 'a', amount: 1 }))
  expect(spans().map(({ name }) => name)).toEqual(['append BankAccount', 'execute deposit'])
  expect((await measured())['mneme.append.events']).toMatchObject([{ value: [1, 1] }])
  expect(warnings).toEqual([expect.stringContaining('another mnemeInstrumentation records already')])
  instrumentation.disable()
  second.enable()
  second.disable()
  instrumentation.enable()
  await execute(store, deposit({ account: 'a', amount: 1 }))
  expect(spans()).toHaveLength(4)
  expect(warnings).toHaveLength(1)
  await store.close()
})

test('a span that is not sampled has its traceparent, is active in the call, and is not recorded', async () => {
  const { spans, tracerProvider, meterProvider } = sdk({ sampler: new AlwaysOffSampler() })
  const instrumentation = mnemeInstrumentation({ tracerProvider, meterProvider })
  onTestFinished(() => instrumentation.disable())
  const store = memoryStore()
  let active: string | undefined
  const look = defineCommand({
    reads: () => BankAccount('a'),
    handle: () => {
      active = trace.getActiveSpan()?.spanContext().spanId
      return Deposited({ amount: 1 })
    },
  })
  const { events } = await execute(store, look())
  expect(events[0]?.metadata.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  expect(events[0]?.metadata.traceparent).toContain(active)
  expect(spans()).toEqual([])
  await store.close()
})

test('the instrumentation has the version of the package', () => {
  const manifest = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  expect(mnemeInstrumentation({ enabled: false }).instrumentationVersion).toBe(version)
})
