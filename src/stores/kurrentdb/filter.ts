import { matcherOf } from '../../adapter/log-filter.ts'
import { categoryOf, RESERVED_STREAMS } from '../../model/names.ts'
import type { LogFilter, StoredEvent } from '../../adapter/store-adapter.ts'
import type { ReadFilter } from './driver.ts'

/**
 * What the server leaves out: it matches either the names of streams or the types of events, by a regular expression that
 * it tries on every event of the log. Therefore many streams are asked for by their categories, and the store leaves out
 * the rest. The server's own events and those that the store keeps for itself are always left out.
 */
export function serverFilter({ streams = [], categories = [], types }: LogFilter): ReadFilter {
  if (streams.length + categories.length > 0) {
    if (streams.length + categories.length <= MAX_NAMES_PER_FILTER) return namesFilter(streams, categories)
    const coarse = new Set([...categories, ...streams.map(categoryOf)])
    if (coarse.size <= MAX_NAMES_PER_FILTER) return namesFilter([], [...coarse])
  } else if (types && types.length <= MAX_NAMES_PER_FILTER) {
    return { filterOn: 'eventType', regex: `\\A(?:${types.map(escape).join('|')})\\z` }
  }
  return { filterOn: 'streamName', regex: `\\A(?!\\$|${RESERVED_STREAMS})` }
}

function namesFilter(streams: readonly string[], categories: readonly string[]): ReadFilter {
  const names = streams.map((name) => `${escape(name)}\\z`)
  for (const category of categories) {
    names.push(`${escape(category)}\\z`)
    // A name is of the category before its first dash.
    if (!category.includes('-')) names.push(`${escape(category)}-`)
  }
  return { filterOn: 'streamName', regex: `\\A(?:${names.join('|')})` }
}

/** Whether nothing can be what is asked for. */
export function isNothing({ streams, categories, types }: LogFilter): boolean {
  if (types?.length === 0) return true
  return (streams ?? categories) !== undefined && !streams?.length && !categories?.length
}

/** Whether the server lets through what is asked for, and hardly anything else. */
export function isExact({ streams, categories, types }: LogFilter): boolean {
  const names = (streams?.length ?? 0) + (categories?.length ?? 0)
  if (streams || categories) return !types && names <= MAX_NAMES_PER_FILTER
  return !types || types.length <= MAX_NAMES_PER_FILTER
}

/** Whether an event that the server let through is asked for. */
export function clientFilter(filter: LogFilter): (event: StoredEvent) => boolean {
  const matches = matcherOf(filter)
  return (event) =>
    !event.stream.startsWith('$') &&
    !event.stream.startsWith(RESERVED_STREAMS) &&
    !event.type.startsWith('$') &&
    event.type !== SKIPPED_TYPE &&
    matches(event)
}

/** The type of what is stored in the place of revisions that were skipped. */
export const SKIPPED_TYPE = 'mneme:Skipped'

/** A text as a part of a regular expression of .NET's. */
function escape(text: string): string {
  return text.replace(/[\\*+?|{}[\]()^$.#\s-]/g, '\\$&')
}

/** With 20,000 names the server took seconds for a few hundred events, and answered nobody else meanwhile. */
const MAX_NAMES_PER_FILTER = 100
