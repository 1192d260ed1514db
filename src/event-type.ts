import { InvalidArgumentError, InvalidDataError, type DataIssue } from './errors.ts'
import type { Event, NoData, Recorded } from './event.ts'
import { specRecord, type SpecRecord } from './event-spec.ts'
import type { JsonObject } from './json.ts'
import { checkDefinitionName, checkEventType } from './names.ts'
import { copyEventData } from './plain-data.ts'
import type { SchemaIssue, StandardSchemaV1 } from './standard-schema.ts'

/** An event's constructor, its type name and its guard. */
export interface EventType<Type extends string, Data> extends EventTypeBase<Type, Data> {
  /** @throws InvalidDataError where the data is not JSON, or the event's schema refuses it. */
  (...args: DataArgs<Data>): Event<Type, Data>
}

/** The same, where a schema takes something else than it returns. */
export interface ParsedEventType<Type extends string, Data, Input> extends EventTypeBase<Type, Data> {
  /** @throws InvalidDataError where the schema refuses the input, or what it returns is not JSON. */
  (...args: DataArgs<Input>): Event<Type, Data>
}

/** What every event constructor has. */
export interface EventTypeBase<Type extends string, Data> {
  /** The full type name, like `'BankAccount.Opened'`. */
  readonly type: Type
  /** The version of the data's shape that this program writes: one more than it has upcasts. */
  readonly version: number
  /** Whether an event is of this type, in its present version. */
  is(event: Event): event is Recorded<Type, Data>
}

/** Any event constructor. */
export type AnyEventType = EventTypeBase<string, unknown>

type DataArgs<In> = [In] extends [NoData] ? [] : {} extends In ? [data?: In] : [data: In]

/** What `events` may hold: a spec made by `event`, any Standard Schema, or another aggregate's event. */
export type EventDefinitions = Readonly<Record<string, StandardSchemaV1 | AnyEventType>>

/** Refuses schemas whose output is not JSON, in words. */
export type CheckDefinitions<D> = {
  readonly [K in keyof D]: D[K] extends AnyEventType
    ? unknown
    : D[K] extends StandardSchemaV1<never, infer Output>
      ? [Output] extends [JsonObject<Output>]
        ? unknown
        : BadSchema<'the output is not JSON', Output, JsonObject<Output>>
      : unknown
}
interface BadSchema<Message extends string, Output, Wanted> {
  readonly '~problem': Message
  readonly output: Output
  readonly wanted: Wanted
}

/** In a hover: a schema parses `input` to `data`. */
export interface Parsed<Input, Data> {
  readonly input: Input
  readonly data: Data
  readonly '~parsed': true
}

/** What a hover shows of an event: its data, or that a schema parses it, or the type that another owns. */
export type Payload<D> = D extends AnyEventType
  ? D
  : D extends StandardSchemaV1<infer Input, infer Output>
    ? Same<Input, Output> extends true
      ? Output
      : Parsed<Input, Output>
    : never
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

export type TypeOf<Name extends string, K, P> = [P] extends [AnyEventType]
  ? P['type']
  : `${Name}.${K & string}`
export type DataOf<P> = [P] extends [EventTypeBase<string, infer Data>]
  ? Data
  : [P] extends [Parsed<unknown, infer Data>]
    ? Data
    : P
export type EventTypeOf<Name extends string, K, P> = [P] extends [AnyEventType]
  ? P
  : [P] extends [Parsed<infer Input, infer Data>]
    ? ParsedEventType<`${Name}.${K & string}`, Data, Input>
    : EventType<`${Name}.${K & string}`, P>
/** The constructors of an aggregate's events, by their short names. */
export type EventTypes<Name extends string, E> = { readonly [K in keyof E]: EventTypeOf<Name, K, E[K]> }

/** What the runtime knows of an event type. */
export interface EventTypeRecord extends SpecRecord {
  readonly type: string
  readonly version: number
}

const records = new WeakMap<object, EventTypeRecord>()
const made = new WeakMap<object, EventTypeRecord>()

/**
 * Events without an aggregate: to share them between aggregates, or to keep files free of circular imports.
 *
 * @example
 * ```ts
 * const Audit = defineEvents('Audit', { Flagged: event<{ why: string }>() })
 * const flagged = Audit.Flagged({ why: 'late' }) // { type: 'Audit.Flagged', data: { why: 'late' } }
 * ```
 */
export function defineEvents<const Name extends string, D extends EventDefinitions>(
  name: Name,
  events: D & CheckDefinitions<D>,
): { readonly [K in keyof D]: EventTypeOf<Name, K, Payload<D[K]>> } {
  checkDefinitionName(name, 'name')
  const types: Record<string, unknown> = {}
  for (const [key, definition] of Object.entries<StandardSchemaV1 | AnyEventType>(events)) {
    types[key] = isEventType(definition) ? definition : makeEventType(`${name}.${key}`, definition)
  }
  return Object.freeze(types) as never
}

/** The runtime's record of an event constructor. */
export function eventTypeRecord(eventType: AnyEventType): EventTypeRecord {
  const record = records.get(eventType)
  if (!record) throw new InvalidArgumentError('events', 'made by defineAggregate or defineEvents')
  return record
}

/** The constructor's record, if the event was made by a constructor and so is checked and frozen. */
export function madeBy(event: Event): EventTypeRecord | undefined {
  return made.get(event)
}

/** Makes an event: checks, copies and freezes its data. */
export function makeEvent(record: EventTypeRecord, input: unknown): Event {
  const data = copyEventData(validate(record.schema, input, record.type, 'data'), record.type)
  const event: Event =
    record.version > 1 ? { type: record.type, data, version: record.version } : { type: record.type, data }
  made.set(event, record)
  return Object.freeze(event)
}

/** What a schema returns for a value. @throws InvalidDataError */
export function validate(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  subject: string,
  root: string,
): unknown {
  if (!schema) return value
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) {
    result.catch(() => undefined)
    throw new InvalidArgumentError(`the schema of ${subject}`, 'synchronous, but it returned a promise')
  }
  if (result.issues)
    throw new InvalidDataError(
      subject,
      result.issues.map((issue) => toIssue(issue, root)),
    )
  return result.value
}

function toIssue({ message, path = [] }: SchemaIssue, root: string): DataIssue {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part))
  return { path: [root, ...keys].join('.'), message }
}

function isEventType(definition: object): definition is AnyEventType {
  return records.has(definition)
}

function makeEventType(type: string, definition: StandardSchemaV1): AnyEventType {
  checkEventType(type, `the event type '${type}'`)
  const spec = specRecord(definition)
  const record: EventTypeRecord = { ...spec, type, version: spec.upcasts.length + 1 }
  const eventType = Object.assign((data: unknown = {}) => makeEvent(record, data), {
    type,
    version: record.version,
    is: (event: Event) => event.type === type && (event.version ?? 1) === record.version,
  })
  records.set(eventType, record)
  return eventType as unknown as AnyEventType
}
