import { context, type Attributes } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { onTestFinished } from 'vitest'

/** OpenTelemetry's real SDK, which keeps in memory what it is told. */
export function sdk(config: { readonly sampler?: Sampler } = {}) {
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({
    ...config,
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({
    exporter: metricExporter,
    exportIntervalMillis: 600_000,
  })
  const meterProvider = new MeterProvider({ readers: [reader] })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  onTestFinished(async () => {
    context.disable()
    await tracerProvider.shutdown()
    await meterProvider.shutdown()
  })
  return {
    tracerProvider,
    meterProvider,
    tracer: tracerProvider.getTracer('test'),
    /** The spans that have ended, in the order of their ends. */
    spans: (): readonly ReadableSpan[] => exporter.getFinishedSpans(),
    /** What was measured by now: for each metric its values, with their attributes. */
    measured: async (): Promise<Record<string, { attributes: Attributes; value: unknown }[]>> => {
      metricExporter.reset()
      await meterProvider.forceFlush()
      const metrics = metricExporter
        .getMetrics()
        .at(-1)!
        .scopeMetrics.flatMap((scope) => scope.metrics)
      return Object.fromEntries(
        metrics.map(({ descriptor, dataPoints }) => [
          descriptor.name,
          dataPoints.map(({ attributes, value }) => ({
            attributes,
            // Of a histogram, how many values it has, and their sum.
            value: typeof value === 'number' ? value : [value.count, value.sum],
          })),
        ]),
      )
    },
  }
}
