import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import type { AnyAggregate } from 'mneme'

import { UsageError } from './cli/errors.ts'
import { type InspectedCommand, isAggregate, isCommand } from './inspector/program.ts'

/** What a program exports, as far as the tools know it. */
export interface Model {
  readonly aggregates: readonly AnyAggregate[]
  /** The definitions by the names under which they are exported. */
  readonly named: {
    readonly aggregates: Readonly<Record<string, AnyAggregate>>
    readonly commands: Readonly<Record<string, InspectedCommand>>
  }
  /** What the program exports as `needs`: what its commands need. */
  readonly needs: object | undefined
}

/**
 * Loads a module of the program, and takes the definitions that it exports, by themselves or in arrays and objects.
 *
 * @throws UsageError if the file cannot be loaded, or exports no aggregate.
 */
export async function loadModel(file: string): Promise<Model> {
  const exported = await loadModule(file)
  const aggregates = new Map<AnyAggregate, string>()
  const commands = new Map<InspectedCommand, string>()
  const look = (value: unknown, name: string, depth: number) => {
    if (isAggregate(value)) aggregates.set(value, aggregates.get(value) ?? name)
    else if (isCommand(value)) commands.set(value, commands.get(value) ?? value.commandName ?? name)
    else if (depth > 0 && typeof value === 'object' && value !== null) {
      for (const [key, each] of Object.entries(value))
        look(each, Array.isArray(value) ? name : key, depth - 1)
    }
  }
  for (const [name, value] of Object.entries(exported)) look(value, name, 2)
  if (aggregates.size === 0) throw new UsageError(`${file} exports no aggregate made by defineAggregate`)
  const { needs } = exported
  return {
    aggregates: [...aggregates.keys()],
    named: { aggregates: byName(aggregates), commands: byName(commands) },
    needs: typeof needs === 'object' && needs !== null ? needs : undefined,
  }
}

/** What a module exports. @throws UsageError if it cannot be loaded. */
export async function loadModule(file: string): Promise<Readonly<Record<string, unknown>>> {
  const path = resolve(file)
  try {
    return (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new UsageError(`could not load ${path}`, { cause: error })
  }
}

/** The definitions by their names; of two with one name, the second has a number. */
function byName<T>(definitions: ReadonlyMap<T, string>): Readonly<Record<string, T>> {
  const named: Record<string, T> = {}
  for (const [definition, name] of definitions) {
    let free = name
    for (let n = 2; Object.hasOwn(named, free); n++) free = `${name} ${String(n)}`
    named[free] = definition
  }
  return named
}
