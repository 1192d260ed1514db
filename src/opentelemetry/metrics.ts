import type { Counter, Histogram, Meter, UpDownCounter } from '@opentelemetry/api'

/** What is measured. All attributes have few values: commands, categories, projections and outcomes. */
export interface Instruments {
  readonly executeDuration: Histogram
  readonly executeAttempts: Histogram
  readonly cacheLookups: Counter
  readonly snapshots: Counter
  readonly appendDuration: Histogram
  readonly appendEvents: Histogram
  readonly appendCommands: Histogram
  readonly pending: UpDownCounter
  readonly batchDuration: Histogram
  readonly batchEvents: Histogram
  readonly projectionFailures: Counter
}

export function instrumentsOf(meter: Meter): Instruments {
  const duration = (name: string, description: string) =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: DURATIONS_S },
    })
  const size = (name: string, unit: string, description: string) =>
    meter.createHistogram(name, { description, unit, advice: { explicitBucketBoundaries: SIZES } })
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(name, { description, unit })
  return {
    executeDuration: duration('mneme.execute.duration', 'From the call of a command to its outcome'),
    executeAttempts: size('mneme.execute.attempts', '{attempt}', 'How often a command was decided'),
    cacheLookups: counter('mneme.cache.lookups', '{command}', 'Commands by whether their state was cached'),
    snapshots: counter('mneme.snapshots', '{snapshot}', 'Snapshots that were looked for, or were due'),
    appendDuration: duration('mneme.append.duration', 'How long an append takes'),
    appendEvents: size('mneme.append.events', '{event}', 'Events in an append'),
    appendCommands: size('mneme.append.commands', '{command}', 'Commands that share an append'),
    pending: meter.createUpDownCounter('mneme.pending', {
      description: 'Commands and appends that wait or are under way',
      unit: '{call}',
    }),
    batchDuration: duration('mneme.projection.batch.duration', 'How long the transaction of a batch takes'),
    batchEvents: size('mneme.projection.batch.events', '{event}', 'Events that were handled in a batch'),
    projectionFailures: counter('mneme.projection.failures', '{failure}', 'Failures of projections'),
  }
}

/** From 0.1 ms, which an append to SQLite takes, to the 10 s after which most callers have given up. */
const DURATIONS_S = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const SIZES = [0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000]
