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
}

export function isStream(value: object): value is AnyStream {
  return 'fold' in value && typeof (value as { stream?: unknown }).stream === 'string'
}
