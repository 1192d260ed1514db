import { checkOptions, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { type RetryOptions, retryPolicy } from '../base/retry.ts'
import { systemClock } from '../base/clock.ts'
import { environment } from '../base/environment.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { CommandContext, RejectionOf } from '../model/command.ts'
import type { Recorded } from '../model/event.ts'
import type { Json } from '../model/json.ts'
import { checkFollowerName, HANDLER_RETRY } from '../projections/define.ts'
import { type ByType, type EventsFrom, selectionOf, type Source, typesOf } from '../projections/sources.ts'
import { type ReactionControl, StateControl } from './control.ts'
import type { Effects } from './effects.ts'
import type { AnyCommandType, FollowerSpec, ReactionSpec, Rejected, StartAt } from './spec.ts'

/** What `defineReaction` takes. */
export interface ReactionDefinition<
  Sources extends readonly Source[],
  Commands extends readonly AnyCommandType[],
> {
  /** Its name in the state database: the same name is the same reaction, in every process. */
  readonly name: string
  /**
   * Raise it when the reaction does something else. It then continues from its checkpoint; what it did before is never
   * repeated, and there is no rebuild. Default: 1.
   */
  readonly version?: number | undefined
  /** The events that it handles: aggregates, for the events on their streams, or event types by name, on any stream. */
  readonly from: Sources
  /** The commands that it calls. Each has a name, by which a timer finds it again, and an input that is JSON. */
  readonly commands: { readonly [I in keyof Commands]: CallableCommand<Commands[I]> } & Commands
  /**
   * Where it begins when it is run for the first time: with all events (`'start'`), with those that are appended from then
   * on (`'end'`), or behind a position. What is decided is stored.
   */
  readonly startAt: StartAt
  /**
   * What has to stay in order: events of the same sequence are handled one after the other, and if one of them is parked,
   * those behind it are parked, too. Events that set and cancel the same timer belong to one sequence. Default: the event's
   * stream.
   */
  readonly sequence?: ((event: EventsFrom<Sources[number]>) => string) | undefined
  /**
   * For each type of event, what follows from it. The functions must be pure: they may be called several times for an
   * event. Events of older versions or under older names are upcast to the present ones first.
   */
  readonly on: {
    readonly [Type in keyof ByType<EventsFrom<Sources[number]>>]?: (
      event: ByType<EventsFrom<Sources[number]>>[Type],
    ) => Effects<NameOf<Commands[number]>>
  }
  /**
   * What happens to an event when all retries have failed: `'block'` stops the reaction there; `'park'` sets the event
   * aside, with the error and the later events of its sequence, and goes on. Default: `'block'`.
   */
  readonly onError?: 'block' | 'park' | undefined
  /** How often and after which delays a failed call is retried. Default: 5 times, from 100 ms up to 10,000 ms. */
  readonly retry?: RetryOptions | undefined
  /** Milliseconds after which a call that has not ended is given up and retried. Default: 10,000 ms. */
  readonly callTimeout?: number | undefined
}

/** What follows from the rejection of a call: block or park the event, go on, or other effects instead. */
export type RejectedAnswer<Name extends string = string> = 'block' | 'park' | 'ignore' | Effects<Name>

/**
 * The rest of a reaction's definition: what to do if one of its commands is rejected, for each command that can be. Pure.
 */
export type RejectedBy<Commands extends readonly AnyCommandType[], E> = [RejectedNames<Commands>] extends [
  never,
]
  ? { readonly rejected?: Readonly<Record<string, never>> | undefined }
  : {
      readonly rejected: KeepLiterals & {
        readonly [C in Commands[number] as IsRejectable<C> extends true ? NameOf<C> : never]: (
          why: RejectionOf<C>,
          event: E,
        ) => RejectedAnswer<NameOf<Commands[number]>>
      }
    }

/** Keeps `'ignore'` from becoming a string, in a function without parameters: such a function is checked first. */
interface KeepLiterals {
  readonly [name: string]: (...args: never) => 'block' | 'park' | 'ignore' | object
}

type RejectedNames<Commands extends readonly AnyCommandType[]> = {
  [I in keyof Commands]: IsRejectable<Commands[I]> extends true ? NameOf<Commands[I]> : never
}[number]
type IsRejectable<C> = [RejectionOf<C>] extends [never] ? false : true

/** The name of a command. */
export type NameOf<C> = C extends { readonly commandName: infer Name } ? Extract<Name, string> : never

/** A command that a reaction can call; otherwise a sentence that the compiler prints. */
export type CallableCommand<C> = C extends (input: infer Input) => unknown
  ? string extends NameOf<C>
    ? { readonly '~problem': 'a command without a name cannot be called by a reaction: give it a name' }
    : [Exclude<Input, void>] extends [Json<Exclude<Input, void>>]
      ? unknown
      : {
          readonly '~problem': 'the input of a command that a reaction calls must be JSON'
          readonly input: Json<Input>
        }
  : never

/** What the commands of a reaction need, besides the library's own. */
export type NeedsOf<Commands extends readonly AnyCommandType[]> = UnionToIntersection<
  Commands[number] extends infer C ? NeedsOfOne<C> : never
>
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever it reads and decides
type NeedsOfOne<C> = C extends (input: any) => { handle(state: any, context: infer Context): unknown }
  ? Omit<Context, keyof CommandContext | 'on' | 'revision'>
  : never
type UnionToIntersection<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer All) => void
  ? All
  : never

/** A process manager as data: maps events to calls of commands. Made by `defineReaction`, run by `runReactions`. */
export interface Reaction<Needs = unknown> {
  readonly name: string
  readonly version: number
  /** What its commands need: for the types only. */
  readonly '~needs'?: ((needs: Needs) => void) | undefined
  /** The reaction in the database that holds its state: status, timers, and what a person on duty can do. */
  in(state: ProjectionTarget<unknown>): ReactionControl
}

/**
 * Defines a reaction: which commands follow from which events, at once or later. Each call takes effect exactly once,
 * because the store keeps its idempotency key in the same append as its events.
 *
 * There is neither reset nor rebuild: what a reaction did is history.
 *
 * @throws InvalidArgumentError if the definition is wrong.
 * @example
 * ```ts
 * const ring = defineCommand({
 *   name: 'bell.ring',
 *   reads: (input: { door: string }) => Door(input.door),
 *   handle: () => [],
 * })
 * const bell = defineReaction({
 *   name: 'bell',
 *   from: [Door],
 *   commands: [ring],
 *   startAt: 'end',
 *   on: {
 *     'Door.Opened': (event) => after({ minutes: 5 }, ring({ door: event.stream }), { timer: event.stream }),
 *     'Door.Closed': (event) => cancelTimer(event.stream),
 *   },
 * })
 * ```
 */
export function defineReaction<
  const Sources extends readonly Source[],
  const Commands extends readonly AnyCommandType[],
>(
  definition: ReactionDefinition<Sources, Commands> & RejectedBy<Commands, EventsFrom<Sources[number]>>,
): Reaction<NeedsOf<Commands>> {
  // At run time, functions are looked up by the names of events and commands; the static types are checked above.
  return new DefinedReaction(checkReaction(definition as unknown as AnyDefinition))
}

type AnyDefinition = ReactionDefinition<readonly Source[], readonly AnyCommandType[]> & {
  readonly rejected?: Readonly<Record<string, Rejected>>
}

export class DefinedReaction implements Reaction {
  readonly spec: ReactionSpec

  constructor(spec: ReactionSpec) {
    this.spec = spec
  }

  get name(): string {
    return this.spec.name
  }

  get version(): number {
    return this.spec.version
  }

  in(state: ProjectionTarget<unknown>): ReactionControl {
    return new StateControl(this.spec, state)
  }
}

const KNOWN_OPTIONS = [
  ...([
    'name',
    'version',
    'from',
    'commands',
    'startAt',
    'sequence',
    'on',
    'rejected',
    'onError',
    'retry',
    'callTimeout',
  ] as const),
]

/** @throws InvalidArgumentError */
function checkReaction(given: AnyDefinition): ReactionSpec {
  checkOptions(given, 'reaction', KNOWN_OPTIONS)
  const { commands, rejected = {} } = given
  const byName = checkCommands(commands)
  const on = checkFunctions(given.on, 'on') as ReactionSpec['on']
  if (on.size === 0) throw new InvalidArgumentError('on', 'functions by the types of events')
  const answers = checkFunctions(rejected, 'rejected') as ReactionSpec['rejected']
  for (const name of answers.keys()) {
    if (byName.has(name)) continue
    const known = [...byName.keys()].join(', ')
    throw new InvalidArgumentError(`rejected['${name}']`, `the name of a command in 'commands': ${known}`)
  }
  return {
    kind: 'reaction',
    ...checkCommon(given, [...on.keys()]),
    timeout: checkWhole(given.callTimeout ?? CALL_TIMEOUT_MS, 'callTimeout', 1),
    retry: retryPolicy(given.retry, HANDLER_RETRY),
    commands: byName,
    on,
    rejected: answers,
  }
}

/** What reactions and relays have in common. @throws InvalidArgumentError */
export function checkCommon(
  given: Pick<AnyDefinition, 'name' | 'version' | 'from' | 'startAt' | 'sequence' | 'onError'>,
  handled: readonly string[] | undefined,
): Omit<FollowerSpec, 'kind' | 'timeout' | 'retry'> {
  const { name, version = 1, from, startAt, sequence = streamOf, onError = 'block' } = given
  checkFollowerName(name)
  if (typeof (startAt as unknown) !== 'string' || startAt === '') {
    throw new InvalidArgumentError('startAt', "'start', 'end' or a position: choose where it begins")
  }
  checkFunction(sequence, 'sequence', 'a function that returns a string')
  if (!['block', 'park'].includes(onError)) throw new InvalidArgumentError('onError', "'block' or 'park'")
  return {
    name,
    version: checkWhole(version, 'version', 1),
    selection: selectionOf(from, handled ?? typesOf(from)),
    startAt,
    sequence: sequence as (event: Recorded) => unknown,
    onError,
    clock: systemClock,
    date: () => environment.date(),
  }
}

function streamOf({ stream }: { readonly stream: string }): string {
  return stream
}

function checkFunctions(given: unknown, argument: string): ReadonlyMap<string, (...args: never) => unknown> {
  const entries = Object.entries(Object(given ?? {}) as Record<string, unknown>)
  for (const [key, value] of entries) {
    checkFunction(value, `${argument}['${key}']`)
  }
  return new Map(entries as [string, (...args: never) => unknown][])
}

function checkCommands(commands: readonly AnyCommandType[]): ReadonlyMap<string, AnyCommandType> {
  if (!Array.isArray(commands)) throw new InvalidArgumentError('commands', 'a list of commands')
  const byName = new Map<string, AnyCommandType>()
  for (const [i, command] of (commands as readonly AnyCommandType[]).entries()) {
    const argument = `commands[${String(i)}]`
    if (typeof (command as unknown) !== 'function')
      throw new InvalidArgumentError(argument, 'made by defineCommand')
    const { commandName } = command
    if (typeof commandName !== 'string') {
      throw new InvalidArgumentError(argument, 'a command with a name: give its definition one')
    }
    if (byName.has(commandName)) {
      throw new InvalidArgumentError(
        argument,
        `of another name than '${commandName}', which is in the list already`,
      )
    }
    byName.set(commandName, command)
  }
  return byName
}

const CALL_TIMEOUT_MS = 10_000
