import { checkList, checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { type AnyEventType, eventTypeRecord } from '../model/event-type.ts'
import type { PersonalField } from '../model/personal.ts'
import { definedProjection, type Projection } from '../projections/projection.ts'
import { DefinedReaction, type Reaction } from '../reactions/reaction.ts'
import { DefinedRelay, type Relay } from '../reactions/relay.ts'
import type { AnyCommandType } from '../reactions/spec.ts'
import { type DescribedCommand, isDescribed } from './describe.ts'
import { showSchema, type ShownSchema, type ToJsonSchema } from './json-schema.ts'

/** An aggregate or a claim: what has streams of a category, and events on them. */
export interface CatalogueSource {
  readonly category: string
  readonly events: Readonly<Record<string, AnyEventType>>
}

/** The definitions of a program. */
export interface ProgramModel {
  /** Its aggregates, and its claims. */
  readonly aggregates: readonly CatalogueSource[]
  /** Commands with a name, or described by `describeCommand`. */
  readonly commands?: readonly (CatalogueCommandType | DescribedCommand)[] | undefined
  readonly projections?: readonly Projection[] | undefined
  readonly reactions?: readonly Reaction<never>[] | undefined
  readonly relays?: readonly Relay[] | undefined
  /** JSON Schemas for a library that does not make them by Standard JSON Schema, like Valibot. */
  readonly jsonSchema?: ToJsonSchema | undefined
}

/** Any command that `defineCommand` returned. */
export interface CatalogueCommandType extends AnyCommandType {
  readonly inputSchema: DescribedCommand['inputSchema']
}

/** What a program consists of: plain JSON, sorted, to be published or committed. */
export interface Catalogue {
  /** `'mneme catalogue 1'`. */
  readonly format: string
  /** Aggregates and claims, with the types of their events. */
  readonly aggregates: { readonly [name: string]: { readonly events: readonly string[] } }
  readonly events: { readonly [type: string]: CatalogueEvent }
  readonly commands: { readonly [name: string]: CatalogueCommand }
  readonly projections: { readonly [name: string]: CatalogueFollower }
  readonly reactions: { readonly [name: string]: CatalogueReaction }
  readonly relays: { readonly [name: string]: CatalogueFollower }
}

/** A type of event. `schema` is that of its stored data, in its newest version. */
export interface CatalogueEvent extends ShownSchema {
  readonly version: number
  /** The names under which older programs wrote it. */
  readonly formerly: readonly string[]
  /** The aggregates on whose streams it is. */
  readonly aggregates: readonly string[]
  /** The paths of its personal fields. They are stored sealed; `schema` shows the plain values. */
  readonly personal: readonly string[]
  /** The commands that write it, as far as they are described. */
  readonly writtenBy: readonly string[]
  readonly projections: readonly string[]
  readonly reactions: readonly string[]
  readonly relays: readonly string[]
}

/** A command. `schema` is that of its input. What is absent is not known: see `describeCommand`. */
export interface CatalogueCommand extends ShownSchema {
  readonly summary?: string
  /** The aggregates that it reads. */
  readonly reads?: readonly string[]
  /** The types of the events that it writes. */
  readonly writes?: readonly string[]
  /** The reasons for which it rejects. */
  readonly rejects?: readonly string[]
  /** The reactions that call it. */
  readonly reactions: readonly string[]
}

/** A projection or a relay, with the types of the events that it handles. */
export interface CatalogueFollower {
  readonly version: number
  readonly events: readonly string[]
}

/** A reaction, with the commands that it may call. */
export interface CatalogueReaction extends CatalogueFollower {
  readonly commands: readonly string[]
}

const FORMAT = 'mneme catalogue 1'

/**
 * Lists what a program consists of: aggregates, events with their versions, schemas and former names, commands,
 * projections, reactions, and what handles what.
 *
 * @throws InvalidArgumentError if something is no definition, or two have the same name.
 * @example
 * ```ts
 * const model = catalogue({ aggregates: [Door], projections: [doors] })
 * console.log(JSON.stringify(model, null, 2))
 * ```
 */
export function catalogue(model: ProgramModel): Catalogue {
  checkOptions(model, 'model', ['aggregates', 'commands', 'projections', 'reactions', 'relays', 'jsonSchema'])
  const { jsonSchema } = model
  if (jsonSchema !== undefined) checkFunction(jsonSchema, 'jsonSchema')
  const aggregates = byName(checkList(model.aggregates, 'aggregates', sourceOf), 'aggregates')
  const types = eventTypesOf(aggregates)
  const present = new Map(
    [...types.values()].flatMap(({ formerly, type }) => formerly.map((name) => [name, type] as const)),
  )
  const projections = byName(checkList(model.projections, 'projections', projectionOf), 'projections')
  const reactions = byName(checkList(model.reactions, 'reactions', reactionOf), 'reactions')
  const relayIn = (relay: Relay, argument: string) => relayOf(relay, argument, present)
  const relays = byName(checkList(model.relays, 'relays', relayIn), 'relays')
  const commands = byName(checkList(model.commands, 'commands', commandOf), 'commands')
  const handling = (list: ReadonlyMap<string, CatalogueFollower>, type: string) =>
    [...list].filter(([, { events }]) => events.includes(type)).map(([name]) => name)
  return {
    format: FORMAT,
    aggregates: record(aggregates, ({ events }) => ({ events: Object.values(events).map(typeOf).sort() })),
    events: record(types, ({ type, version, formerly, personal, schema }) => ({
      version,
      formerly: [...formerly].sort(),
      aggregates: [...aggregates.values()].filter((source) => hasType(source, type)).map(nameOf),
      personal: pathsOf(personal.at(-1) ?? []).sort(),
      writtenBy: [...commands.values()].filter(({ writes }) => writes?.includes(type)).map(nameOf),
      projections: handling(projections, type),
      reactions: handling(reactions, type),
      relays: handling(relays, type),
      ...showSchema(schema, 'output', jsonSchema),
    })),
    commands: record(commands, ({ name, summary, reads, writes, rejects, inputSchema }) => ({
      ...(summary !== undefined && { summary }),
      ...(reads && { reads: [...reads].sort() }),
      ...(writes && { writes: [...writes].sort() }),
      ...(rejects && { rejects: [...rejects].sort() }),
      reactions: [...reactions.values()].filter(({ commands }) => commands.includes(name)).map(nameOf),
      ...showSchema(inputSchema, 'input', jsonSchema),
    })),
    projections: record(projections, ({ version, events }) => ({ version, events })),
    reactions: record(reactions, ({ version, events, commands }) => ({ version, events, commands })),
    relays: record(relays, ({ version, events }) => ({ version, events })),
  }
}

interface Named {
  readonly name: string
}

function sourceOf(source: CatalogueSource, argument: string): CatalogueSource & Named {
  const { category, events } = Object(source) as Partial<CatalogueSource>
  if (typeof category !== 'string' || typeof events !== 'object' || (events as unknown) === null) {
    throw new InvalidArgumentError(argument, 'an aggregate or a claim')
  }
  return { name: category, category, events }
}

/** The events of all sources, once each. */
function eventTypesOf(sources: ReadonlyMap<string, CatalogueSource>) {
  const types = new Map<string, ReturnType<typeof eventTypeRecord>>()
  for (const { events } of sources.values()) {
    for (const eventType of Object.values(events)) {
      const record = eventTypeRecord(eventType)
      const known = types.get(record.type)
      if (known !== undefined && known !== record) {
        throw new InvalidArgumentError('aggregates', {
          message: `two events have the type '${record.type}'; share one of them, or rename the other`,
        })
      }
      types.set(record.type, record)
    }
  }
  return new Map([...types].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function hasType({ events }: CatalogueSource, type: string): boolean {
  return Object.values(events).some((eventType) => eventType.type === type)
}

function pathsOf(fields: readonly PersonalField[], parent = ''): string[] {
  return fields.flatMap(({ key, subjectOf, fields }) =>
    subjectOf ? [`${parent}${key}`] : pathsOf(fields, `${parent}${key}.`),
  )
}

function projectionOf(projection: Projection, argument: string): CatalogueFollower & Named {
  const defined = definedProjection(projection)
  if (!defined) throw new InvalidArgumentError(argument, 'a projection, made by defineProjection')
  const { name, version, handlers } = defined.definition
  return { name, version, events: [...handlers.keys()].sort() }
}

function reactionOf(reaction: Reaction<never>, argument: string): CatalogueReaction & Named {
  if (!(reaction instanceof DefinedReaction)) {
    const isRelay = (reaction as unknown) instanceof DefinedRelay
    const message = `${argument} is a relay: give it among the relays`
    throw new InvalidArgumentError(argument, isRelay ? { message } : 'a reaction, made by defineReaction')
  }
  const { name, version, on, commands } = reaction.spec
  return { name, version, events: [...on.keys()].sort(), commands: [...commands.keys()].sort() }
}

function relayOf(
  relay: Relay,
  argument: string,
  present: ReadonlyMap<string, string>,
): CatalogueFollower & Named {
  if (!(relay instanceof DefinedRelay)) {
    throw new InvalidArgumentError(argument, 'a relay, made by defineRelay')
  }
  const { name, version, selection } = relay.spec
  const types = (selection.filter.types ?? []).map((type) => present.get(type) ?? type)
  return { name, version, events: [...new Set(types)].sort() }
}

type Command = Named & Partial<Omit<DescribedCommand, 'name'>>

function commandOf(command: CatalogueCommandType | DescribedCommand, argument: string): Command {
  if (typeof command !== 'function') {
    if (typeof command === 'object' && (command as unknown) !== null && isDescribed(command)) return command
    throw new InvalidArgumentError(argument, 'a command, made by defineCommand or describeCommand')
  }
  const { commandName: name, inputSchema } = command
  if (name !== undefined) return { name, inputSchema }
  throw new InvalidArgumentError(argument, {
    message: `${argument} has no name: give its definition one, or describeCommand(command, { name, … })`,
  })
}

/** The items by their names, sorted. @throws InvalidArgumentError if two have the same name. */
function byName<T extends Named>(items: readonly T[] | undefined, argument: string): Map<string, T> {
  const sorted = new Map<string, T>()
  for (const item of [...(items ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (sorted.has(item.name)) {
      throw new InvalidArgumentError(argument, {
        message: `${argument} has the name '${item.name}' twice; name each once`,
      })
    }
    sorted.set(item.name, item)
  }
  return sorted
}

function record<T, R>(items: ReadonlyMap<string, T>, show: (item: T) => R): Record<string, R> {
  return Object.fromEntries([...items].map(([name, item]) => [name, show(item)]))
}

function nameOf({ name }: Named): string {
  return name
}

function typeOf({ type }: AnyEventType): string {
  return type
}

/** @throws InvalidArgumentError */
export function checkCatalogue(given: Catalogue, argument: string): Catalogue {
  const { format } = Object(given) as Partial<Catalogue>
  if (format !== FORMAT) throw notReturned(argument)
  for (const [part, lists] of Object.entries(PARTS)) {
    const items = given[part as keyof typeof PARTS] as unknown
    if (typeof items !== 'object' || items === null) throw notReturned(`${argument}.${part}`)
    for (const [name, item] of Object.entries(items)) {
      const isWhole = lists.every((list) => Array.isArray((Object(item) as Record<string, unknown>)[list]))
      if (!isWhole) throw notReturned(`${argument}.${part}['${name}']`)
    }
  }
  return given
}

/** The parts of a catalogue, and the lists that each of their items has. */
const PARTS = {
  aggregates: ['events'],
  events: ['formerly', 'aggregates', 'personal', 'writtenBy', 'projections', 'reactions', 'relays'],
  commands: ['reactions'],
  projections: ['events'],
  reactions: ['events', 'commands'],
  relays: ['events'],
}

function notReturned(argument: string): InvalidArgumentError {
  return new InvalidArgumentError(argument, `what catalogue() returned, of the format '${FORMAT}'`)
}
