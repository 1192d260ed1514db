import { checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError, isMnemeError, type RejectedError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { isSchema, validate } from './event-type.ts'
import { checkDefinitionName } from './names.ts'
import type { StandardSchemaV1 } from '../base/standard-schema.ts'
import type { AnyStream, Stream } from './stream.ts'
import type { Claim, ClaimState } from './claim.ts'
import type { Event, NoData } from './event.ts'
import type { Metadata } from './metadata.ts'
import type { Revision } from '../base/revision.ts'

/**
 * A command ready to execute: what it reads, and how it decides. Any object or instance of a class with these two members
 * is a command; there is no base class.
 */
export interface Command<B, Ret, Needs = {}, Name extends string = string> {
  /** The streams that the decision reads. */
  readonly reads: B
  /**
   * The decision: events, or a rejection. It must be pure, because it may run several times for one command. An error
   * that it throws on a current state reaches the caller unchanged.
   */
  handle(state: StatesOf<B>, context: ContextOf<B, Needs>): Ret | Promise<Ret>
  /** Further streams, found in the states of the first ones. */
  follow?: ((state: never) => Streams) | undefined
  /** The command's name. An idempotency key is compared by it, if there is one. */
  readonly name?: Name | undefined
  /**
   * What an idempotency key is compared by, unless there is `keyedBy`: the same key with another input is an error. Default
   * for a class: all fields of the instance.
   */
  readonly input?: unknown
  /** What an idempotency key is compared by instead of the whole input. Called only if there is a key. */
  keyedBy?: (() => unknown) | undefined
}

/** A command that takes its input: what `defineCommand` returns. */
export interface CommandType<Input, B, Ret, Needs = {}, Name extends string = string> {
  /** @throws InvalidDataError if the command's schema refuses the input. */
  (input: Input): Command<B, Ret, Needs, Name>
  /** The command's name, if its definition gave it one. */
  readonly commandName: Name | undefined
  /** The schema of its input, if its definition gave it one. */
  readonly inputSchema: StandardSchemaV1 | undefined
  /** Narrows what `execute` throws to the rejections of this command. */
  rejected(error: unknown): error is RejectedError<RejectionsIn<Ret>>
}

/** The union of a command's rejections. */
export type RejectionOf<C> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- any command, whatever it reads and needs
  C extends CommandType<any, any, infer Ret, any>
    ? RejectionsIn<Ret>
    : // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
      C extends Command<any, infer Ret, any>
      ? RejectionsIn<Ret>
      : never

/** What `defineCommand` takes. */
export interface CommandDefinition<
  Input,
  B,
  Ret,
  Needs = {},
  Follow = {},
  Given = Input,
  Name extends string = string,
> {
  /**
   * The command's name. An idempotency key is compared by it, so that the same key with another command is an error;
   * like an event's name, it must not change.
   */
  readonly name?: Name
  /**
   * A schema for the input, instead of an annotation in `reads`: the given input is checked with it, and its output is
   * the input of `reads`, `follow` and `handle`.
   */
  readonly input?: StandardSchemaV1<Given, Input>
  /**
   * What an idempotency key is compared by: the part of the input that the client sent. Leave out what the program adds,
   * like a new id or a fetched rate, which differs when the client tries again. Default: the whole input.
   */
  readonly keyedBy?: (input: Input) => unknown
  /** What `handle` finds in its context besides the library's own: `ofType<{ clock: Clock }>()`. */
  readonly needs?: StandardSchemaV1<unknown, Needs>
  /** The streams that the decision reads. */
  readonly reads: (input: Input) => B
  /** Further streams, found in the states of the first ones. */
  readonly follow?: (
    state: StatesOf<B>,
    input: NoInfer<Input>,
  ) => Follow &
    (B extends AnyStream ? { readonly '~problem': 'follow needs a record of streams in reads' } : unknown)
  /** The decision: events, or a rejection. Runs again after a conflict. */
  readonly handle: (
    state: StatesOf<B & Follow>,
    input: NoInfer<Input>,
    context: ContextOf<B & Follow, Needs>,
  ) => Ret | Promise<Ret>
}

/**
 * Defines a command over one stream or several.
 *
 * `reads` names the consistency boundary: the append is conditional on every stream in it, also on those that are only
 * read. `follow` names more, found in the states of the first. `handle` decides; it must be pure.
 *
 * @example
 * ```ts
 * const close = defineCommand({
 *   reads: (input: { door: string; by: string }) => Door(input.door),
 *   handle: (door, { by }) => (door.open ? Door.events.Closed({ by }) : reject('not-open')),
 * })
 * ```
 */
export function defineCommand<
  B extends Boundary,
  Ret extends Decision<B & Follow>,
  Input = void,
  Needs = {},
  Follow extends Streams = {},
  Given = Input,
  const Name extends string = string,
>(
  definition: CommandDefinition<Input, B, Ret, Needs, Follow, Given, Name>,
): CommandType<Given, WithoutEvents<B & Follow>, Ret, Needs, Name> {
  checkOptions(definition, 'definition', ['name', 'input', 'keyedBy', 'needs', 'reads', 'follow', 'handle'])
  const { name, input: schema, keyedBy, reads, follow, handle } = definition
  if (name !== undefined) checkDefinitionName(name, 'name')
  checkFunction(reads, 'reads', 'a function that returns a stream or a record of streams')
  checkFunction(handle, 'handle', 'a function that returns events or a rejection')
  if (follow !== undefined) checkFunction(follow, 'follow', 'a function that returns a record of streams')
  if (schema !== undefined && !isSchema(schema)) throw new InvalidArgumentError('input', 'a Standard Schema')
  if (keyedBy !== undefined)
    checkFunction(
      keyedBy,
      'keyedBy',
      'a function that returns the part of the input that a key is compared by',
    )
  const commands = new WeakSet<object>()
  const make = (given: Given): Command<B & Follow, Ret, Needs, Name> => {
    const input = validate(schema, given, 'input', 'input') as Input
    const command = {
      name,
      input,
      reads: reads(input) as B & Follow,
      handle: (state: StatesOf<B & Follow>, context: ContextOf<B & Follow, Needs>) =>
        handle(state, input, context),
      keyedBy: keyedBy && (() => keyedBy(input)),
      follow: follow && ((state: StatesOf<B>) => follow(state, input)),
    }
    commands.add(command)
    if (schema !== undefined) givenInputs.set(command, given)
    return command
  }
  return Object.assign(make, {
    commandName: name,
    inputSchema: schema,
    rejected: (error: unknown): error is RejectedError<RejectionsIn<Ret>> =>
      isMnemeError(error) && error.code === 'REJECTED' && error.isOneOf(commands),
  }) as never
}

/** What the caller gave, of commands with a schema: to make the same command again, in another process. */
const givenInputs = new WeakMap<object, unknown>()

/** The input as its caller gave it, before the command's schema. */
export function givenInput(command: { readonly input?: unknown }): unknown {
  return givenInputs.has(command) ? givenInputs.get(command) : command.input
}

/** Streams by key: under each key one stream, an array or a record of streams, a claim, or `undefined`. */
export interface Streams {
  readonly [key: string]:
    AnyStream | readonly AnyStream[] | { readonly [key: string]: AnyStream } | Claim | undefined
}

/**
 * The streams that a decision reads: one stream, or a record of streams, of arrays of streams, or of records of streams.
 * The append is conditional on every one of them, also on those that are only read.
 */
export type Boundary = AnyStream | Streams

/** A state as a decision sees it. Only shallowly `Readonly`, so that it can be passed where the state's own type is expected. */
export type ReadonlyState<State> = State extends { apply(event: never): unknown } ? State : Readonly<State>

/** A boundary without the types of its streams' events, which no command needs: they would fill its hover. */
type WithoutEvents<B> =
  B extends Stream<infer State, infer Types> ? Stream<State, Types> : { [K in keyof B]: WithoutEvents<B[K]> }

/** The states of a boundary, in the same shape. */
export type StatesOf<B> =
  B extends Stream<infer State>
    ? ReadonlyState<State>
    : B extends Claim | undefined
      ? B extends undefined
        ? undefined
        : ClaimState
      : { readonly [K in keyof B]: StatesOf<B[K]> }

/** Events that a decision records on one of its streams. */
export interface OnStream<E = unknown> {
  readonly stream: string
  readonly events: readonly E[]
}

/** The type of `on` in the context of `handle`: for each stream of the boundary, a function that records events on it. */
export type RecordOn<B> = { readonly [K in keyof B]-?: OnOne<Exclude<B[K], undefined>> }
type OnOne<T> =
  T extends Stream<unknown, infer Types>
    ? <E extends readonly Event<Types>[]>(...events: E) => OnStream<E[number]>
    : T extends readonly Stream<unknown, infer Types>[]
      ? <E extends readonly Event<Types>[]>(index: number, ...events: E) => OnStream<E[number]>
      : T extends Claim<infer Name>
        ? OnClaim<Name>
        : T extends { readonly [key: string]: Stream<unknown, infer Types> }
          ? <E extends readonly Event<Types>[]>(key: string, ...events: E) => OnStream<E[number]>
          : never

/** What `on` has for a claim. What its functions return is what `handle` returns, alone or in an array. */
export interface OnClaim<Name extends string> {
  /**
   * Claims the value for an owner, in the same append; a rejection if another owner has it, unless the decision called
   * `release` before. If the owner has it already, nothing is appended.
   */
  claim(
    owner: string,
  ): OnStream<Event<`${Name}.Claimed`, { owner: string }>> | Rejection<'taken', { claim: Name }>
  /**
   * Releases the value, if anybody has claimed it; given an owner, only if it is this one's. A value that the decision
   * releases and claims is claimed in the end, in whichever order `handle` returns the two.
   */
  release(owner?: string): OnStream<Event<`${Name}.Released`, NoData>>
}

/** What the context of `handle` has besides what the command `needs`. */
export interface CommandContext {
  /** 1 at first; one more after each retry. */
  readonly attempt: number
  /** Aborted when the caller of `execute` gave up. */
  readonly signal: AbortSignal
  readonly metadata: Metadata
  /** The head of each stream that the command read, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
}

/** The context of a command over this boundary; for the `handle` of a class: `ContextOf<Transfer['reads']>`. */
export type ContextOf<B, Needs = {}> = CommandContext &
  Needs &
  (B extends AnyStream ? { readonly revision: Revision } : { readonly on: RecordOn<B> })

/** What `handle` may return: events (none, one, several) or a rejection. */
export type Decision<B> =
  | (B extends Stream<unknown, infer Types>
      ? Event<Types> | readonly Event<Types>[]
      : OnStream | WithoutOn | readonly (OnStream | WithoutOn | Rejection<string, object>)[])
  | Rejection<string, object>

/** What the compiler says of an event that is returned without `on`. There is no such value. */
interface WithoutOn {
  readonly type: 'this event is on no stream: return on.<key>(event), with the key of its stream in reads'
  readonly data: never
}

/** The events in what `handle` returns. */
export type EventsIn<Ret> = Ret extends readonly (infer E)[]
  ? EventsIn<E>
  : Ret extends OnStream<infer E>
    ? E
    : Ret extends Event
      ? Ret
      : never

/** The rejections in what `handle` returns. */
export type RejectionsIn<Ret> =
  Ret extends Rejection<infer Reason, infer Detail>
    ? Simplify<{ readonly reason: Reason } & Detail>
    : Ret extends readonly (infer Item)[]
      ? RejectionsIn<Item>
      : never
type Simplify<T> = { [K in keyof T]: T[K] } & {}

/** A rejection, by a rule of the domain: what `handle` returns instead of events. */
export interface Rejection<Reason extends string = string, Detail = {}> {
  readonly rejection: { readonly reason: Reason } & Detail
}

/** Rejects a command, with a reason that narrows by type. Nothing is appended. */
export function reject<const Reason extends string>(reason: Reason): Rejection<Reason>
/** Rejects a command, with details for the caller. */
export function reject<const Reason extends string, Detail extends object & { readonly reason?: never }>(
  reason: Reason,
  detail: Detail,
): Rejection<Reason, Detail>
export function reject(reason: string, detail?: object): Rejection {
  if (typeof (reason as unknown) !== 'string') throw new InvalidArgumentError('reason', 'a string')
  return Object.freeze({ rejection: Object.freeze({ ...detail, reason }) })
}

/** Whether `handle` returned a rejection. */
export function isRejection(value: unknown): value is Rejection {
  return typeof value === 'object' && value !== null && 'rejection' in value
}
