import { anySignal } from '../base/abort.ts'
import { checkOptions, checkSignal } from '../base/arguments.ts'
import { InvalidArgumentError, RejectedError } from '../base/errors.ts'
import type {
  Boundary,
  Command,
  CommandContext,
  Decision,
  EventsIn,
  RejectionsIn,
  StatesOf,
} from '../model/command.ts'
import { checkMetadata, type Metadata } from '../model/metadata.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { checkNeeds, type ExecuteOptions } from './call.ts'
import { type Executed, type Outcome, tryExecute } from './execute.ts'

/** `execute` and `tryExecute` for one store, with defaults. Made by {@link executor}; the functions can be passed alone. */
export interface Executor<Given = {}> {
  /** Like {@link execute}. */
  readonly execute: <B extends Boundary, Ret extends Decision<B>, Needs = {}>(
    command: Command<B, Ret, Needs>,
    ...optionsWithNeeds: ExecutorArguments<NoInfer<Needs>, Given>
  ) => Promise<Executed<StatesOf<B>, EventsIn<Ret>>>
  /** Like {@link tryExecute}. */
  readonly tryExecute: <B extends Boundary, Ret extends Decision<B>, Needs = {}>(
    command: Command<B, Ret, Needs>,
    ...optionsWithNeeds: ExecutorArguments<NoInfer<Needs>, Given>
  ) => Promise<Outcome<StatesOf<B>, EventsIn<Ret>, RejectionsIn<Ret>>>
}

/** What {@link executor} takes: what every call has in common. The options of a call go first. */
export interface ExecutorDefaults<Given = {}> {
  /** What commands need. A call has to give only what its command needs besides. */
  readonly needs?: Given | undefined
  /**
   * Stored with every event; a call's own metadata is added. A function is called for each call, when its execution
   * begins, in the asynchronous context of its caller.
   */
  readonly metadata?: Metadata | (() => Metadata | undefined) | undefined
  /** Cancels every call, besides the call's own signal. */
  readonly signal?: AbortSignal | undefined
  /**
   * Wraps every call: for tracing, logs or measurements. It must return what `next()` resolves with, which has `ok: false`
   * for a rejection, whether it is thrown to the caller or returned. Called again, `next` executes the command again.
   */
  readonly around?:
    ((call: ExecutorCall, next: () => Promise<CommandOutcome>) => Promise<CommandOutcome>) | undefined
}

/** A call of an {@link Executor}, as `around` sees it. */
export interface ExecutorCall {
  readonly store: EventStore
  /** The command: its `name`, `input` and `reads`. */
  readonly command: Command<Boundary, unknown>
  /** The options that the caller gave. */
  readonly options: ExecuteOptions
}

/** The outcome of any command. */
export type CommandOutcome = Outcome<unknown, unknown, { readonly reason: string }>

/** The last arguments of a call of an executor: `needs` is required if the executor lacks some of what the command needs. */
export type ExecutorArguments<Needs, Given> =
  {} extends NeedsAlone<Needs>
    ? [options?: ExecuteOptions]
    : {} extends Missing<NeedsAlone<Needs>, Given>
      ? [options?: ExecuteOptions & { readonly needs?: Partial<NeedsAlone<Needs>> }]
      : [
          options: ExecuteOptions & {
            readonly needs: Missing<NeedsAlone<Needs>, Given> & Partial<NeedsAlone<Needs>>
          },
        ]

type NeedsAlone<Needs> = Omit<Needs, keyof CommandContext | 'on' | 'revision'>
/** The needs that the executor does not have, or has of another type. */
type Missing<Needs, Given> = {
  [K in keyof Needs as K extends keyof Given ? (Given[K] extends Needs[K] ? never : K) : K]: Needs[K]
}

/**
 * Makes `execute` and `tryExecute` for a store, with what all calls of a service have in common.
 *
 * @throws InvalidArgumentError if a default is wrong.
 * @example
 * ```ts
 * const doors = executor(store, { metadata: { actor: 'Ann' } })
 * await doors.execute(close({ door: 'front', by: 'Ann' }))
 * ```
 */
export function executor<Given extends object = {}>(
  store: EventStore,
  defaults: ExecutorDefaults<Given> = {},
): Executor<Given> {
  coreOf(store)
  checkOptions(defaults, 'defaults', ['needs', 'metadata', 'signal', 'around'])
  const { around } = defaults
  const needs = checkNeeds(defaults.needs)
  const metadata = metadataOf(defaults.metadata)
  checkSignal(defaults.signal)
  if (around !== undefined && typeof (around as unknown) !== 'function') {
    throw new InvalidArgumentError('around', 'a function (call, next) that returns what next() resolves with')
  }

  const run = async (command: AnyCommand, options: CallOptions): Promise<CommandOutcome> => {
    const { signal, release } = anySignal(defaults.signal, checkSignal(options.signal))
    try {
      return await tryExecute(store, command, {
        ...options,
        signal,
        metadata: { ...metadata(), ...checkMetadata(options.metadata) },
        needs: { ...needs, ...withoutUndefined(checkNeeds(options.needs)) },
      } as never)
    } finally {
      release()
    }
  }
  const wrap = async (command: AnyCommand, options: CallOptions): Promise<CommandOutcome> => {
    const outcomes = new Set<unknown>()
    const outcome = await around!({ store, command, options }, async () => {
      const own = await run(command, options)
      outcomes.add(own)
      return own
    })
    if (outcomes.has(outcome)) return outcome
    throw new InvalidArgumentError('around', {
      message: 'around returned something else than next() resolved with; return the result of next()',
    })
  }
  const call = around ? wrap : run
  return {
    tryExecute: async (command: unknown, options: CallOptions = {}) =>
      (await call(command as never, checkObject(options))) as never,
    execute: async (command: unknown, options: CallOptions = {}) => {
      const outcome = await call(command as never, checkObject(options))
      if (!outcome.ok) throw new RejectedError(outcome.rejection, outcome.revisions, command as object)
      return outcome as never
    },
  }
}

type AnyCommand = Command<Boundary, never>
type CallOptions = ExecuteOptions & { readonly needs?: object | undefined }

/** The default metadata of a call. */
function metadataOf(metadata: ExecutorDefaults['metadata']): () => Metadata {
  if (typeof metadata === 'function') return () => checkMetadata(metadata())
  const checked = checkMetadata(metadata)
  return () => checked
}

/** An option that is `undefined` counts as omitted. */
function withoutUndefined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function checkObject(options: CallOptions): CallOptions {
  if (typeof (options as unknown) === 'object' && (options as unknown) !== null) return options
  throw new InvalidArgumentError('options', 'an object')
}
