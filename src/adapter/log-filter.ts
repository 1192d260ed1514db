import { categoryOf } from '../model/names.ts'
import type { LogFilter, StoredEvent } from './store-adapter.ts'

/** The events that pass a filter: the same list, if the filter passes everything. */
export function selectFrom(events: readonly StoredEvent[], filter: LogFilter): readonly StoredEvent[] {
  return isOfAll(filter) ? events : events.filter(matcherOf(filter))
}

/** A function that says whether an event passes a filter. */
export function matcherOf(filter: LogFilter): (event: StoredEvent) => boolean {
  if (isOfAll(filter)) return () => true
  const { streams, categories, types } = filter
  const ofTypes = types && new Set(types)
  const ofStreams = new Set(streams)
  const ofCategories = new Set(categories)
  const isAnyStream = !streams && !categories
  return ({ stream, type }) =>
    (ofTypes?.has(type) ?? true) &&
    (isAnyStream || ofStreams.has(stream) || ofCategories.has(categoryOf(stream)))
}

function isOfAll({ streams, categories, types }: LogFilter): boolean {
  return !streams && !categories && !types
}

/** Whether two filters name the same in the same order. */
export function isSameFilter(a: LogFilter, b: LogFilter): boolean {
  return KEYS.every((key) => {
    const [ours, theirs] = [a[key], b[key]]
    return ours?.length === theirs?.length && (ours?.every((name, i) => name === theirs?.[i]) ?? true)
  })
}

const KEYS = ['streams', 'categories', 'types'] as const

/** A filter that passes every event that one of these passes, and perhaps more. */
export function unionOf(filters: readonly LogFilter[]): LogFilter {
  const [first, ...others] = filters
  if (first && others.length === 0) return first
  const isAnyStream = filters.some(({ streams, categories }) => !streams && !categories)
  const isAnyType = filters.some(({ types }) => !types)
  const union = (key: keyof LogFilter) => [...new Set(filters.flatMap((filter) => filter[key] ?? []))]
  const [streams, categories, types] = [union('streams'), union('categories'), union('types')]
  // Long lists cost more than the events that they keep out.
  return {
    streams: isAnyStream || streams.length + categories.length > MAX_UNION_NAMES ? undefined : streams,
    categories: isAnyStream || streams.length + categories.length > MAX_UNION_NAMES ? undefined : categories,
    types: isAnyType || types.length > MAX_UNION_NAMES ? undefined : types,
  }
}

const MAX_UNION_NAMES = 500
