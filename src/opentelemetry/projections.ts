import { type Attributes, metrics, type MeterProvider } from '@opentelemetry/api'
import type { ProjectionStatus } from '../projections/index.ts'
import { VERSION } from './version.ts'

/** Options of `observeProjections`. */
export interface ObserveProjectionsOptions {
  /** Default: the global one, which must be registered already. */
  readonly meterProvider?: MeterProvider | undefined
  /** Attributes of every value, like the tenant's kind. They should have few values. */
  readonly attributes?: Attributes | undefined
}

/** The part of a status that is measured. */
export type ObservedStatus = Pick<ProjectionStatus, 'name' | 'state' | 'lag' | 'parked'>

/**
 * Measures where projections stand, or reactions and relays, each time metrics are collected: the lag in events and in seconds, whether they are
 * blocked, and how many events are parked. To count the lag, the remaining events are read, up to 10,000.
 *
 * @returns a function that ends it. Call it before the projections are stopped.
 * @example
 * ```ts
 * const running = await runProjections(store, [doors])
 * const stopObserving = observeProjections(running)
 * stopObserving()
 * await running.stop()
 * ```
 */
export function observeProjections(
  running: { status(): Promise<readonly ObservedStatus[]> },
  { meterProvider = metrics.getMeterProvider(), attributes = {} }: ObserveProjectionsOptions = {},
): () => void {
  const meter = meterProvider.getMeter('mneme', VERSION)
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { unit, description })
  const events = gauge('mneme.projection.lag.events', '{event}', 'Events that remain, up to 10,000')
  const seconds = gauge('mneme.projection.lag.time', 's', 'How long the first of them has waited')
  const blocked = gauge('mneme.projection.blocked', '{projection}', '1 while a projection is blocked')
  const parked = gauge('mneme.projection.parked', '{event}', 'Events that were set aside')
  const instruments = [events, seconds, blocked, parked]
  const observe: Parameters<typeof meter.addBatchObservableCallback>[0] = async (result) => {
    let statuses: readonly ObservedStatus[]
    try {
      statuses = await running.status()
    } catch {
      // The store or the target cannot be reached: there is no value to tell of now.
      return
    }
    for (const status of statuses) {
      const own = { ...attributes, 'mneme.projection': status.name }
      result.observe(events, status.lag.events, own)
      result.observe(seconds, status.lag.seconds, own)
      result.observe(blocked, status.state === 'blocked' ? 1 : 0, own)
      result.observe(parked, status.parked, own)
    }
  }
  meter.addBatchObservableCallback(observe, instruments)
  return () => {
    meter.removeBatchObservableCallback(observe, instruments)
  }
}
