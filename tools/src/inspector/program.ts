import type { AnyAggregate, StandardSchemaV1 } from 'mneme'
import {
  catalogue,
  describeCommand,
  type DescribedCommand,
  type JsonSchema,
  type ToJsonSchema,
} from 'mneme/catalogue'

/** What the inspector knows of the program that writes the store. */
export interface Program {
  readonly aggregates: readonly NamedAggregate[]
  readonly commands: readonly NamedCommand[]
  readonly needs: object
}

/** An aggregate, by the name that the page shows. */
export interface NamedAggregate {
  readonly name: string
  readonly aggregate: AnyAggregate
}

/** A command, by the name that the page shows. */
interface NamedCommand {
  readonly name: string
  readonly command: InspectedCommand
  readonly schema: JsonSchema | undefined
}

/** Any command that `defineCommand` returned. */
export interface InspectedCommand {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever its input
  (input: any): { readonly reads: unknown }
  readonly commandName: string | undefined
  readonly inputSchema: StandardSchemaV1 | undefined
}

/** Definitions in a list, or in an object that names them. */
export type Definitions<T> = readonly T[] | Readonly<Record<string, T>>

/** What the inspector is told of the program. */
export interface ProgramOptions {
  /** Its aggregates, by which states are folded. Default: none. */
  readonly aggregates?: Definitions<AnyAggregate> | undefined
  /** Its commands, to be tried: a list of commands with names, or an object that names them. Default: none. */
  readonly commands?: Definitions<InspectedCommand> | undefined
  /** What its commands need, for trials. Default: nothing. */
  readonly needs?: object | undefined
  /** JSON Schemas for a library that does not make them by Standard JSON Schema, like Valibot: for the forms of commands. */
  readonly jsonSchema?: ToJsonSchema | undefined
}

/** @throws TypeError */
export function checkProgram({ aggregates, commands, needs = {}, jsonSchema }: ProgramOptions): Program {
  if (typeof needs !== 'object' || (needs as unknown) === null)
    throw new TypeError('needs has to be an object')
  return {
    aggregates: namedIn(aggregates, ({ category }) => String(category)).map(([name, aggregate], i) => {
      if (isAggregate(aggregate)) return { name, aggregate }
      throw new TypeError(`aggregates[${String(i)}] has to be an aggregate, made by defineAggregate`)
    }),
    commands: namedIn(commands, ({ commandName }) => commandName).map(([name, command], i) => {
      if (!isCommand(command)) {
        throw new TypeError(`commands[${String(i)}] has to be a command, made by defineCommand`)
      }
      if (name === undefined) {
        throw new TypeError(
          `commands[${String(i)}] has no name: give the commands as an object that names them`,
        )
      }
      return { name, command, schema: schemaOf(command, jsonSchema) }
    }),
    needs,
  }
}

function schemaOf(command: InspectedCommand, jsonSchema: ToJsonSchema | undefined): JsonSchema | undefined {
  // The compiler compares what a description says; this one says nothing but a name that the catalogue takes.
  const describe = describeCommand as (command: never, description: object) => DescribedCommand
  const described = describe(command as never, { name: 'command', writes: [], rejects: [] })
  const { commands } = catalogue({ aggregates: [], commands: [described], jsonSchema })
  return commands.command?.schema
}

function namedIn<T, Name extends string | undefined>(
  definitions: Definitions<T> = [],
  nameOf: (one: T) => Name,
): [string | Name, T][] {
  if (Array.isArray(definitions)) return definitions.map((one: T) => [nameOf(Object(one) as T), one])
  return Object.entries(definitions)
}

/** Whether a value is an aggregate. */
export function isAggregate(value: unknown): value is AnyAggregate {
  return typeof value === 'function' && 'decode' in value && 'evolve' in value && 'idOf' in value
}

/** Whether a value is a command that `defineCommand` returned. */
export function isCommand(value: unknown): value is InspectedCommand {
  return (
    typeof value === 'function' && 'commandName' in value && 'inputSchema' in value && 'rejected' in value
  )
}
