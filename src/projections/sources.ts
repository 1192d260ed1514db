import type { AnyAggregate, EventsOf } from '../model/aggregate.ts'
import { decode } from '../model/upcast.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { type AnyEventType, eventTypeRecord, type EventTypeRecord } from '../model/event-type.ts'
import type { Recorded, RecordedAs } from '../model/event.ts'
import { categoryOf } from '../model/names.ts'
import { fromStored } from '../store/decode.ts'
import type { LogFilter, StoredEvent } from '../adapter/store-adapter.ts'

/** What a projection listens to: an aggregate, for the events on its streams, or event types on any stream. */
export type Source = AnyAggregate | Readonly<Record<string, AnyEventType>>

/** The union of the events of sources. */
export type EventsFrom<S> = S extends AnyAggregate
  ? EventsOf<S>
  : S extends Readonly<Record<string, AnyEventType>>
    ? { [K in keyof S]: RecordedOf<S[K]> }[keyof S]
    : never
type RecordedOf<T> = T extends (...args: never) => infer Made ? RecordedAs<Made> : never

/** Events by their types: linear in their number, where an `Extract` for each would be quadratic. */
export type ByType<E> = {
  readonly [X in E as X extends { readonly type: infer Type extends string } ? Type : never]: X
}

/** Handlers by the types of their events; in two steps, so that the editor knows the parameters. */
export type Handlers<Events, Rest extends unknown[]> = {
  readonly [Type in keyof Events]?: (event: Events[Type], ...rest: Rest) => unknown
}

/** Which events a projection is given, and how they are found. */
export interface Selection {
  /** What the store is asked for: these, and hardly any others. */
  readonly filter: LogFilter
  /** The present name of a stored event's type, where it is handled; `undefined`: nothing is to be done with it. */
  readonly typeOf: (stored: StoredEvent) => string | undefined
  /** A stored event that is handled, in its present name and version. @throws UnknownEventError, FoldError */
  readonly decode: (stored: StoredEvent) => Recorded
}

/**
 * Selects the events of sources that have a handler.
 *
 * @throws InvalidArgumentError where a source is none, or a handler is for an event of none of them.
 */
export function selectionOf(sources: readonly Source[], handled: readonly string[]): Selection {
  if (!Array.isArray(sources) || sources.length === 0) {
    throw new InvalidArgumentError('from', 'a list of aggregates, or of event types by name')
  }
  // The types of the events that are handled, by every name that they ever had; undefined: on any stream.
  const categories = new Map<string, Set<string> | undefined>()
  const records = new Map<string, EventTypeRecord>()
  const wanted = new Set(handled)
  const known = new Set<string>()
  for (const [i, source] of (sources as readonly Source[]).entries()) {
    const { category, types } = partsOf(source, `from[${String(i)}]`)
    for (const record of types) {
      known.add(record.type)
      if (!wanted.has(record.type)) continue
      for (const name of [record.type, ...record.formerly]) {
        records.set(name, record)
        if (category === undefined) categories.set(name, undefined)
        else if (!categories.has(name)) categories.set(name, new Set([category]))
        else categories.get(name)?.add(category)
      }
    }
  }
  for (const type of handled) {
    if (known.has(type)) continue
    throw new InvalidArgumentError(`on['${type}']`, `of an event of 'from': ${[...known].join(', ')}`)
  }
  const sets = [...categories.values()]
  const isAnywhere = sets.some((set) => set === undefined)
  const filter: LogFilter = {
    streams: undefined,
    categories: isAnywhere ? undefined : [...new Set(sets.flatMap((set) => [...(set ?? [])]))],
    types: [...records.keys()],
  }
  const types = { eventTypes: records }
  // What the store gives is any of these types in any of these categories, which may be more than what is handled.
  const isExact = isAnywhere ? sets.every((set) => set === undefined) : filter.categories?.length === 1
  const typeOf = ({ type, stream }: StoredEvent): string | undefined => {
    const set = isExact ? undefined : categories.get(type)
    return set && !set.has(categoryOf(stream)) ? undefined : records.get(type)?.type
  }
  return { filter, typeOf, decode: (stored) => decode(types, fromStored(stored)) }
}

function partsOf(
  source: Source,
  argument: string,
): { readonly category: string | undefined; readonly types: EventTypeRecord[] } {
  const { category, events } = Object(source) as { readonly category?: unknown; readonly events?: unknown }
  const isAggregate = typeof source === 'function' && typeof category === 'string'
  const types: unknown = isAggregate ? events : source
  if (typeof types !== 'object' || types === null) {
    throw new InvalidArgumentError(argument, 'an aggregate, or event types by name')
  }
  const records = Object.values(types as Readonly<Record<string, AnyEventType>>).map(eventTypeRecord)
  return { category: isAggregate ? category : undefined, types: records }
}
