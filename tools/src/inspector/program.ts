import type { AnyAggregate } from 'mneme'

/** What the inspector knows of the program that writes the store. */
export interface Program {
  readonly aggregates: readonly NamedAggregate[]
}

/** An aggregate, by the name that the page shows. */
interface NamedAggregate {
  readonly name: string
  readonly aggregate: AnyAggregate
}

/** Definitions in a list, or in an object that names them. */
type Definitions<T> = readonly T[] | Readonly<Record<string, T>>

/** What the options say of the program. */
export interface ProgramOptions {
  readonly aggregates?: Definitions<AnyAggregate> | undefined
}

/** @throws TypeError */
export function checkProgram({ aggregates }: ProgramOptions): Program {
  return {
    aggregates: namedIn(aggregates, ({ category }) => String(category)).map(([name, aggregate], i) => {
      if (isAggregate(aggregate)) return { name, aggregate }
      throw new TypeError(`aggregates[${String(i)}] has to be an aggregate, made by defineAggregate`)
    }),
  }
}

function namedIn<T>(definitions: Definitions<T> = [], nameOf: (one: T) => string): [string, T][] {
  if (Array.isArray(definitions)) return definitions.map((one: T) => [nameOf(Object(one) as T), one])
  return Object.entries(definitions)
}

/** Whether a value is an aggregate, made by this copy of Mneme or another. */
function isAggregate(value: unknown): value is AnyAggregate {
  return typeof value === 'function' && 'decode' in value && 'evolve' in value && 'idOf' in value
}
