import type { JsonObject } from './json.ts'
import type { NoData } from './event.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkEventType } from './names.ts'
import { type InferInput, type InferOutput, passes, type StandardSchemaV1 } from '../base/standard-schema.ts'

/**
 * What an entry of `events` is made of: the shape of an event's data, its earlier shapes and its earlier names.
 * Itself a Standard Schema.
 */
export interface EventSpec<Input, Data> extends StandardSchemaV1<Input, Data> {
  /**
   * The next version of this event: how data of the version before becomes data of this one. What is stored
   * is never rewritten; it is upcast whenever it is read.
   */
  next<T extends JsonObject<T>>(upcast: (old: Data) => T): EventSpec<T, T>
  /** The same, with a schema that checks new events; what it returns is the data that `upcast` has to give. */
  next<S extends StandardSchemaV1>(
    schema: S,
    upcast: (old: Data) => InferOutput<S>,
  ): EventSpec<InferInput<S>, InferOutput<S>>
  /** Full type names, like `'Account.Credited'`, under which older programs wrote this event. */
  formerly(...types: string[]): EventSpec<Input, Data>
}

/** An event without data. */
export function event(): EventSpec<NoData, NoData> // not a default of T: that would be inferred as any
/**
 * An event's data, by type alone: nothing is checked at run time but that it is JSON.
 *
 * @example
 * ```ts
 * const Deposited = event<{ amount: number }>()
 * ```
 */
export function event<T extends JsonObject<T>>(): EventSpec<T, T>
/** An event's data by a Standard Schema: checked when the event is made, and what the schema returns is stored. */
export function event<S extends StandardSchemaV1>(schema: S): EventSpec<InferInput<S>, InferOutput<S>>
export function event(schema?: StandardSchemaV1): unknown {
  return makeSpec({ schema, upcasts: [], formerly: [] })
}

/** What a spec means at run time. */
export interface SpecRecord {
  readonly schema: StandardSchemaV1 | undefined
  /** From version 1 to 2, from 2 to 3, and so on. */
  readonly upcasts: readonly Upcast[]
  readonly formerly: readonly string[]
}

type Upcast = (old: unknown) => unknown

const records = new WeakMap<object, SpecRecord>()

/** What an entry of `events` means at run time: a spec, or any Standard Schema. */
export function specRecord(entry: StandardSchemaV1): SpecRecord {
  return records.get(entry) ?? { schema: entry, upcasts: [], formerly: [] }
}

function makeSpec(record: SpecRecord): StandardSchemaV1 {
  const spec = {
    '~standard': record.schema?.['~standard'] ?? passes,
    next: (...args: [Upcast] | [StandardSchemaV1, Upcast]) => {
      const [schema, upcast] = args.length === 1 ? [undefined, args[0]] : args
      if (typeof upcast !== 'function') throw new InvalidArgumentError('upcast', 'a function')
      return makeSpec({ ...record, schema, upcasts: [...record.upcasts, upcast] })
    },
    formerly: (...types: string[]) => {
      types.forEach((type, i) => checkEventType(type, `formerly(${String(i)})`))
      return makeSpec({ ...record, formerly: [...record.formerly, ...types] })
    },
  }
  records.set(spec, record)
  return spec
}
