import { checkOptions, checkTimer, checkWhole } from '../base/arguments.ts'
import { checkFunction } from '../base/functions.ts'
import { type RetryOptions, retryPolicy } from '../base/retry.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { EventsFrom, Source } from '../projections/sources.ts'
import { type RelayControl, StateControl } from './control.ts'
import { checkCommon } from './reaction.ts'
import type { RelaySpec, SendContext, StartAt } from './spec.ts'

/** What `defineRelay` takes. */
export interface RelayDefinition<Sources extends readonly Source[]> {
  /** Its name in the state database: the same name is the same relay, in every process. */
  readonly name: string
  /** Raise it when the relay sends something else; it then continues from its checkpoint. Default: 1. */
  readonly version?: number | undefined
  /** The events that it sends: aggregates, for the events on their streams, or event types by name, on any stream. */
  readonly from: Sources
  /** Where it begins when it is run for the first time: `'start'`, `'end'`, or behind a position. */
  readonly startAt: StartAt
  /**
   * Sends events, in their order, and resolves when the receiver has confirmed all of them. If it throws, or does not settle
   * within `sendTimeout`, the same events are sent again, perhaps in smaller batches. Name each message by `event.id`, so
   * that the receiver recognises one that comes again.
   */
  readonly send: (batch: readonly EventsFrom<Sources[number]>[], context: SendContext) => Promise<unknown>
  /**
   * What has to stay in order if an event is parked: the later events of its sequence are parked, too. Default: the event's
   * stream.
   */
  readonly sequence?: ((event: EventsFrom<Sources[number]>) => string) | undefined
  /** How many events `send` is given at most. Default: 100. */
  readonly batchSize?: number | undefined
  /** Milliseconds that `send` may take. Default: 30,000 ms. */
  readonly sendTimeout?: number | undefined
  /** What happens to an event when all retries have failed. Default: `'block'`. */
  readonly onError?: 'block' | 'park' | undefined
  /**
   * How often and after which delays a failed event is sent again. Default: without an end, from 100 ms up to 30,000 ms.
   */
  readonly retry?: RetryOptions | undefined
}

/** Sends events to the outside. Made by `defineRelay`, run by `runReactions`. */
export interface Relay {
  readonly name: string
  readonly version: number
  /** The relay in the database that holds its state: status, and what a person on duty can do. */
  in(state: ProjectionTarget<unknown>): RelayControl
}

/**
 * Defines a relay: sends events to a broker, a webhook or a mail service, at least once and in order within a sequence. The
 * checkpoint moves after the receiver's confirmation, so that nothing is lost; an event is sent again only if its
 * confirmation was lost.
 *
 * @throws InvalidArgumentError if the definition is wrong.
 * @example
 * ```ts
 * const doorbell = defineRelay({
 *   name: 'doorbell',
 *   from: [Door],
 *   startAt: 'end',
 *   send: async (batch, { signal }) => {
 *     const body = JSON.stringify(batch.map(({ id, type, data }) => ({ id, type, data })))
 *     const { ok, status } = await fetch('https://example.org/doorbell', { method: 'POST', body, signal })
 *     if (!ok) throw new Error(`the doorbell answered ${status}`)
 *   },
 * })
 * ```
 */
export function defineRelay<const Sources extends readonly Source[]>(
  definition: RelayDefinition<Sources>,
): Relay {
  return new DefinedRelay(checkRelay(definition))
}

export class DefinedRelay implements Relay {
  readonly spec: RelaySpec

  constructor(spec: RelaySpec) {
    this.spec = spec
  }

  get name(): string {
    return this.spec.name
  }

  get version(): number {
    return this.spec.version
  }

  in(state: ProjectionTarget<unknown>): RelayControl {
    return new StateControl(this.spec, state)
  }
}

const KNOWN_OPTIONS = [
  ...(['name', 'version', 'from', 'startAt', 'send', 'sequence', 'batchSize', 'sendTimeout'] as const),
  ...(['onError', 'retry'] as const),
]

/** @throws InvalidArgumentError */
function checkRelay(given: RelayDefinition<readonly Source[]>): RelaySpec {
  checkOptions(given, 'relay', KNOWN_OPTIONS)
  const { send, batchSize = 100, sendTimeout = 30_000 } = given
  checkFunction(send, 'send')
  return {
    kind: 'relay',
    ...checkCommon(given as never, undefined),
    timeout: checkTimer(sendTimeout, 'sendTimeout', 1),
    retry: {
      ...retryPolicy(given.retry, WITHOUT_END),
      ...(given.retry?.maxRetries === undefined && WITHOUT_END_ALONE),
    },
    send: send as RelaySpec['send'],
    batchSize: checkWhole(batchSize, 'batchSize', 1),
  }
}

/** A receiver that is down comes back: a person need not unblock the relay. */
const WITHOUT_END = { maxRetries: 0, baseDelay: 100, minDelay: 50, maxDelay: 30_000 }
const WITHOUT_END_ALONE = { maxRetries: Infinity }
