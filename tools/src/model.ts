import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import type { AnyAggregate } from 'mneme'

import { UsageError } from './cli/errors.ts'

/** What a program exports, as far as the tools know it. */
export interface Model {
  readonly aggregates: readonly AnyAggregate[]
}

/**
 * Loads a module of the program, and takes the aggregates that it exports, by themselves or in arrays and objects.
 *
 * @throws UsageError if the file cannot be loaded, or exports no aggregate.
 */
export async function loadModel(file: string): Promise<Model> {
  const path = resolve(file)
  let exported: unknown
  try {
    exported = await import(pathToFileURL(path).href)
  } catch (error) {
    throw new UsageError(`could not load ${path}`, { cause: error })
  }
  const aggregates = new Set<AnyAggregate>()
  const look = (value: unknown, depth: number) => {
    if (isAggregate(value)) aggregates.add(value)
    else if (depth > 0 && typeof value === 'object' && value !== null) {
      for (const each of Object.values(value)) look(each, depth - 1)
    }
  }
  look(exported, 3)
  if (aggregates.size === 0) throw new UsageError(`${path} exports no aggregate made by defineAggregate`)
  return { aggregates: [...aggregates] }
}

function isAggregate(value: unknown): value is AnyAggregate {
  return typeof value === 'function' && 'decode' in value && 'evolve' in value && 'idOf' in value
}
