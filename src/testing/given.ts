import type { AssertPredicate } from 'node:assert'
import type { Boundary, Command, Decision, EventsIn, OnStream, RejectionsIn } from '../model/command.ts'
import type { Event } from '../model/event.ts'
import { type ExecuteArguments, tryExecute } from '../execution/execute.ts'
import type { EventStore, StreamWrite } from '../store/event-store.ts'
import type { AnyStream, Stream } from '../model/stream.ts'
import type { StatesToExpect } from './expected-state.ts'
import { Expectation } from './expectation.ts'
import type { Happened } from './happened.ts'
import { type Projected, projected } from './projected.ts'
import type { Projection } from '../projections/projection.ts'
import type { Reaction } from '../reactions/reaction.ts'
import { type Reacted, reacted, type ReactOptions } from './reacted.ts'
import { testStore } from './test-store.ts'

/** The history before a command. */
export interface Given {
  /** Further events, on another stream or the same one. */
  and<Types extends string>(
    stream: Stream<unknown, Types> | string,
    ...events: Event<NoInfer<Types>>[]
  ): Given
  /**
   * The command to test. It is executed once, on a memory store with this history. The options are those of `execute`:
   * what the command `needs`, metadata.
   */
  when<B extends Boundary, Ret extends Decision<B>, Needs = {}>(
    command: Command<B, Ret, Needs>,
    ...optionsWithNeeds: ExecuteArguments<NoInfer<Needs>>
  ): When<B, EventsIn<Ret>, RejectionsIn<Ret>>
  /**
   * The projection to test. Its handlers run on this history, in its own target, which should be one for tests, like
   * `sqliteTarget(':memory:')`: what it held of the projection is deleted before, if it has `tables` or `reset`.
   */
  project(projection: Projection): Projected
  /**
   * The reaction to test: which calls of commands follow from this history, at once or later. No command is executed, and time
   * is moved by hand.
   */
  react(reaction: Reaction<never>, options?: ReactOptions): Reacted
}

/**
 * The expected outcome of a command. Await each expectation: it rejects with an `AssertionError` if it does not hold. A
 * command may have several expectations; it is executed once.
 */
export interface When<B, E, R> {
  /** It records exactly these events, in this order. For a command over several streams: `on(alice, Withdrawn(...))`. */
  thenEvents(...events: (B extends AnyStream ? E : OnStream<E>)[]): Promise<void>
  /** It is accepted and records no event. */
  thenNothing(): Promise<void>
  /** It is rejected with this reason and exactly these details; given only a reason, with any details. */
  thenRejected(rejection: R | ReasonOf<R>): Promise<void>
  /** It throws an error that matches, as in `assert.rejects`. A rejection is no error. */
  thenThrows(matcher?: AssertPredicate): Promise<void>
  /**
   * It is accepted, and this is the state with its events, in the shape of what it reads. A class is compared by its public
   * fields, and by the getters that the expectation names.
   */
  thenState(state: StatesToExpect<B>): Promise<void>
}

type ReasonOf<R> = R extends { readonly reason: infer Reason } ? Reason : never

/**
 * Tests a command: given a history, when the command is executed, then an outcome is expected. The command runs as in
 * production, on a memory store; only what it `needs` is replaced. Works with any test runner. Personal values are compared as
 * plain ones.
 *
 * Events of an older program are written by hand. On a stream given by name they are stored unchanged, with any type:
 * `given('Loan-1', { type: 'Credit.Granted', data: {...} })`. Their default version is 1.
 *
 * @example
 * ```ts
 * const alice = BankAccount('alice')
 * await given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: 30 }))
 *   .when(withdraw({ account: 'alice', amount: 10 }))
 *   .thenEvents(Withdrawn({ amount: 10 }))
 * await given(alice, Opened({ owner: 'Alice' }))
 *   .when(withdraw({ account: 'alice', amount: 10 }))
 *   .thenRejected({ reason: 'insufficient-funds', balance: 0 })
 * await given().when(withdraw({ account: 'alice', amount: 10 })).thenRejected('not-open')
 * ```
 */
export function given(): Given
export function given<Types extends string>(
  stream: Stream<unknown, Types> | string,
  ...events: Event<NoInfer<Types>>[]
): Given
export function given(stream?: AnyStream | string, ...events: Event[]): Given {
  return history(stream !== undefined ? [{ stream, events }] : [])
}

/**
 * The events that a command over several streams is expected to record on one of them.
 *
 * @example
 * ```ts
 * await given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: 30 }))
 *   .and(bob, Opened({ owner: 'Bob' }))
 *   .when(transfer({ from: 'alice', to: 'bob', amount: 10 }))
 *   .thenEvents(on(alice, Withdrawn({ amount: 10 })), on(bob, Deposited({ amount: 10 })))
 * ```
 */
export function on<Types extends string, E extends Event<Types>>(
  stream: Stream<unknown, Types>,
  ...events: E[]
): OnStream<E> {
  return { stream: stream.stream, events }
}

type AnyCommand = Command<Boundary, Decision<Boundary>>

function history(writes: readonly StreamWrite[]): Given {
  return {
    and: (stream: AnyStream | string, ...events: Event[]) => history([...writes, { stream, events }]),
    project: (projection) => projected(projection, (store) => record(store, writes)),
    react: (reaction, options = {}) => reacted(reaction, options, (store) => record(store, writes)),
    when: (command: unknown, options?: object) =>
      new Expectation(command as AnyCommand, () => happen(writes, command as AnyCommand, options)) as never,
  }
}

async function happen(
  writes: readonly StreamWrite[],
  command: AnyCommand,
  options: object = {},
): Promise<Happened> {
  const { store, reveal } = testStore()
  await record(store, writes)
  try {
    // Compared by the plain values: what is sealed is different each time.
    return (await reveal(await tryExecute(store, command, options))) as Happened
  } catch (error) {
    return { threw: error }
  } finally {
    await store.close()
  }
}

async function record(store: EventStore, writes: readonly StreamWrite[]): Promise<void> {
  try {
    for (const write of writes) await store.append(write)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`the given events cannot be stored: ${reason}`, { cause: error })
  }
}
