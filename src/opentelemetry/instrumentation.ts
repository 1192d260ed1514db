import {
  type Attributes,
  context,
  diag,
  metrics,
  type MeterProvider,
  type Span,
  SpanKind,
  type SpanOptions,
  trace,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { environment } from '../base/environment.ts'
import type { AppendMessage, CallMessage, ExecuteMessage, SnapshotMessage } from '../index.ts'
import type { ProjectionBatchMessage, ProjectionFailedMessage } from '../projections/index.ts'
import type { ReactionTimersMessage } from '../reactions/index.ts'
import { attributes, categoriesOf, errorType, fail } from './attributes.ts'
import { LabelCache } from './labels.ts'
import { linksToStored, traceparentOf } from './links.ts'
import { type Instruments, instrumentsOf } from './metrics.ts'
import { VERSION } from './version.ts'

/** Options of `mnemeInstrumentation`. */
export interface MnemeInstrumentationConfig {
  /** Whether it begins at once. Default: true. */
  readonly enabled?: boolean
  /**
   * Whether the metadata of events gets a `traceparent`, by which a consumer's span is linked to the producer's; one that
   * the caller gave is kept. Default: true.
   */
  readonly traceparent?: boolean
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Default: the global one. */
  readonly meterProvider?: MeterProvider | undefined
}

/**
 * Traces and measures all stores of the process. It has the shape of an `Instrumentation` of OpenTelemetry, for
 * `registerInstrumentations` and the `instrumentations` of `NodeSDK`.
 */
export interface MnemeInstrumentation {
  readonly instrumentationName: string
  readonly instrumentationVersion: string
  enable(): void
  disable(): void
  setTracerProvider(provider: TracerProvider): void
  setMeterProvider(provider: MeterProvider): void
  setConfig(config: MnemeInstrumentationConfig): void
  getConfig(): MnemeInstrumentationConfig
}

/**
 * Traces and measures all stores of the process, from now on: spans for commands, appends and the batches of
 * projections, and metrics. The spans of a batch are linked to those in which its events were produced.
 *
 * One instrumentation records at a time: while it is enabled, another one does nothing and says so by `diag.warn`.
 *
 * It subscribes to Mneme's diagnostics channels. A rejection is no error. Metrics know commands, categories, projections
 * and outcomes, and never names of streams; spans name the streams.
 *
 * @example
 * ```ts
 * const instrumentation = mnemeInstrumentation()
 * instrumentation.disable()
 * ```
 */
export function mnemeInstrumentation(config: MnemeInstrumentationConfig = {}): MnemeInstrumentation {
  return new Instrumentation(config)
}

class Instrumentation implements MnemeInstrumentation {
  readonly instrumentationName = 'mneme'
  readonly instrumentationVersion = VERSION
  #config: MnemeInstrumentationConfig
  #isEnabled = false
  #tracer: Tracer | undefined
  #meterProvider: MeterProvider | undefined
  #instruments: Instruments | undefined
  /** Under which a message keeps the span of its call: a WeakMap costs more than a short append. */
  readonly #key = Symbol('mneme.opentelemetry')
  readonly #labels = new LabelCache()
  readonly #listeners: Readonly<Record<string, (message: never) => void>> = {
    'tracing:mneme.execute:start': (message: ExecuteMessage) => {
      this.#executeStarts(message)
    },
    'tracing:mneme.execute:asyncEnd': (message: ExecuteMessage) => {
      this.#executeEnds(message)
    },
    'tracing:mneme.append:start': (message: AppendMessage) => {
      this.#appendStarts(message)
    },
    'tracing:mneme.append:asyncEnd': (message: AppendMessage) => {
      this.#appendEnds(message)
    },
    'tracing:mneme.projection.batch:start': (message: ProjectionBatchMessage) => {
      this.#batchStarts(message)
    },
    'tracing:mneme.projection.batch:asyncEnd': (message: ProjectionBatchMessage) => {
      this.#batchEnds(message)
    },
    'tracing:mneme.reaction.timers:start': (message: ReactionTimersMessage) => {
      const { reaction, timers } = message
      const attributes = { 'mneme.projection': reaction, 'mneme.timers': timers.length }
      this.#begin(message, `fire ${reaction}`, { kind: SpanKind.CONSUMER, root: true, attributes }, '')
    },
    'tracing:mneme.reaction.timers:asyncEnd': (message: ReactionTimersMessage) => {
      this.#timersEnd(message)
    },
    'mneme.snapshot': ({ action, stream, outcome, reason, error }: SnapshotMessage) => {
      const labels = {
        'mneme.category': categoriesOf([stream]),
        'mneme.action': action,
        'mneme.outcome': outcome,
        'mneme.reason': reason,
        'error.type': error === undefined ? undefined : errorType(error),
      }
      this.#measure().snapshots.add(1, attributes(labels))
    },
    'mneme.projection.failed': ({ projection, outcome, failure }: ProjectionFailedMessage) => {
      const type = failure.code ?? failure.name
      this.#measure().projectionFailures.add(1, {
        'mneme.projection': projection,
        'mneme.outcome': outcome,
        'error.type': type,
      })
    },
  }

  constructor(config: MnemeInstrumentationConfig) {
    this.#config = config
    this.#configure(config)
    if (config.enabled !== false) this.enable()
  }

  enable(): void {
    if (this.#isEnabled) return
    if (enabled.one !== undefined) {
      diag.warn(
        'mneme: another mnemeInstrumentation records already, so this one does not; disable that one first',
      )
      return
    }
    enabled.one = this
    this.#isEnabled = true
    for (const [name, listener] of Object.entries(this.#listeners)) subscribe(name, listener as Listener)
  }

  disable(): void {
    if (!this.#isEnabled) return
    this.#isEnabled = false
    enabled.one = undefined
    for (const [name, listener] of Object.entries(this.#listeners)) unsubscribe(name, listener as Listener)
  }

  setTracerProvider(provider: TracerProvider): void {
    this.#tracer = provider.getTracer(this.instrumentationName, this.instrumentationVersion)
  }

  setMeterProvider(provider: MeterProvider): void {
    this.#meterProvider = provider
    this.#instruments = undefined
  }

  setConfig(config: MnemeInstrumentationConfig): void {
    this.#config = config
    this.#configure(config)
  }

  getConfig(): MnemeInstrumentationConfig {
    return this.#config
  }

  #configure({ tracerProvider, meterProvider }: MnemeInstrumentationConfig): void {
    if (tracerProvider) this.setTracerProvider(tracerProvider)
    if (meterProvider) this.setMeterProvider(meterProvider)
  }

  /** Not before the first call: a global provider that is registered later would not be found. */
  #measure(): Instruments {
    const provider = this.#meterProvider ?? metrics.getMeterProvider()
    return (this.#instruments ??= instrumentsOf(
      provider.getMeter(this.instrumentationName, this.instrumentationVersion),
    ))
  }

  #tracing(): Tracer {
    return (this.#tracer ??= trace.getTracer(this.instrumentationName, this.instrumentationVersion))
  }

  #executeStarts(message: ExecuteMessage): void {
    const { command, streams, metadata } = message
    const category = categoriesOf(streams)
    const span = this.#begin(message, `execute ${command ?? category}`, EXECUTE, category)
    if (span.isRecording()) span.setAttributes(spanLabels(command, category, streams))
    this.#mark(metadata, span)
    this.#measure().pending.add(1)
  }

  #executeEnds(message: ExecuteMessage): void {
    const started = this.#startedOf(message)
    if (!started) return
    const { span, category } = started
    const { command, outcome = 'error', reason, attempts = 0, conflicts, events, isCached = false } = message
    const labels = this.#labels.of(command, category)
    const { executeDuration, executeAttempts, cacheLookups, pending } = this.#measure()
    pending.add(-1)
    executeDuration.record(secondsSince(started), labels.withOutcome(outcome, message.error))
    if (attempts > 0) {
      executeAttempts.record(attempts, labels.own)
      cacheLookups.add(1, isCached ? labels.cached : labels.uncached)
    }
    if (span.isRecording()) {
      span.setAttributes(
        attributes({
          'mneme.outcome': outcome,
          'mneme.reason': reason,
          'mneme.attempts': attempts,
          'mneme.conflicts': conflicts,
          'mneme.events': events,
          'mneme.cached': isCached,
        }),
      )
      if (outcome === 'error' || outcome === 'conflict') fail(span, message.error)
    }
    span.end()
  }

  #appendStarts(message: AppendMessage): void {
    const { streams, metadata } = message
    // Of `store.append`, the streams are known only once its arguments were checked.
    const category = categoriesOf(streams)
    const span = this.#begin(message, category === '' ? 'append' : `append ${category}`, APPEND, category)
    if (!metadata) return
    this.#mark(metadata, span)
    this.#measure().pending.add(1)
  }

  #appendEnds(message: AppendMessage): void {
    const started = this.#startedOf(message)
    if (!started) return
    const { span } = started
    const { streams, events, commands, outcome = 'error' } = message
    const category = started.category === '' ? categoriesOf(streams) : started.category
    const labels = this.#labels.of(undefined, category)
    const { appendDuration, appendEvents, appendCommands, pending } = this.#measure()
    appendDuration.record(secondsSince(started), labels.withOutcome(outcome, message.error))
    if (outcome === 'ok') appendEvents.record(events, labels.own)
    if (commands > 0) appendCommands.record(commands, labels.own)
    else pending.add(-1)
    if (span.isRecording()) {
      if (started.category !== category) span.updateName(`append ${category}`)
      span.setAttributes({
        'mneme.category': category,
        'mneme.commands': commands,
        'mneme.outcome': outcome,
        'mneme.events': events,
        'mneme.streams': namesOf(streams),
      })
      // For commands, a conflict is not the end: they are decided again.
      if (outcome === 'error' || (outcome === 'conflict' && commands === 0)) fail(span, message.error)
    }
    span.end()
  }

  #batchStarts(message: ProjectionBatchMessage): void {
    const { projection, kind, version, build, events } = message
    // Only the checkpoint moves.
    if (events.length === 0) return
    const options = {
      kind: SpanKind.CONSUMER,
      // It has no parent: the worker was started by something that is long over.
      root: true,
      links: linksToStored(events),
      attributes: { 'mneme.projection': projection, 'mneme.version': version, 'mneme.build': build },
    }
    this.#begin(message, `${VERBS[kind]} ${projection}`, options, '')
  }

  #batchEnds(message: ProjectionBatchMessage): void {
    const started = this.#startedOf(message)
    if (!started) return
    const { span } = started
    const { projection, handled = 0, position, outcome = 'failed', thrown } = message
    const own = { 'mneme.projection': projection }
    const { batchDuration, batchEvents } = this.#measure()
    const type = outcome === 'failed' ? { 'error.type': errorType(thrown) } : {}
    batchDuration.record(secondsSince(started), { ...own, 'mneme.outcome': outcome, ...type })
    if (outcome === 'ok') batchEvents.record(handled, own)
    if (span.isRecording()) {
      span.setAttributes(
        attributes({ 'mneme.outcome': outcome, 'mneme.events': handled, 'mneme.position': position }),
      )
      if (outcome === 'failed') fail(span, thrown)
    }
    span.end()
  }

  #timersEnd(message: ReactionTimersMessage): void {
    const started = this.#startedOf(message)
    if (!started) return
    const { outcome = 'failed', thrown } = message
    started.span.setAttributes({ 'mneme.outcome': outcome })
    if (outcome === 'failed') fail(started.span, thrown)
    started.span.end()
  }

  /** Starts the span of a call, which is the active one in the call. */
  #begin(message: CallMessage, name: string, options: SpanOptions, category: string): Span {
    const parent = context.active()
    const span = this.#tracing().startSpan(name, options, parent)
    ;(message as Keeping)[this.#key] = { span, category, at: environment.now() }
    const active = trace.setSpan(parent, span)
    const { within } = message
    message.within = (call) => context.with(active, within ? () => within(call) : call)
    return span
  }

  #startedOf(message: CallMessage): Started | undefined {
    return (message as Keeping)[this.#key]
  }

  /** Names the span in the metadata of the events to come. */
  #mark(metadata: Record<string, string | undefined>, span: Span): void {
    if (this.#config.traceparent === false) return
    const traceparent = traceparentOf(span)
    if (traceparent !== undefined) metadata.traceparent ??= traceparent
  }
}

/** The instrumentation that records; of all copies of the package in this process, which share the channels. */
const enabled = ((globalThis as unknown as Record<symbol, { one: object | undefined } | undefined>)[
  Symbol.for('mneme.opentelemetry.enabled')
] ??= { one: undefined })

/** A message, with the span of its call. */
interface Keeping {
  [key: symbol]: Started | undefined
}

interface Started {
  readonly span: Span
  readonly category: string
  /** In milliseconds. */
  readonly at: number
}

type Listener = (message: unknown) => void

function spanLabels(command: string | undefined, category: string, streams: readonly string[]): Attributes {
  const own: Attributes = { 'mneme.category': category, 'mneme.streams': namesOf(streams) }
  if (command !== undefined) own['mneme.command'] = command
  return own
}

const EXECUTE: SpanOptions = { kind: SpanKind.INTERNAL }
const APPEND: SpanOptions = { kind: SpanKind.PRODUCER }

function namesOf(streams: readonly string[]): string {
  return streams.length === 1 ? streams[0]! : streams.join(',')
}

function secondsSince({ at }: Started): number {
  return (environment.now() - at) / 1_000
}

/** What is done with the events of a batch. */
const VERBS = { projection: 'project', reaction: 'react', relay: 'relay' }
