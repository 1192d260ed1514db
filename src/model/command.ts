import type { Boundary, ContextOf, Decision, RejectionsIn, StatesOf, Streams } from './boundary.ts'
import { checkOptions } from '../store/arguments.ts'
import { InvalidArgumentError, Rejected } from '../base/errors.ts'
import { isSchema, validate } from './event-type.ts'
import { checkDefinitionName } from './names.ts'
import type { StandardSchemaV1 } from '../base/standard-schema.ts'
import type { AnyStream } from './stream.ts'

/**
 * A command ready to execute: what it reads, and how it decides. Any object or class with these two members is
 * one, with nothing to inherit.
 */
export interface Command<B, Ret, Needs = {}> {
  /** What the decision stands on. */
  readonly reads: B
  /**
   * The decision: events, or a rejection. Pure: it may run several times for one command. Nothing that it
   * does is kept but what it returns. An error that it throws on a state that still stands passes through.
   */
  handle(state: StatesOf<B>, context: ContextOf<B, Needs>): Ret | Promise<Ret>
  /** Further streams, known only from the states of the first ones. */
  follow?: ((state: never) => Streams) | undefined
  /** What the command is called; part of what an idempotency key is compared by, where there is one. */
  readonly name?: string | undefined
  /**
   * What an idempotency key is compared by: the same key with another input is an error. Of a class, all its
   * own fields, where it is left out.
   */
  readonly input?: unknown
}

/** A command that takes its input: what `defineCommand` returns. */
export interface CommandType<Input, B, Ret, Needs = {}> {
  /** @throws InvalidDataError where the command has a schema for its input, and that refuses it. */
  (input: Input): Command<B, Ret, Needs>
  /** Narrows what `execute` throws to the rejections of this command. */
  rejected(error: unknown): error is Rejected<RejectionsIn<Ret>>
}

/** The rejections of a command or of its type. */
export type RejectionOf<C> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- any command, whatever it reads and needs
  C extends CommandType<any, any, infer Ret, any>
    ? RejectionsIn<Ret>
    : // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
      C extends Command<any, infer Ret, any>
      ? RejectionsIn<Ret>
      : never

/**
 * Defines a command over one stream or several.
 *
 * `reads` names the consistency boundary: the append is conditional on every stream in it, those only read
 * included. `follow` names more, found in the states of the first. `handle` decides; it must be pure.
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
>(definition: {
  /**
   * What the command is called. Part of what an idempotency key is compared by, so that the same key with
   * another command is an error; like an event's name, it is not to be changed.
   */
  readonly name?: string
  /**
   * A schema for the input, instead of an annotation in `reads`: what is given is checked with it, and what it
   * returns is the input.
   */
  readonly input?: StandardSchemaV1<Given, Input>
  /** What `handle` finds in its context besides the library's own: `type<{ clock: Clock }>()`. */
  readonly needs?: StandardSchemaV1<unknown, Needs>
  /** What the decision stands on. */
  readonly reads: (input: Input) => B
  /** More streams, known only from the states of those. */
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
}): CommandType<Given, B & Follow, Ret, Needs> {
  checkOptions(definition, 'definition', ['name', 'input', 'needs', 'reads', 'follow', 'handle'])
  const { name, input: schema, reads, follow, handle } = definition
  if (name !== undefined) checkDefinitionName(name, 'name')
  if (typeof reads !== 'function')
    throw new InvalidArgumentError('reads', 'a function from the input to streams')
  if (typeof handle !== 'function') throw new InvalidArgumentError('handle', 'a function that decides')
  if (follow !== undefined && typeof (follow as unknown) !== 'function') {
    throw new InvalidArgumentError('follow', 'a function from the states to further streams')
  }
  if (schema !== undefined && !isSchema(schema)) throw new InvalidArgumentError('input', 'a Standard Schema')
  const commands = new WeakSet<object>()
  const make = (given: Given): Command<B & Follow, Ret, Needs> => {
    const input = validate(schema, given, 'input', 'input') as Input
    const command = {
      name,
      input,
      reads: reads(input) as B & Follow,
      handle: (state: StatesOf<B & Follow>, context: ContextOf<B & Follow, Needs>) =>
        handle(state, input, context),
      follow: follow && ((state: StatesOf<B>) => follow(state, input)),
    }
    commands.add(command)
    return command
  }
  return Object.assign(make, {
    rejected: (error: unknown): error is Rejected<RejectionsIn<Ret>> =>
      error instanceof Rejected && error.isOneOf(commands),
  })
}
