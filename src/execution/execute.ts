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
import { Executor } from './executor.ts'
import { coreOf } from '../store/create-store.ts'
import { RejectedError } from '../base/errors.ts'
import type { RecordedAs } from '../model/event.ts'
import type { Position, Revision } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { EventStore } from '../store/event-store.ts'

/** A command that was executed. */
export interface Executed<State, E> {
  readonly ok: true
  /** Its events as stored, in the order decided. */
  readonly events: readonly RecordedAs<E>[]
  /** The state with these events, in the shape of what it reads. Read-only. */
  readonly state: State
  /** Where each stream that it read or wrote stood right after it, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
  /** The position of its last event; `undefined` where it decided on none. */
  readonly position: Position | undefined
  /** How often it was decided. */
  readonly attempts: number
  /** Whether its idempotency key had been used, so that this is what the first append gave. */
  readonly repeated: boolean
}

/** A command that was rejected. */
export interface NotExecuted<R> {
  readonly ok: false
  readonly rejection: R
  /** How often it was decided. */
  readonly attempts: number
}

/** What a command came to; `ok` tells. One member for each rejection, so that its reason narrows. */
export type Outcome<State, E, R> = Executed<State, E> | (R extends unknown ? NotExecuted<R> : never)

/** The options, with `needs` asked for only where the command has some. */
export type ExecuteArguments<Needs> =
  {} extends Omit<Needs, keyof CommandContext | 'on' | 'revision'>
    ? [options?: ExecuteOptions]
    : [options: ExecuteOptions & { readonly needs: Needs }]

/**
 * Executes a command: rebuilds the states of what it reads, lets it decide and appends its events, on
 * condition that nothing it read has changed; else it is decided anew, as often as `retry` allows.
 *
 * Commands of one process that wait for one stream are decided in sequence and appended together. Whatever is
 * reported, a rejection and an error thrown by `handle` too, stands on committed, current state.
 *
 * @throws RejectedError where `handle` returned `reject(...)`; `command.rejected(error)` narrows it.
 * @throws ConflictError where every retry met a conflict.
 * @throws whatever `handle` throws, unchanged; the signal's reason where it was given up.
 * @throws FoldError, UnknownEventError, StreamTruncatedError, InvalidDataError, LimitError, KeyReusedError,
 *   OutcomeUnknownError, and whatever else the store's `append` throws. Nothing was written then, but for
 *   OutcomeUnknownError.
 * @example
 * ```ts
 * const { state, events } = await execute(store, close({ door: 'front', by: 'Ann' }))
 * ```
 */
export async function execute<B extends Boundary, Ret extends Decision<B>, Needs = {}>(
  store: EventStore,
  command: Command<B, Ret, Needs>,
  ...options: ExecuteArguments<NoInfer<Needs>>
): Promise<Executed<StatesOf<B>, EventsIn<Ret>>> {
  const outcome = await run(store, command, options[0])
  if (!outcome.ok) throw new RejectedError(outcome.rejection, command)
  return outcome as never
}

/**
 * As {@link execute}, but resolves with the rejection rather than throws it.
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
  ...options: ExecuteArguments<NoInfer<Needs>>
): Promise<Outcome<StatesOf<B>, EventsIn<Ret>, RejectionsIn<Ret>>> {
  return (await run(store, command, options[0])) as never
}

async function run(store: EventStore, given: unknown, options: ExecuteOptions = {}) {
  const core = coreOf(store)
  const call = new Call(given as never, options, core.capabilities)
  const boundary = checkBoundary(call.command.reads)
  core.enter()
  try {
    return await executorOf(core).execute(call, boundary)
  } finally {
    core.leave()
  }
}

function executorOf(core: StoreCore): Executor {
  let executor = executors.get(core)
  if (!executor) executors.set(core, (executor = new Executor(core)))
  return executor
}

const executors = new WeakMap<StoreCore, Executor>()
