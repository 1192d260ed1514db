import { type DataIssue, InvalidArgumentError, InvalidDataError } from '../base/errors.ts'
import type { Event, NoData } from './event.ts'
import { markMade, otherCopy, refuseOtherCopy } from '../base/copies.ts'
import { specRecord, type SpecRecord } from './event-spec.ts'
import { copyEventData, type Json, type JsonObject } from './json.ts'
import { checkDefinitionName, checkEventType } from './names.ts'
import { mapPersonal, type PersonalField, wrapPersonal } from './personal.ts'
import { isSealed, type SealedAt } from './sealed.ts'
import { keysOf, resultOf, type SchemaIssue, type StandardSchemaV1 } from '../base/standard-schema.ts'
import { Tagged } from '../base/tagged.ts'

/** An event's constructor, its type name and its guard. */
export interface EventType<Type extends string, Data> extends EventTypeBase<Type, Data> {
  /** @throws InvalidDataError if the data is not JSON, or the event's schema refuses it. */
  (...args: DataArgs<Data>): Event<Type, Data>
}

/** An event's constructor, if the input of its schema differs from the output. */
export interface ParsedEventType<Type extends string, Data, Input> extends EventTypeBase<Type, Data> {
  /** @throws InvalidDataError if the schema refuses the input, or its output is not JSON. */
  (...args: DataArgs<Input>): Event<Type, Data>
}

/** The properties of every event constructor. */
export interface EventTypeBase<Type extends string, Data> {
  /** The full type name, like `'BankAccount.Opened'`. */
  readonly type: Type
  /** The version of the data's shape that this program writes: the number of upcasts plus 1. */
  readonly version: number
  /** The schema that checks its data in this version; `undefined` if the data is given as a type only. */
  readonly schema: StandardSchemaV1 | undefined
  /** Whether an event is of this type, in its current version. */
  is<E extends Event>(event: E): event is E & Event<Type, Data>
}

/** Any event constructor. */
export type AnyEventType = EventTypeBase<string, unknown>

type DataArgs<In> = [In] extends [NoData] ? [] : {} extends In ? [data?: In] : [data: In]

/** What `events` may hold: a spec made by `event`, any Standard Schema, or another aggregate's event. */
export type EventDefinitions = Readonly<Record<string, StandardSchemaV1 | AnyEventType>>

/** Refuses definitions whose data is not JSON, with sentences that the compiler prints. */
export type CheckDefinitions<D> = {
  readonly [K in keyof D]: D[K] extends AnyEventType
    ? unknown
    : D[K] extends StandardSchemaV1<unknown, infer Output>
      ? [Output] extends [JsonObject<Output>]
        ? [Output] extends [object]
          ? NoArray<Output>
          : NoObject
        : `the data is not JSON: ${ProblemIn<Output>}`
      : unknown
}
type NoObject = "an event's data must be an object"
type NoArray<T> = T extends readonly unknown[] ? NoObject : unknown
/** Where the data of a schema is not JSON, and why. */
type ProblemIn<T> = T extends readonly (infer Item)[]
  ? ProblemIn<{ '[]': Item }>
  : {
      [K in keyof T & string]: [T[K]] extends [Json<T[K]>]
        ? never
        : Json<T[K]> extends infer Problem extends string
          ? `${K}: ${Problem}`
          : `${K} holds ${ProblemIn<T[K]>}`
    }[keyof T & string]

/** Shown in hovers for an event whose schema parses `input` to `data`. */
export interface Parsed<Input, Data> {
  readonly input: Input
  readonly data: Data
  readonly '~parsed': true
}

/** An event in the aggregate's type: its data, input and data of a parsing schema, or the event type of another aggregate. */
export type Payload<D> = D extends AnyEventType
  ? D
  : D extends StandardSchemaV1<infer Input, infer Output>
    ? Same<Input, Output> extends true
      ? Output
      : Parsed<Input, Output>
    : never
// Two generic functions have the same type only if A and B have.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

export type TypeOf<Name extends string, K, P> = [P] extends [AnyEventType]
  ? P['type']
  : `${Name}.${K & string}`
export type DataOf<P> = [P] extends [(...args: never) => Event<string, infer Data>]
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

/** An event type at run time. */
export interface EventTypeRecord extends SpecRecord {
  readonly type: string
  readonly version: number
}

const records = new WeakMap<object, EventTypeRecord>()
const ownRecords = new WeakSet<EventTypeRecord>()

/**
 * Defines events without an aggregate: to share them between aggregates, or to avoid circular imports.
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
  if (typeof (events as unknown) !== 'object' || (events as unknown) === null) {
    throw new InvalidArgumentError('events', 'an object of events')
  }
  const types: Record<string, unknown> = {}
  for (const [key, definition] of Object.entries<StandardSchemaV1 | AnyEventType>(events)) {
    if (key === '' || key === '__proto__')
      throw new InvalidArgumentError(`events.${key}`, {
        message: `an event cannot have the name '${key}'; choose another`,
      })
    refuseForeign(definition, `events.${key}`)
    if (!isSchema(definition)) {
      throw new InvalidArgumentError(
        `events.${key}`,
        'event(), a Standard Schema or an event of another aggregate',
      )
    }
    types[key] = isEventType(definition) ? definition : makeEventType(`${name}.${key}`, definition)
  }
  return Object.freeze(types) as never
}

/** The runtime's record of an event constructor. */
export function eventTypeRecord(eventType: AnyEventType): EventTypeRecord {
  const record = records.get(eventType)
  if (!record) {
    refuseOtherCopy(eventType, 'events', 'an event constructor')
    throw new InvalidArgumentError('events', 'an event constructor, made by defineAggregate or defineEvents')
  }
  return record
}

/** Makes an event: checks, copies and freezes its data. */
export function makeEvent(record: EventTypeRecord, input: unknown): Event {
  // What a schema of another copy returned is not marked for this one, and must not go through the schema again.
  if (record.schema && !ownRecords.has(record)) throw otherCopy('events', `the aggregate of ${record.type}`)
  const { schema, type } = record
  const fields = personalOf(record)
  if (schema && fields.length > 0) refuseSealed(input, fields, type)
  const sealed: SealedAt[] = []
  const checked = schema ? validate(schema, input, type, 'data') : input
  const data = copyEventData(checked, type, sealed)
  const isPersonal = fields.length > 0 || sealed.length > 0
  return madeEvent(record, isPersonal ? wrapPersonal(data, fields, type, sealed) : data)
}

/** The personal fields of a version of an event; by default, of the present one. */
export function personalOf({ personal }: SpecRecord, version = personal.length): readonly PersonalField[] {
  return personal[version - 1] ?? []
}

/** The personal fields of an event that a constructor made. */
export function personalOfMade({ data }: Event): readonly PersonalField[] {
  const record = Mark.of(data)
  return record ? personalOf(record) : []
}

/** A schema checks the plain value. @throws InvalidDataError */
function refuseSealed(input: unknown, fields: readonly PersonalField[], type: string): void {
  if (typeof input !== 'object' || input === null) return
  mapPersonal(input, fields, (value, path) => {
    if (!isSealed(value)) return value
    const message = 'is sealed, so the schema of the event cannot check it; reveal it before'
    throw new InvalidDataError(type, [{ path: `data.${path}`, message }])
  })
}

/** What a schema returns for a value. @throws InvalidDataError */
export function validate(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  subject: string,
  root: string,
): unknown {
  if (!schema) return value
  const result = resultOf(schema, value, subject)
  if (result.issues)
    throw new InvalidDataError(
      subject,
      result.issues.map((issue) => toIssue(issue, root)),
    )
  return result.value
}

function toIssue(issue: SchemaIssue, root: string): DataIssue {
  return { path: [root, ...keysOf(issue).map(String)].join('.'), message: issue.message }
}

/** Whether it is a Standard Schema; some libraries' are functions. An event constructor passes as well. */
export function isSchema(value: unknown): value is StandardSchemaV1 {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return '~standard' in value || isEventType(value)
}

/** Refuses an event constructor of another copy of the package. */
function refuseForeign(definition: unknown, argument: string): void {
  if (typeof definition === 'function' && !isEventType(definition)) {
    refuseOtherCopy(definition, argument, argument)
  }
}

function isEventType(definition: object): definition is AnyEventType {
  return records.has(definition)
}

function makeEventType(type: string, definition: StandardSchemaV1): AnyEventType {
  checkEventType(type, `the event type '${type}'`)
  const spec = specRecord(definition)
  const record: EventTypeRecord = { ...spec, type, version: spec.upcasts.length + 1 }
  ownRecords.add(record)
  const eventType = Object.assign((data: unknown = {}) => makeEvent(record, data), {
    type,
    version: record.version,
    schema: record.schema,
    is: (event: Event) => event.type === type && (event.version ?? 1) === record.version,
  })
  records.set(markMade(eventType), record)
  return eventType as unknown as AnyEventType
}

/**
 * Marks the data of events that a constructor made: checked, copied and deeply frozen. The mark is on the data rather than
 * on the event, so that a copy of the event has it too: `{ ...Opened({ owner }), id }`.
 */
class Mark extends Tagged {
  readonly #record: EventTypeRecord

  constructor(data: object, record: EventTypeRecord) {
    super(data)
    this.#record = record
  }

  static of(data: unknown): EventTypeRecord | undefined {
    return typeof data === 'object' && data !== null && #record in data ? data.#record : undefined
  }
}

/** An event with marked data. The data is frozen only here, because a frozen object cannot take the mark. */
function madeEvent(record: EventTypeRecord, data: object): Event {
  new Mark(data, record)
  Object.freeze(data)
  const { type, version } = record
  return Object.freeze(version > 1 ? { type, data, version } : { type, data })
}

/** The record of the constructor that made an event's data for its type and version; `undefined` if none did. */
export function madeBy({ type, data, version = 1 }: Event): EventTypeRecord | undefined {
  const record = Mark.of(data)
  return record?.type === type && record.version === version ? record : undefined
}
