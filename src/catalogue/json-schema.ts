import { InvalidArgumentError } from '../base/errors.ts'
import type { StandardSchemaV1 } from '../base/standard-schema.ts'

/** A JSON Schema, of draft 2020-12. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

/** What a schema is asked for: the shape of what it takes, or of what it returns. */
export type SchemaSide = 'input' | 'output'

/**
 * Makes a JSON Schema for a library that does not do it by Standard JSON Schema, like Valibot. Returns `undefined` for a
 * schema that it does not know.
 */
export type ToJsonSchema = (schema: StandardSchemaV1, side: SchemaSide) => object | undefined

/** A schema as the catalogue shows it. */
export interface ShownSchema {
  /** Absent if the data is given as a type, or if the library cannot express its schema. */
  readonly schema?: JsonSchema
  /** The library that checks the data at run time. Absent if nothing checks it. */
  readonly checkedBy?: string
}

/** The part of Standard JSON Schema that is used here. */
interface StandardJsonSchema {
  readonly jsonSchema?: Readonly<Record<SchemaSide, (options: { readonly target: string }) => unknown>>
}

/** @throws InvalidArgumentError if `toJsonSchema` returns something else than an object. */
export function showSchema(
  schema: StandardSchemaV1 | undefined,
  side: SchemaSide,
  toJsonSchema: ToJsonSchema | undefined,
): ShownSchema {
  // Of an event that is given as a type, the schema passes everything.
  if (!schema || schema['~standard'].vendor === 'mneme') return {}
  const { vendor } = schema['~standard']
  const shown = standard(schema, side) ?? toJsonSchema?.(schema, side)
  if (shown === undefined) return { checkedBy: vendor }
  if (typeof (shown as unknown) !== 'object' || (shown as unknown) === null) {
    throw new InvalidArgumentError('jsonSchema', 'a function that returns a JSON Schema, or undefined')
  }
  // Some libraries add what is no JSON, like functions, beside the schema.
  return { schema: JSON.parse(JSON.stringify(shown)) as JsonSchema, checkedBy: vendor }
}

/** By Standard JSON Schema; `undefined` if the library does not have it, or cannot express the schema. */
function standard(schema: StandardSchemaV1, side: SchemaSide): object | undefined {
  const { jsonSchema } = schema['~standard'] as StandardJsonSchema
  try {
    return jsonSchema?.[side]({ target: 'draft-2020-12' }) as object | undefined
  } catch {
    // A transform, for example: nobody knows what it returns.
    return undefined
  }
}
