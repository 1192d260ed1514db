import { InvalidArgumentError } from '../base/errors.ts'
import { refuseOtherCopy } from '../base/copies.ts'
import { checkFunction } from '../base/functions.ts'
import {
  type AnyEventType,
  type CheckDefinitions,
  type DataOf,
  defineEvents,
  type EventDefinitions,
  eventTypeRecord,
  type EventTypeRecord,
  type EventTypes,
  isSchema,
  type Payload,
  type TypeOf,
  validate,
} from './event-type.ts'
import type { Recorded, StreamEvent } from './event.ts'
import { categoryOf, checkDefinitionName } from './names.ts'
import { decode } from './upcast.ts'
import type { StandardSchemaV1 } from '../base/standard-schema.ts'
import type { AnyStream, Fold, SnapshotPlan, Stream } from './stream.ts'
import { type ConvertedSnapshots, type PlainSnapshots, snapshotPlan } from './snapshot.ts'

/**
 * A kind of entity, each with a stream of its own: its events, and how its state follows from them. Called with an id, it
 * names a stream.
 */
export interface Aggregate<Name extends string, State, Events, Id = string> {
  (id: Id): AggregateStream<Name, State, Events>
  /** The category of its streams, whose names are `<category>-<id>`. */
  readonly category: Name
  /** The constructors of its events. */
  readonly events: EventTypes<Name, Events>
  readonly initial: () => State
  /** One step of the fold: the state after one more event. */
  readonly evolve: (state: State, event: StreamEventIn<Name, Events>) => State
  /**
   * A stored event under its current name and version; `undefined` if it is not one of this aggregate's. For the events
   * of `readAll` and `subscribe`, which come as they are stored.
   *
   * @throws UnknownEventError if it is on a stream of the aggregate, but its type or version is unknown here.
   * @throws FoldError if an upcast throws.
   * @example
   * ```ts
   * for await (const stored of store.readAll()) {
   *   const event = Door.decode(stored)
   *   if (event?.type === 'Door.Closed') console.log(event.data.by)
   * }
   * ```
   */
  readonly decode: (event: Recorded) => RecordedIn<Name, Events> | undefined
  /**
   * The id in the name of a stream; `undefined` if the stream is not one of this aggregate's. The id is not checked: a
   * schema's output and a function's text are returned as they stand in the name.
   *
   * @example
   * ```ts
   * Door.idOf('Door-front') // 'front'
   * ```
   */
  readonly idOf: (stream: string | AnyStream) => IdText<Id> | undefined
}

declare const events: unique symbol

/** A stream that an aggregate names, which knows the types of its events. */
export interface AggregateStream<Name extends string, State, Events> extends Stream<
  State,
  Accepts<Name, Events>
> {
  /** Never a value: the types of the events, by which reading them is typed. */
  readonly [events]?: readonly [Name, Events]
}

/** An id as it stands in the name of a stream: what a function made of it, if it is no string. */
type IdText<Id> = [Id] extends [never] ? string : Id extends string ? Id : string

/** The union of an aggregate's events, as recorded. */
export type RecordedIn<Name extends string, E> = {
  [K in keyof E]: Recorded<TypeOf<Name, K, E[K]>, DataOf<E[K]>>
}[keyof E]

/** The union of an aggregate's events, as `apply` sees them. */
export type StreamEventIn<Name extends string, E> = {
  [K in keyof E]: StreamEvent<TypeOf<Name, K, E[K]>, DataOf<E[K]>>
}[keyof E]

/** The event types of a stream: its own by prefix (short in messages, cheap to check), and those of other aggregates. */
type Accepts<Name extends string, E> =
  `${Name}.${string}` | { [K in keyof E]: E[K] extends AnyEventType ? E[K]['type'] : never }[keyof E]

/** Any aggregate. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- every aggregate: its parameters are invariant
export type AnyAggregate = Aggregate<any, any, any, any>
/** The state of an aggregate or of a stream. */
export type StateOf<A> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  A extends Aggregate<any, infer State, any, any> ? State : A extends Stream<infer State> ? State : never
/** The union of the events of an aggregate or of a stream, as recorded; of a stream's name, any event. */
export type EventsOf<A> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  A extends Aggregate<infer Name, any, infer Events, any>
    ? RecordedIn<Name, Events>
    : // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
      A extends AggregateStream<infer Name, any, infer Events>
      ? string extends Name
        ? Recorded
        : RecordedIn<Name, Events>
      : A extends string | AnyStream
        ? Recorded
        : never

declare const literals: unique symbol
/** Never a value. In a union with the state it makes TypeScript keep literals ('paid' rather than string). */
interface KeepLiterals {
  readonly [literals]: never
  readonly [key: string]: '' | {} | null | undefined
}

interface AggregateBase<Name extends string, D, Id> {
  /** The category of its streams, and the prefix of its event types. Letters, digits, `_` and `.`. */
  readonly name: Name
  /** The type of the id: a Standard Schema, or a function to a string. Default: a string. */
  readonly id?: StandardSchemaV1<unknown, Id> | ((id: Id) => string)
  /** Its events by their short names. */
  readonly events: D & CheckDefinitions<D>
}

/** What `defineAggregate` takes. */
export interface AggregateDefinition<
  Name extends string,
  D,
  State,
  Id,
  SnapshotJson = unknown,
> extends AggregateBase<Name, D, Id> {
  /** The state before the first event. */
  readonly initial: () => State
  /**
   * How each event changes the state: pure functions that return the next state. They see neither position nor time of
   * an event, because a decision's events are folded before they are stored. Put times that the domain needs into the
   * event's data.
   */
  readonly apply: {
    readonly [K in keyof D]: (
      state: Readonly<State>,
      data: DataOf<Payload<D[K]>>,
      event: StreamEvent<TypeOf<Name, K, D[K]>, DataOf<Payload<D[K]>>>,
    ) => NoInfer<State> | KeepLiterals
  }
  /**
   * Keeps a state of a long stream beside the log from time to time, so that a later load folds only the events after it.
   * Default: no snapshots.
   */
  readonly snapshot?: PlainSnapshots | ConvertedSnapshots<NoInfer<State>, SnapshotJson> | undefined
}

/**
 * Defines an aggregate: its events, and how its state follows from them. States are deeply frozen.
 *
 * @throws InvalidArgumentError if a name is not usable, or an event has no `apply`.
 * @example
 * ```ts
 * const Door = defineAggregate({
 *   name: 'Door',
 *   events: { Opened: event(), Closed: event<{ by: string }>() },
 *   initial: () => ({ open: false }),
 *   apply: { Opened: () => ({ open: true }), Closed: () => ({ open: false }) },
 * })
 * const front = Door('front') // the stream 'Door-front'
 * ```
 */
export function defineAggregate<
  const Name extends string,
  D extends EventDefinitions,
  State,
  Id = string,
  SnapshotJson = unknown,
>(
  definition: AggregateDefinition<Name, D, State, Id, SnapshotJson>,
): Aggregate<Name, State, { [K in keyof D]: Payload<D[K]> }, Id> {
  const { initial } = definition
  const apply = definition.apply as unknown as Readonly<Record<string, Step>>
  const events = ownEvents(definition)
  checkFunction(initial, 'initial', 'a function that returns the state before the first event')
  if (typeof (apply as unknown) !== 'object' || (apply as unknown) === null) {
    throw new InvalidArgumentError('apply', 'an object with a function for each event')
  }
  const steps = new Map<string, Step>()
  for (const [key, eventType] of Object.entries(events)) {
    const step = Object.hasOwn(apply, key) ? apply[key] : undefined
    checkFunction(step, `apply.${key}`)
    steps.set(eventType.type, step!)
  }
  for (const key of Object.keys(apply)) {
    if (Object.hasOwn(events, key)) continue
    const message = `apply.${key} belongs to no event; known events: ${Object.keys(events).join(', ')}`
    throw new InvalidArgumentError(`apply.${key}`, { message })
  }
  return makeAggregate(definition, events, {
    initial,
    evolve: (state, event) => {
      const next = steps.get(event.type)?.(state, event.data, event)
      if (next === undefined) throw new TypeError('apply must return the next state, but returned undefined')
      return next
    },
    isolation: 'freeze',
    snapshot: planOf(definition, initial, false),
  }) as never
}

type Step = (state: never, data: unknown, event: StreamEvent) => unknown

/** A state whose `apply(event)` changes the instance. */
export interface MutableState<Event> {
  apply(event: Event): unknown
  /** A copy that shares nothing mutable with this state: each decision gets one. */
  clone(): unknown
}

/** What `aggregateFromClass` takes. */
export interface ClassAggregateDefinition<
  Name extends string,
  D,
  State,
  Id,
  SnapshotJson = unknown,
> extends AggregateBase<Name, D, Id> {
  /** A class whose `apply(event)` changes the instance. */
  readonly state: new () => State
  /** As in `defineAggregate`; `toJson` and `fromJson` say what of an instance is kept. */
  readonly snapshot?: ConvertedSnapshots<NoInfer<State>, SnapshotJson> | undefined
}

/**
 * Like {@link defineAggregate}, for a state class whose `apply(event)` changes the instance. Every decision gets a copy of
 * its own, made by the class's `clone()`.
 */
export function aggregateFromClass<
  const Name extends string,
  D extends EventDefinitions,
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- refined below: `D` is inferred first
  State extends MutableState<any>,
  Id = string,
  SnapshotJson = unknown,
>(
  definition: ClassAggregateDefinition<Name, D, State, Id, SnapshotJson> & {
    readonly state: new () => MutableState<StreamEventIn<Name, { [K in keyof D]: Payload<D[K]> }>>
  },
): Aggregate<Name, State, { [K in keyof D]: Payload<D[K]> }, Id> {
  const State = definition.state as unknown as new () => MutableState<StreamEvent>
  if (typeof (State as unknown) !== 'function') {
    throw new InvalidArgumentError('state', 'a class with apply(event) and clone()')
  }
  const initial = () => checkedState(new State(), definition.name)
  return makeAggregate(definition, ownEvents(definition), {
    initial,
    evolve: (state: MutableState<StreamEvent>, event) => {
      state.apply(event)
      return state
    },
    isolation: 'copy',
    snapshot: planOf(definition, initial, true),
  }) as never
}

function planOf(
  { name, snapshot }: { readonly name: string; readonly snapshot?: unknown },
  initial: () => unknown,
  isClass: boolean,
): SnapshotPlan<unknown> | undefined {
  return snapshot === undefined ? undefined : snapshotPlan(name, snapshot as never, { initial, isClass })
}

function checkedState(state: MutableState<StreamEvent>, name: string): MutableState<StreamEvent> {
  for (const method of ['apply', 'clone'] as const) {
    if (typeof (state[method] as unknown) !== 'function') {
      const why = method === 'clone' ? ': each decision gets a copy of the state' : ''
      throw new InvalidArgumentError('state', {
        message: `the state class of ${name} needs ${method}()${why}`,
      })
    }
    checkFunction(
      (state as Readonly<Record<typeof method, unknown>>)[method],
      `${method} of the state class of ${name}`,
    )
  }
  return state
}

function ownEvents(definition: { name: string; events: EventDefinitions }): Record<string, AnyEventType> {
  checkDefinitionName(definition.name, 'name')
  return defineEvents(definition.name, definition.events as never)
}

function makeAggregate(
  { name, id }: { readonly name: string; readonly id?: unknown },
  events: Readonly<Record<string, AnyEventType>>,
  fold: Omit<Fold<unknown>, 'eventTypes'>,
): unknown {
  const eventTypes = knownEventTypes(events)
  const complete: Fold<unknown> = Object.freeze({ ...fold, eventTypes })
  const types = Object.freeze(Object.values(events).map(({ type }) => type))
  const idOf = idReader(name, id)
  const aggregate = (value: unknown) =>
    Object.freeze({ stream: `${name}-${idOf(value)}`, fold: complete, types })
  folds.set(aggregate, complete)
  return Object.assign(aggregate, {
    category: name,
    events,
    initial: fold.initial,
    idOf: (stream: string | AnyStream) => idIn(name, stream),
    decode: (event: Recorded) =>
      eventTypes.has(event.type) || categoryOf(event.stream) === name ? decode(complete, event) : undefined,
    evolve: (state: unknown, event: StreamEvent) => complete.evolve(state as never, decode(complete, event)),
  })
}

const folds = new WeakMap<object, Fold<unknown>>()

/** How the state of an aggregate's streams follows from their events. @throws InvalidArgumentError */
export function foldOf(aggregate: AnyAggregate, argument: string): Fold<unknown> {
  const fold = folds.get(Object(aggregate) as object)
  if (fold) return fold
  const { events } = Object(aggregate) as { readonly events?: Readonly<Record<string, unknown>> }
  for (const one of Object.values(Object(events) as object)) refuseOtherCopy(one, argument, argument)
  throw new InvalidArgumentError(argument, 'an aggregate, made by defineAggregate or aggregateFromClass')
}

/** The id in the name of a stream of the category. */
function idIn(category: string, stream: string | AnyStream): string | undefined {
  const name: unknown = typeof stream === 'object' ? (stream as AnyStream | null)?.stream : stream
  if (typeof name !== 'string') throw new InvalidArgumentError('stream', 'the name of a stream, or a stream')
  const id = name.startsWith(`${category}-`) ? name.slice(category.length + 1) : ''
  return id === '' ? undefined : id
}

function knownEventTypes(events: Readonly<Record<string, AnyEventType>>): Map<string, EventTypeRecord> {
  const known = new Map<string, EventTypeRecord>()
  for (const record of Object.values(events).map(eventTypeRecord)) {
    for (const type of [record.type, ...record.formerly]) {
      if (known.has(type))
        throw new InvalidArgumentError('events', {
          message: `events has the type '${type}' twice; give each event a type of its own`,
        })
      known.set(type, record)
    }
  }
  return known
}

function idReader(name: string, id: unknown): (value: unknown) => string {
  const read =
    typeof id === 'function' && !('~standard' in id) ? (id as (value: unknown) => unknown) : undefined
  const schema = id !== undefined && !read ? (id as StandardSchemaV1) : undefined
  if (schema && !isSchema(schema)) {
    throw new InvalidArgumentError('id', 'a Standard Schema or a function that returns a string')
  }
  return (value) => {
    const key = read ? read(value) : validate(schema, value, `the id of ${name}`, 'id')
    if (typeof key !== 'string' || key === '') {
      throw new InvalidArgumentError(`the id of ${name}`, 'a string that is not empty')
    }
    return key
  }
}
