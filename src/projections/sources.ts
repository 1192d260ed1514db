import type { AnyAggregate, EventsOf } from '../model/aggregate.ts'
import { decode } from '../model/upcast.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { type AnyEventType, eventTypeRecord, type EventTypeRecord } from '../model/event-type.ts'
import type { Recorded, RecordedAs } from '../model/event.ts'
import { categoryOf } from '../model/names.ts'
import { fromStored } from '../store/decode.ts'
import type { LogFilter, StoredEvent } from '../adapter/store-adapter.ts'

/** Events that a projection handles: those on the streams of an aggregate, or event types on any stream. */
export type Source = AnyAggregate | Readonly<Record<string, AnyEventType>>

/** The union of the events of sources. */
export type EventsFrom<S> = S extends AnyAggregate
  ? EventsOf<S>
  : S extends Readonly<Record<string, AnyEventType>>
    ? { [K in keyof S]: RecordedOf<S[K]> }[keyof S]
    : never
type RecordedOf<T> = T extends (...args: never) => infer Made ? RecordedAs<Made> : never

/** Events by their types: linear in their number; an `Extract` for each would be quadratic. */
export type ByType<E> = {
  readonly [X in E as X extends { readonly type: infer Type extends string } ? Type : never]: X
}

/** Handlers by the types of their events; a type of its own, so that the editor infers the parameters. */
export type Handlers<Events, Rest extends unknown[]> = {
  readonly [Type in keyof Events]?: (event: Events[Type], ...rest: Rest) => unknown
}

/** The events that a projection handles, and the filter that finds them. */
export interface Selection {
  /** What the store is asked for: these events, and perhaps a few others. */
  readonly filter: LogFilter
  /** The present name of a stored event's type; `undefined` if the projection does not handle the event. */
  readonly typeOf: (stored: StoredEvent) => string | undefined
  /** A stored event that is handled, in its present name and version. @throws UnknownEventError, FoldError */
  readonly decode: (stored: StoredEvent) => Recorded
}

/**
 * Selects the events of sources that have a handler.
 *
 * @throws InvalidArgumentError if a source is neither an aggregate nor event types, or if a handler's event is in none.
 */
export function selectionOf(sources: readonly Source[], handled: readonly string[]): Selection {
  if (!Array.isArray(sources) || sources.length === 0) {
    throw new InvalidArgumentError('from', 'a list of aggregates, or of event types by name')
  }
  // The categories of the handled events, by every name that their types ever had; undefined: any category.
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
  // The store gives any of these types in any of these categories, which may be more than what is handled.
  const isExact = isAnywhere ? sets.every((set) => set === undefined) : filter.categories?.length === 1
  const typeOf = ({ type, stream }: StoredEvent): string | undefined => {
    const set = isExact ? undefined : categories.get(type)
    return set && !set.has(categoryOf(stream)) ? undefined : records.get(type)?.type
  }
  return { filter, typeOf, decode: (stored) => decode(types, fromStored(stored)) }
}

/** The names of all events of sources; of what is no source, none. */
export function typesOf(sources: readonly Source[]): string[] {
  if (!Array.isArray(sources)) return []
  return (sources as readonly Source[]).flatMap((source) => {
    const { events } = Object(source) as { readonly events?: unknown }
    const types = typeof source === 'function' ? events : source
    return Object.values(Object(types) as object).flatMap((each) => {
      const { type } = Object(each) as { readonly type?: unknown }
      return typeof type === 'string' ? [type] : []
    })
  })
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
