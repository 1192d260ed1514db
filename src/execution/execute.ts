import { checkBoundary } from './boundary.ts'
import type {
  Boundary,
  Command,
  CommandContext,
  Decision,
  EventsIn,
  RejectionsIn,
  StatesOf,
} from '../model/command.ts'
import { Call, type ExecuteOptions } from './call.ts'
import { watchExecution } from './diagnostics.ts'
import { CommandRouter } from './command-router.ts'
import { coreOf } from '../store/create-store.ts'
import { RejectedError } from '../base/errors.ts'
import type { RecordedAs } from '../model/event.ts'
import type { Position, Revision } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { EventStore } from '../store/event-store.ts'

/** The outcome of a command that was accepted. */
export interface Executed<State, E> {
  readonly ok: true
  /** Its events as stored, in the order in which `handle` returned them. */
  readonly events: readonly RecordedAs<E>[]
  /** The state with these events, in the shape of what the command reads. Read-only. */
  readonly state: State
  /** The head of each stream that it read or wrote, right after it, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  /** The position of its last event; `undefined` if it has no events. */
  readonly position: Position | undefined
  /** How often `handle` ran. */
  readonly attempts: number
  /** Whether its idempotency key was used before, so that this is the result of the first append. */
  readonly repeated: boolean
}

/** The outcome of a command that was rejected. */
export interface NotExecuted<R> {
  readonly ok: false
  readonly rejection: R
  /** The head of each stream that it read, on which the rejection stands, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  /** How often `handle` ran. */
  readonly attempts: number
}

/** The outcome of a command; `ok` narrows it. There is one member for each rejection, so that its reason narrows. */
export type Outcome<State, E, R> = Executed<State, E> | (R extends unknown ? NotExecuted<R> : never)

/** The last arguments of `execute`: its options, with `needs` required if the command has some. */
export type ExecuteArguments<Needs> =
  {} extends Omit<Needs, keyof CommandContext | 'on' | 'revision'>
    ? [options?: ExecuteOptions]
    : [options: ExecuteOptions & { readonly needs: Needs }]

/**
 * Executes a command: rebuilds the states that it reads, lets it decide and appends its events, on condition that nothing
 * it read has changed. After a conflict it decides again, as often as `retry` allows.
 *
 * Commands of one process that wait for one stream are decided in sequence and appended together. Every outcome, also a
 * rejection and an error thrown by `handle`, is based on committed, current state.
 *
 * @throws RejectedError if `handle` returned `reject(...)`; `command.rejected(error)` narrows it.
 * @throws ConflictError if every retry met a conflict, or at once if a stream is not as `expected`.
 * @throws errors of `handle`, unchanged; the signal's reason if the call was aborted.
 * @throws FoldError, UnknownEventError, StreamTruncatedError, InvalidDataError, LimitError, KeyReusedError,
 *   OutcomeUnknownError, and the errors of the store's `append`. Nothing was written, except perhaps with
 *   OutcomeUnknownError.
 * @example
 * ```ts
 * const { state, events } = await execute(store, close({ door: 'front', by: 'Ann' }))
 * ```
 */
export async function execute<B extends Boundary, Ret extends Decision<B>, Needs = {}>(
  store: EventStore,
  command: Command<B, Ret, Needs>,
  ...optionsWithNeeds: ExecuteArguments<NoInfer<Needs>>
): Promise<Executed<StatesOf<B>, EventsIn<Ret>>> {
  const outcome = await run(store, command, optionsWithNeeds[0])
  if (!outcome.ok) throw new RejectedError(outcome.rejection, outcome.revisions, command)
  return outcome as never
}

/**
 * Like {@link execute}, but resolves with a rejection instead of throwing it.
 *
 * @example
 * ```ts
 * const result = await tryExecute(store, close({ door: 'front', by: 'Ann' }))
 * if (!result.ok) console.log(result.rejection.reason)
 * ```
 */
export async function tryExecute<B extends Boundary, Ret extends Decision<B>, Needs = {}>(
  store: EventStore,
  command: Command<B, Ret, Needs>,
  ...optionsWithNeeds: ExecuteArguments<NoInfer<Needs>>
): Promise<Outcome<StatesOf<B>, EventsIn<Ret>, RejectionsIn<Ret>>> {
  return (await run(store, command, optionsWithNeeds[0])) as never
}

function run(store: EventStore, given: unknown, options: ExecuteOptions = {}) {
  return watchExecution(given, options, (...args) => perform(store, given, ...args))
}

async function perform(
  store: EventStore,
  given: unknown,
  options: ExecuteOptions,
  began?: (call: Call) => void,
) {
  const core = coreOf(store)
  const call = new Call(given as never, options, core)
  began?.(call)
  const boundary = checkBoundary(call.command.reads)
  core.enter()
  try {
    return await routerOf(core).execute(call, boundary)
  } finally {
    core.leave()
  }
}

/** The router of a store, made when it is first used. */
export function routerOf(core: StoreCore): CommandRouter {
  let router = routers.get(core)
  if (!router) routers.set(core, (router = new CommandRouter(core)))
  return router
}

const routers = new WeakMap<StoreCore, CommandRouter>()
