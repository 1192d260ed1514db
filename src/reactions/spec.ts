import type { Clock } from '../base/clock.ts'
import type { RetryPolicy } from '../base/retry.ts'
import type { Position } from '../base/revision.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Recorded } from '../model/event.ts'
import { isStorable } from './effects.ts'
import type { Followed } from '../projections/handling.ts'
import type { Selection } from '../projections/sources.ts'

/** Where a reaction or a relay begins, the first time that it is run. */
export type StartAt = 'start' | 'end' | (Position & {})

/** Any command that `defineCommand` returned. */
export interface AnyCommandType {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever its input
  (input: any): { readonly name?: string | undefined; readonly reads: unknown }
  readonly commandName: string | undefined
}

/** What `send` of a relay is given beside the events. */
export interface SendContext {
  /** Aborted when the relay is stopped, or when the time-out of this call is over. */
  readonly signal: AbortSignal
}

/** What a reaction and a relay have in common: all of it but the database of its state. */
export interface FollowerSpec {
  readonly kind: 'reaction' | 'relay'
  readonly name: string
  readonly version: number
  readonly selection: Selection
  readonly startAt: StartAt
  readonly sequence: (event: Recorded) => unknown
  readonly onError: 'block' | 'park'
  readonly retry: RetryPolicy
  /** Milliseconds that a call, or `send`, may take. */
  readonly timeout: number
  readonly clock: Clock
  /** The time in milliseconds since 1970, as this computer has it: timers are due by it. */
  readonly date: () => number
}

/** What answers a rejection. */
export type Rejected = (why: never, event: Recorded) => unknown

/** A checked reaction with its defaults filled in. */
export interface ReactionSpec extends FollowerSpec {
  readonly kind: 'reaction'
  readonly commands: ReadonlyMap<string, AnyCommandType>
  readonly on: ReadonlyMap<string, (event: Recorded) => unknown>
  readonly rejected: ReadonlyMap<string, Rejected>
}

/** A checked relay with its defaults filled in. */
export interface RelaySpec extends FollowerSpec {
  readonly kind: 'relay'
  readonly send: (batch: readonly Recorded[], context: SendContext) => unknown
  readonly batchSize: number
}

/** The same with the database of its state, as a worker follows it. */
export function followedIn(spec: FollowerSpec, target: ProjectionTarget<unknown>): Followed {
  const { kind, name, version, selection, onError, retry, clock } = spec
  return { kind, name, version, selection, onError, retry, clock, target }
}

/** The sequence of an event. @throws what `sequence` throws, and TypeError if it returned no text. */
export function sequenceOf({ sequence }: FollowerSpec, event: Recorded): string {
  const value = sequence(event)
  if (typeof value === 'string' && isStorable(value)) return value
  if (typeof value === 'string') {
    throw new TypeError(
      `'sequence' must return a string without NUL and half surrogates, not ${JSON.stringify(value)}`,
    )
  }
  throw new TypeError(
    `'sequence' must return a string, but it returned ${value === null ? 'null' : typeof value}`,
  )
}

/** The sequence of an event that is set aside: its stream, if it cannot be told. */
export function sequenceToPark(spec: FollowerSpec, stored: StoredEvent): string {
  try {
    return sequenceOf(spec, spec.selection.decode(stored))
  } catch {
    return stored.stream
  }
}
