import type { EventTypeRecord } from './event-type.ts'
import type { StreamEvent } from './event.ts'

/** A stream of an aggregate, like `BankAccount('alice')`: what a command reads. */
export interface Stream<State, Types extends string = string> {
  /** The stream's name, like `'BankAccount-alice'`. */
  readonly stream: string
  /** How state follows from its events. */
  readonly fold: Fold<State>
  /** The types of events that it accepts. */
  readonly types: readonly Types[]
}

/** Any stream. The state is `unknown` rather than `any`, which would silently become the state's type. */
export type AnyStream = Stream<unknown>

/** How state follows from events: one for each aggregate. */
export interface Fold<State> {
  initial(): State
  /** One step, with an event of the current version. Returns the next state. */
  evolve(state: never, event: StreamEvent): State
  /** The event types that the fold knows, by their current and former names. */
  readonly eventTypes: ReadonlyMap<string, EventTypeRecord>
  /**
   * How a state is protected from changes by a decision: `freeze` it, or `copy` it by its own `clone()`.
   */
  readonly isolation: 'freeze' | 'copy'
  /** How its states are kept beside the log, if they are. */
  readonly snapshot?: SnapshotPlan<State> | undefined
}

/** How the states of a fold are kept beside the log. */
export interface SnapshotPlan<State> {
  readonly name: string
  readonly version: number
  /** How many events come between two snapshots of a stream. */
  readonly every: number
  /** A copy of a state as JSON. @throws InvalidDataError if it is none */
  encode(state: never): unknown
  decode(json: unknown): State
}

export function isStream(value: object): value is AnyStream {
  return 'fold' in value && typeof (value as { stream?: unknown }).stream === 'string'
}
