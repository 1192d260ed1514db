import { checkList, checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { StandardSchemaV1 } from '../base/standard-schema.ts'
import type { CommandType, EventsIn, RejectionsIn } from '../model/command.ts'
import { type AnyEventType, eventTypeRecord } from '../model/event-type.ts'
import { checkDefinitionName } from '../model/names.ts'
import { checkSummary, checkTitle } from './texts.ts'

/** What has a category of streams: an aggregate, or a claim. */
export interface HasCategory {
  readonly category: string
}

/** What `describeCommand` takes beside the command. */
export interface CommandDescription<
  Writes extends readonly AnyEventType[],
  Reasons extends readonly string[],
> {
  /** Its name in the catalogue. Default: the name of its definition. */
  readonly name?: string | undefined
  /** A sentence on what it does. */
  readonly summary?: string | undefined
  /** The aggregates and claims whose streams it reads. */
  readonly reads?: readonly HasCategory[] | undefined
  /** The events that it writes: exactly those that its `handle` can return. */
  readonly writes: Writes
  /** The reasons for which it rejects: exactly those that its `handle` can return. */
  readonly rejects: Reasons
}

/** A command with what it reads and writes. Made by `describeCommand`. */
export interface DescribedCommand {
  readonly name: string
  readonly summary: string | undefined
  readonly reads: readonly string[] | undefined
  readonly writes: readonly string[]
  readonly rejects: readonly string[]
  readonly inputSchema: StandardSchemaV1 | undefined
}

/** Refuses a description that is not what `handle` returns, with a sentence that the compiler prints. */
export type CheckDescription<
  Ret,
  Writes extends readonly AnyEventType[],
  Reasons extends readonly string[],
> = Differs<'writes', TypesIn<Ret>, Writes[number]['type']> &
  Differs<'rejects', ReasonsIn<Ret>, Reasons[number]>

/** The types are known only to the compiler, which therefore compares them. Of any text, it knows nothing. */
type Differs<Key extends string, Returned extends string, Described extends string> = string extends Returned
  ? unknown
  : [Exclude<Returned, Described>] extends [never]
    ? [Exclude<Described, Returned>] extends [never]
      ? unknown
      : {
          readonly '~problem': `handle never returns this, so '${Key}' must not have it: ${Exclude<Described, Returned>}`
        }
    : {
        readonly '~problem': `handle returns this, so '${Key}' must have it: ${Exclude<Returned, Described>}`
      }
type TypesIn<Ret> = EventsIn<Ret> extends { readonly type: infer Type extends string } ? Type : never
type ReasonsIn<Ret> =
  RejectionsIn<Ret> extends { readonly reason: infer Reason extends string } ? Reason : never

const described = new WeakSet<object>()

/**
 * Describes a command for the catalogue. What a command writes follows from its `handle`, which only the compiler
 * sees: so it is written down once more, and the compiler compares.
 *
 * @throws InvalidArgumentError if the command has no name.
 * @example
 * ```ts
 * const described = describeCommand(close, {
 *   name: 'door.close',
 *   reads: [Door],
 *   writes: [Door.events.Closed],
 *   rejects: ['not-open'],
 * })
 * ```
 */
export function describeCommand<
  Input,
  B,
  Ret,
  Needs,
  Name extends string,
  const Writes extends readonly AnyEventType[],
  const Reasons extends readonly string[],
>(
  command: CommandType<Input, B, Ret, Needs, Name>,
  description: CommandDescription<Writes, Reasons> & CheckDescription<Ret, Writes, Reasons>,
): DescribedCommand {
  checkOptions(description as CommandDescription<Writes, Reasons>, 'description', [
    ...(['name', 'summary', 'reads', 'writes', 'rejects'] as const),
  ])
  if (typeof (command as unknown) !== 'function') {
    throw new InvalidArgumentError('command', 'a command that defineCommand returned')
  }
  const { name = command.commandName, summary, reads, writes, rejects } = description
  if (name === undefined) {
    const message =
      "a command without a name cannot be described: give its definition a name, or give 'name' here"
    throw new InvalidArgumentError('name', { message })
  }
  checkDefinitionName(name, 'name')
  const result: DescribedCommand = {
    name,
    summary: checkSummary(summary, 'summary'),
    reads: checkList(reads, 'reads', categoryIn),
    writes: checkList(writes, 'writes', (type) => eventTypeRecord(type).type) ?? [],
    rejects: checkList(rejects, 'rejects', checkTitle) ?? [],
    inputSchema: command.inputSchema,
  }
  described.add(result)
  return result
}

export function isDescribed(value: object): value is DescribedCommand {
  return described.has(value)
}

function categoryIn(value: HasCategory, argument: string): string {
  const { category } = Object(value) as { readonly category?: unknown }
  if (typeof category === 'string') return category
  throw new InvalidArgumentError(argument, 'an aggregate or a claim')
}
