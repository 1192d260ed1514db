import { categoryOf } from '../model/names.ts'
import type { LogFilter, StoredEvent } from './store-adapter.ts'

/** A function that gives the events that pass a filter: the same list, if the filter passes everything. */
export function selectorOf(filter: LogFilter): (events: readonly StoredEvent[]) => readonly StoredEvent[] {
  if (isOfAll(filter)) return (events) => events
  const matches = matcherOf(filter)
  return (events) => events.filter(matches)
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

/** Whether a filter passes nothing that another one does not pass. */
export function isWithin(inner: LogFilter, outer: LogFilter): boolean {
  if (outer.types) {
    const types = new Set(outer.types)
    if (!(inner.types?.every((type) => types.has(type)) ?? false)) return false
  }
  if (!outer.streams && !outer.categories) return true
  if (!inner.streams && !inner.categories) return false
  const [streams, categories] = [new Set(outer.streams), new Set(outer.categories)]
  const isCategoryIn = (category: string) => categories.has(category)
  const isStreamIn = (stream: string) => streams.has(stream) || isCategoryIn(categoryOf(stream))
  return (inner.categories?.every(isCategoryIn) ?? true) && (inner.streams?.every(isStreamIn) ?? true)
}

const MAX_UNION_NAMES = 500
