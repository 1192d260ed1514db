import type { EventTypeRecord } from './event-type.ts'
import type { StreamEvent } from './event.ts'

/** A stream of one aggregate, as `BankAccount('alice')` names it: what a command reads. */
export interface Stream<State, Types extends string = string> {
  /** The stream's name, like `'BankAccount-alice'`. */
  readonly stream: string
  /** How state follows from its events. */
  readonly fold: Fold<State>
  /** The types of the events that it takes. */
  readonly types: readonly Types[]
}

/** Any stream. `Stream<unknown, string>` rather than `any`, which would silently become the state. */
export type AnyStream = Stream<unknown>

/** How state follows from events: one for each aggregate. */
export interface Fold<State> {
  initial(): State
  /** One step, on an event of the present version. Returns the next state. */
  evolve(state: never, event: StreamEvent): State
  /** The event types that the fold knows, by every name under which one was ever stored. */
  readonly eventTypes: ReadonlyMap<string, EventTypeRecord>
  /**
   * How a state is kept from being changed by who sees it: `freeze` where it is made of plain values, `copy`
   * by its own `clone()`, or `none`: then it is folded anew for each decision.
   */
  readonly isolation: 'freeze' | 'copy' | 'none'
}

export function isStream(value: object): value is AnyStream {
  return 'fold' in value && typeof (value as { stream?: unknown }).stream === 'string'
}
