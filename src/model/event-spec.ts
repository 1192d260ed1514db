import type { JsonObject } from './json.ts'
import type { NoData, RecordedFacts } from './event.ts'
import { markMade, refuseOtherCopy } from '../base/copies.ts'
import { checkFunction, isAsyncFunction } from '../base/functions.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkEventType } from './names.ts'
import {
  type PersonalField,
  type PersonalFields,
  personalFields,
  type WithPersonal,
  type WithSealed,
} from './personal.ts'
import { type InferInput, type InferOutput, passes, type StandardSchemaV1 } from '../base/standard-schema.ts'

/** What every entry of `events` has that `event` makes. Itself a Standard Schema. */
export interface EventSpecBase<Input, Data> extends StandardSchemaV1<Input, Data> {
  /**
   * The next version of this event: `upcast` makes its data from data of the version before, and perhaps from what else is
   * known of the stored event. Stored events are never rewritten; they are upcast when they are read.
   */
  next<T extends JsonObject<T>>(upcast: (old: Data, recorded: RecordedFacts) => T): EventSpec<T, T>
  /** The next version, with a schema that checks new events; `upcast` returns the type of the schema's output. */
  next<S extends StandardSchemaV1>(
    schema: S,
    upcast: (old: Data, recorded: RecordedFacts) => InferOutput<S>,
  ): SchemaEventSpec<InferInput<S>, InferOutput<S>>
}

/** An entry of `events`: the shape of an event's data, given as a type, its earlier shapes and its earlier names. */
export interface EventSpec<Input, Data> extends EventSpecBase<Input, Data> {
  /** The full type names, like `'Account.Credited'`, under which older programs wrote this event. */
  formerly(...types: string[]): EventSpec<Input, Data>
  /**
   * Names the personal fields of the present version, and whose they are. Their values are encrypted under a key of their
   * subject, in the store and wherever an event is read, until `reveal` of `mneme/erasure`; `eraseSubject` destroys the key.
   * An event is made with plain values, or with sealed ones that go on. A version made by `next` names its fields anew.
   *
   * @throws InvalidArgumentError if the version has personal fields already.
   */
  personal<const Fields extends PersonalFields<Data>>(
    fields: Fields,
  ): EventSpec<WithPersonal<Data, Fields>, WithSealed<Data, Fields>>
}

/** An entry of `events` whose present shape is given by a schema, which checks each event when it is made. */
export interface SchemaEventSpec<Input, Data> extends EventSpecBase<Input, Data> {
  /** The full type names, like `'Account.Credited'`, under which older programs wrote this event. */
  formerly(...types: string[]): SchemaEventSpec<Input, Data>
  /**
   * Names the personal fields of the present version, and whose they are. Their values are encrypted under a key of their
   * subject, in the store and wherever an event is read, until `reveal` of `mneme/erasure`; `eraseSubject` destroys the key.
   * An event is made with plain values only: a schema cannot check a sealed one. A version made by `next` names its fields anew.
   *
   * @throws InvalidArgumentError if the version has personal fields already.
   */
  personal<const Fields extends PersonalFields<Data>>(
    fields: Fields,
  ): SchemaEventSpec<Input, WithSealed<Data, Fields>>
}

/** An event without data. */
export function event(): EventSpec<NoData, NoData> // not a default of T: that would be inferred as any
/**
 * An event whose data is given as a type: at run time it only has to be JSON.
 *
 * @example
 * ```ts
 * const Deposited = event<{ amount: number }>()
 * ```
 */
export function event<T extends JsonObject<T>>(): EventSpec<T, T>
/** An event whose data is checked by a Standard Schema when the event is made. The schema's output is stored. */
export function event<S extends StandardSchemaV1>(schema: S): SchemaEventSpec<InferInput<S>, InferOutput<S>>
export function event(schema?: StandardSchemaV1): unknown {
  return makeSpec({ schema, upcasts: [], formerly: [], personal: [[]] })
}

/** What a spec means at run time. */
export interface SpecRecord {
  readonly schema: StandardSchemaV1 | undefined
  /** From version 1 to 2, from 2 to 3, and so on. */
  readonly upcasts: readonly Upcast[]
  readonly formerly: readonly string[]
  /** The personal fields of each version, from the first to the present one. */
  readonly personal: readonly (readonly PersonalField[])[]
}

type Upcast = (old: unknown, recorded: RecordedFacts) => unknown

const records = new WeakMap<object, SpecRecord>()

/** What an entry of `events` means at run time: a spec, or any Standard Schema. */
export function specRecord(entry: StandardSchemaV1): SpecRecord {
  const record = records.get(entry)
  // Taken for a schema, it would lose its upcasts and former names.
  if (!record) refuseOtherCopy(entry, 'events', 'an event of events')
  return record ?? { schema: entry, upcasts: [], formerly: [], personal: [[]] }
}

function makeSpec(record: SpecRecord): StandardSchemaV1 {
  const spec = markMade({
    '~standard': record.schema?.['~standard'] ?? passes,
    next: (...args: [Upcast] | [StandardSchemaV1, Upcast]) => {
      const [schema, upcast] = args.length === 1 ? [undefined, args[0]] : args
      checkFunction(upcast, 'upcast')
      if (isAsyncFunction(upcast))
        throw new InvalidArgumentError('upcast', 'synchronous: a fold does not wait')
      return makeSpec({
        ...record,
        schema,
        upcasts: [...record.upcasts, upcast],
        personal: [...record.personal, []],
      })
    },
    formerly: (...types: string[]) => {
      types.forEach((type, i) => checkEventType(type, `formerly(${String(i)})`))
      return makeSpec({ ...record, formerly: [...record.formerly, ...types] })
    },
    personal: (fields: unknown) => {
      if (record.personal.at(-1)!.length > 0) throw new InvalidArgumentError('personal', { message: TWICE })
      return makeSpec({ ...record, personal: [...record.personal.slice(0, -1), personalFields(fields)] })
    },
  })
  records.set(spec, record)
  return spec
}

const TWICE = 'personal is called twice for one version; name all of its personal fields in one call'
