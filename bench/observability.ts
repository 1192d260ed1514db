import { context, SpanKind, trace, type Tracer } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor, InMemorySpanExporter } from '@opentelemetry/sdk-trace-base'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AppendOptions, EventStore } from 'mneme'
import { mnemeInstrumentation } from 'mneme/opentelemetry'
import { sqliteStore } from 'mneme/sqlite'

import { WatchedCalls } from '../src/base/diagnostics.ts'
import { environment } from '../src/base/environment.ts'
import { compare, median, seconds, type Figure } from './measure.ts'
import { appendAlone } from './work.ts'

const APPENDS = 500
/** Many short runs: what else the machine does meanwhile then hits few of them. */
const SHORT_RUN_APPENDS = 100
const SHORT_RUNS = 100
const CHECKS = 1_000_000

/** What it costs to be watched, and not to be, on SQLite with synchronous=FULL. */
export async function* observabilityFigures(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const store = await sqliteStore(join(folder, 'mneme.db'))
  let run = 0
  const append = (to: Pick<EventStore, 'append'>, count = APPENDS) =>
    seconds(() => appendAlone(to, `Alone-${String(run++)}`, count))
  try {
    yield await unwatched(() => append(store))
    yield await throughSeam(() => append(store))
    const { instrumentation, exporter, tracer } = instrumented()
    yield await compare({
      name: 'append alone, within a bare span of the SDK: what no instrumentation can save',
      to: 'the same without',
      operations: [SHORT_RUN_APPENDS, SHORT_RUN_APPENDS],
      ours: async () => {
        const taken = await append(spanned(store, tracer), SHORT_RUN_APPENDS)
        exporter.reset()
        return taken
      },
      theirs: () => append(store, SHORT_RUN_APPENDS),
      runs: SHORT_RUNS,
    })
    yield await compare({
      name: 'append alone, with spans and metrics of OpenTelemetry',
      to: 'the same without',
      goal: 0.87, // 15 % more time
      operations: [SHORT_RUN_APPENDS, SHORT_RUN_APPENDS],
      ours: async () => {
        instrumentation.enable()
        const taken = await append(store, SHORT_RUN_APPENDS)
        instrumentation.disable()
        exporter.reset()
        return taken
      },
      theirs: () => append(store, SHORT_RUN_APPENDS),
      runs: SHORT_RUNS,
    })
  } finally {
    await store.close()
    await rm(folder, { recursive: true })
  }
}

/** The question whether anything subscribes, as a share of an append. */
async function unwatched(append: () => Promise<number>): Promise<Figure> {
  const calls = new WatchedCalls('mneme.bench')
  let made = 0
  const call = (): void => {
    made++
  }
  const check = () => {
    for (let i = 0; i < CHECKS; i++) if (!calls.isWatched) call()
  }
  check()
  const [questions, appends]: [number[], number[]] = [[], []]
  for (let i = 0; i < 5; i++) {
    questions.push((await seconds(check)) / CHECKS)
    appends.push((await append()) / APPENDS)
  }
  const share = median(questions) / median(appends)
  const detail = `${(median(questions) * 1e9).toFixed(0)} ns of ${(median(appends) * 1e6).toFixed(0)} µs`
  return {
    name: 'append alone, without a subscriber: the share of the question whether there is one',
    value: `${(share * 100).toFixed(3)} %  (${detail}; ${String(made)} calls)`,
    goal: '<= 1 %',
    reached: share <= 0.01,
  }
}

/** What an append asks of the environment, which a simulation can replace, against asking the computer directly. */
async function throughSeam(append: () => Promise<number>): Promise<Figure> {
  let sum = 0
  const seam = () => {
    for (let i = 0; i < CHECKS; i++) sum += environment.now() + environment.now() + environment.date()
  }
  const direct = () => {
    for (let i = 0; i < CHECKS; i++) sum += performance.now() + performance.now() + Date.now()
  }
  for (const warmUp of [seam, direct]) warmUp()
  const [more, appends]: [number[], number[]] = [[], []]
  for (let i = 0; i < 9; i++) {
    const before = await seconds(direct)
    more.push(((await seconds(seam)) - before) / CHECKS)
    appends.push((await append()) / APPENDS)
  }
  const share = median(more) / median(appends)
  const detail = `${(median(more) * 1e9).toFixed(0)} ns of ${(median(appends) * 1e6).toFixed(0)} µs`
  return {
    name: 'append alone: the share of reading the clock and the date through the seam of simulations',
    value: `${(share * 100).toFixed(3)} %  (${detail}; ${sum > 0 ? 'read' : 'not read'})`,
    goal: '<= 1 %',
    reached: share <= 0.01,
  }
}

/** The SDK as a program sets it up, with an exporter in memory. */
function instrumented() {
  const exporter = new InMemorySpanExporter()
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
  const instrumentation = mnemeInstrumentation({
    enabled: false,
    tracerProvider,
    meterProvider: new MeterProvider(),
  })
  return { instrumentation, exporter, tracer: tracerProvider.getTracer('bench') }
}

/** A store each of whose appends is made within an active span. */
function spanned(store: EventStore, tracer: Tracer): Pick<EventStore, 'append'> {
  return {
    append: async (writes: Parameters<EventStore['append']>[0], options?: AppendOptions) => {
      const span = tracer.startSpan('append', { kind: SpanKind.PRODUCER })
      try {
        const active = trace.setSpan(context.active(), span)
        return await context.with(active, () => store.append(writes, options))
      } finally {
        span.end()
      }
    },
  }
}
