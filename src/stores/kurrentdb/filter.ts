import { matcherOf } from '../../adapter/log-filter.ts'
import { RESERVED_STREAMS } from '../../model/names.ts'
import type { LogFilter, StoredEvent } from '../../adapter/store-adapter.ts'
import type { ReadFilter } from './driver.ts'

/**
 * What the server is to leave out: it looks either at the names of streams or at the types of events. Its own
 * events and those that the store keeps for itself are left out in any case.
 */
export function serverFilter({ streams, categories, types }: LogFilter): ReadFilter {
  if (streams || categories) {
    const names = [...(streams ?? []).map((name) => `${escape(name)}\\z`)]
    for (const category of categories ?? []) {
      names.push(`${escape(category)}\\z`)
      // A name is of the category before its first dash.
      if (!category.includes('-')) names.push(`${escape(category)}-`)
    }
    return { filterOn: 'streamName', regex: `\\A(?:${names.join('|')})` }
  }
  if (types) return { filterOn: 'eventType', regex: `\\A(?:${types.map(escape).join('|')})\\z` }
  return { filterOn: 'streamName', regex: `\\A(?!\\$|${RESERVED_STREAMS})` }
}

/** Whether nothing can be what is asked for. */
export function isNothing({ streams, categories, types }: LogFilter): boolean {
  if (types?.length === 0) return true
  return (streams ?? categories) !== undefined && !streams?.length && !categories?.length
}

/** Whether the server lets through what is asked for, and hardly anything else. */
export function isExact({ streams, categories, types }: LogFilter): boolean {
  return !types || (!streams && !categories)
}

/** Whether an event that the server let through is asked for. */
export function clientFilter(filter: LogFilter): (event: StoredEvent) => boolean {
  const matches = matcherOf(filter)
  return (event) =>
    !event.stream.startsWith('$') &&
    !event.stream.startsWith(RESERVED_STREAMS) &&
    !event.type.startsWith('$') &&
    matches(event)
}

/** A text as a part of a regular expression of .NET's. */
function escape(text: string): string {
  return text.replace(/[\\*+?|{}[\]()^$.#\s-]/g, '\\$&')
}
