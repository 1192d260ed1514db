import { InvalidArgumentError } from '../base/errors.ts'
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
import type { Fold, Stream } from './stream.ts'

/**
 * A kind of thing that keeps its history in streams of its own: its events, and how its state follows from
 * them. Called with an id, it names a stream.
 */
export interface Aggregate<Name extends string, State, Events, Id = string> {
  (id: Id): Stream<State, Accepts<Name, Events>>
  /** The category of its streams, which are called `<category>-<id>`. */
  readonly category: Name
  /** The constructors of its events. */
  readonly events: EventTypes<Name, Events>
  readonly initial: () => State
  /** One step of the fold; `evolve` in the words of Emmett and Equinox. */
  readonly evolve: (state: State, event: StreamEventIn<Name, Events>) => State
  /**
   * A stored event in its present name and version, if it is one of this aggregate's; for `readAll`, which
   * gives events as they are stored.
   *
   * @throws UnknownEventError where it is on one of the aggregate's streams, but of a type or version unknown
   *   here.
   * @throws FoldError where an upcast throws.
   * @example
   * ```ts
   * for await (const stored of store.readAll()) {
   *   const event = Door.decode(stored)
   *   if (event?.type === 'Door.Closed') console.log(event.data.by)
   * }
   * ```
   */
  readonly decode: (event: Recorded) => RecordedIn<Name, Events> | undefined
}

/** The union of an aggregate's events, as recorded. */
export type RecordedIn<Name extends string, E> = {
  [K in keyof E]: Recorded<TypeOf<Name, K, E[K]>, DataOf<E[K]>>
}[keyof E]

/** The union of an aggregate's events, as `apply` sees them. */
export type StreamEventIn<Name extends string, E> = {
  [K in keyof E]: StreamEvent<TypeOf<Name, K, E[K]>, DataOf<E[K]>>
}[keyof E]

/** Type names that a stream takes: its own by prefix (short in messages, cheap to check), and those it borrows. */
type Accepts<Name extends string, E> =
  `${Name}.${string}` | { [K in keyof E]: E[K] extends AnyEventType ? E[K]['type'] : never }[keyof E]

/** Any aggregate. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- every aggregate: its parameters are invariant
export type AnyAggregate = Aggregate<any, any, any, any>
/** The state of an aggregate or of a stream. */
export type StateOf<A> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  A extends Aggregate<any, infer State, any, any> ? State : A extends Stream<infer State> ? State : never
/** The union of an aggregate's events, as recorded. */
export type EventsOf<A> =
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  A extends Aggregate<infer Name, any, infer Events, any> ? RecordedIn<Name, Events> : never

declare const literals: unique symbol
/** Never a value. In a return type beside a state it makes TypeScript keep literals ('paid' instead of string). */
interface KeepLiterals {
  readonly [literals]: never
  readonly [key: string]: '' | {} | null | undefined
}

interface AggregateBase<Name extends string, D, Id> {
  /** The category of its streams, and the prefix of its events' types. Letters, digits, `_` and `.`. */
  readonly name: Name
  /** The type of the id: a Standard Schema, or a function to a string. A string where left out. */
  readonly id?: StandardSchemaV1<unknown, Id> | ((id: Id) => string)
  /** Its events by their short names. */
  readonly events: D & CheckDefinitions<D>
}

/** What `defineAggregate` takes. */
export interface AggregateDefinition<Name extends string, D, State, Id> extends AggregateBase<Name, D, Id> {
  /** The state before the first event. */
  readonly initial: () => State
  /**
   * How each event changes the state: pure functions to the next state. An event's position and time are not
   * there to be used, because a decision's events are folded before they are stored: a time that matters
   * belongs into the data.
   */
  readonly apply: {
    readonly [K in keyof D]: (
      state: Readonly<State>,
      data: DataOf<Payload<D[K]>>,
      event: StreamEvent<TypeOf<Name, K, D[K]>, DataOf<Payload<D[K]>>>,
    ) => NoInfer<State> | KeepLiterals
  }
}

/**
 * States the events of an aggregate and how its state follows from them. State is handed out deeply frozen.
 *
 * @throws InvalidArgumentError where a name is not usable, or an event has no `apply`.
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
export function defineAggregate<const Name extends string, D extends EventDefinitions, State, Id = string>(
  definition: AggregateDefinition<Name, D, State, Id>,
): Aggregate<Name, State, { [K in keyof D]: Payload<D[K]> }, Id> {
  const { initial } = definition
  const apply = definition.apply as unknown as Readonly<Record<string, Step>>
  const events = ownEvents(definition)
  if (typeof (initial as unknown) !== 'function') {
    throw new InvalidArgumentError('initial', 'a function to the state before the first event')
  }
  if (typeof (apply as unknown) !== 'object' || (apply as unknown) === null) {
    throw new InvalidArgumentError('apply', 'an object of functions by the names of the events')
  }
  const steps = new Map<string, Step>()
  for (const [key, eventType] of Object.entries(events)) {
    const step = Object.hasOwn(apply, key) ? apply[key] : undefined
    if (typeof step !== 'function') throw new InvalidArgumentError(`apply.${key}`, 'a function')
    steps.set(eventType.type, step)
  }
  for (const key of Object.keys(apply)) {
    if (!Object.hasOwn(events, key)) throw new InvalidArgumentError(`apply.${key}`, 'named in events')
  }
  return makeAggregate(definition, events, {
    initial,
    evolve: (state, event) => {
      const next = steps.get(event.type)?.(state, event.data, event)
      if (next === undefined) throw new TypeError('apply must return the next state, but returned undefined')
      return next
    },
    isolation: 'freeze',
  }) as never
}

type Step = (state: never, data: unknown, event: StreamEvent) => unknown

/** A state that changes itself, as in the Rust original. */
export interface MutableState<Event> {
  apply(event: Event): unknown
  /** A copy that shares nothing with this one. With it, the state is cached; without, folded for each command. */
  clone?(): unknown
}

/** What `aggregateFromClass` takes. */
export interface ClassAggregateDefinition<Name extends string, D, State, Id> extends AggregateBase<
  Name,
  D,
  Id
> {
  /** A class whose `apply(event)` changes the instance, as in the Rust original. */
  readonly state: new () => State
}

/**
 * As {@link defineAggregate}, for a state class that changes itself in `apply(event)`. Every decision gets an
 * instance of its own: a copy, where the class has `clone()`, or one folded anew from the stream's events,
 * which costs a read of the whole stream.
 */
export function aggregateFromClass<
  const Name extends string,
  D extends EventDefinitions,
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- refined below: `D` is inferred first
  State extends MutableState<any>,
  Id = string,
>(
  definition: ClassAggregateDefinition<Name, D, State, Id> & {
    readonly state: new () => MutableState<StreamEventIn<Name, { [K in keyof D]: Payload<D[K]> }>>
  },
): Aggregate<Name, State, { [K in keyof D]: Payload<D[K]> }, Id> {
  const State = definition.state as unknown as new () => MutableState<StreamEvent>
  if (typeof (State as unknown) !== 'function') {
    throw new InvalidArgumentError('state', 'a class with apply(event)')
  }
  const copies = typeof (State.prototype as MutableState<StreamEvent>).clone === 'function'
  return makeAggregate(definition, ownEvents(definition), {
    initial: () => new State(),
    evolve: (state: MutableState<StreamEvent>, event) => {
      state.apply(event)
      return state
    },
    isolation: copies ? 'copy' : 'none',
  }) as never
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
  return Object.assign(aggregate, {
    category: name,
    events,
    initial: fold.initial,
    decode: (event: Recorded) =>
      eventTypes.has(event.type) || categoryOf(event.stream) === name ? decode(complete, event) : undefined,
    evolve: (state: unknown, event: StreamEvent) => complete.evolve(state as never, decode(complete, event)),
  })
}

function knownEventTypes(events: Readonly<Record<string, AnyEventType>>): Map<string, EventTypeRecord> {
  const known = new Map<string, EventTypeRecord>()
  for (const record of Object.values(events).map(eventTypeRecord)) {
    for (const type of [record.type, ...record.formerly]) {
      if (known.has(type))
        throw new InvalidArgumentError('events', `of different types: ${type} is there twice`)
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
    throw new InvalidArgumentError('id', 'a Standard Schema or a function to a string')
  }
  return (value) => {
    const key = read ? read(value) : validate(schema, value, `the id of ${name}`, 'id')
    if (typeof key !== 'string' || key === '') {
      throw new InvalidArgumentError(`the id of ${name}`, 'a string that is not empty')
    }
    return key
  }
}
