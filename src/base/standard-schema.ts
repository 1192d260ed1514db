import { InvalidArgumentError } from './errors.ts'
import { isThenable } from './functions.ts'

/**
 * The Standard Schema interface, version 1, as Zod, Valibot, ArkType and others implement it.
 * Copied here, as its authors recommend, so that Mneme depends on no schema library.
 *
 * @see https://standardschema.dev
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** The result of a validation: the schema's output, or what is wrong with the value. */
export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] }

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** The keys of an issue's path. */
export function keysOf({ path = [] }: Pick<SchemaIssue, 'path'>): PropertyKey[] {
  return path.map((part) => (typeof part === 'object' ? part.key : part))
}

/**
 * What a schema says of a value.
 *
 * @param subject whose schema it is, for the error.
 * @throws what the schema throws; InvalidArgumentError if it is asynchronous.
 */
export function resultOf(schema: StandardSchemaV1, value: unknown, subject: string): SchemaResult<unknown> {
  const result = schema['~standard'].validate(value)
  if (!isThenable(result)) return result
  result.then(ignore, ignore)
  throw new InvalidArgumentError(`the schema of ${subject}`, {
    message: `the schema of ${subject} returned a promise; use a synchronous schema`,
  })
}

function ignore(): void {
  // The promise was refused, so its outcome does not matter.
}

/** The type that a schema accepts. */
export type InferInput<S> = S extends StandardSchemaV1<infer Input, unknown> ? Input : never

/** The type that a schema returns. */
export type InferOutput<S> = S extends StandardSchemaV1<unknown, infer Output> ? Output : never

/** Accepts every value unchanged: a schema that only carries a type. */
export const passes: StandardSchemaV1<never, never>['~standard'] = {
  version: 1,
  vendor: 'mneme',
  validate: (value) => ({ value: value as never }),
}

/**
 * A schema that only carries a type: nothing is checked at run time.
 *
 * @example
 * ```ts
 * const needs = ofType<{ clock: () => Date }>()
 * ```
 */
export function ofType<T>(): StandardSchemaV1<T, T> {
  return { '~standard': passes }
}
