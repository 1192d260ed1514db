import { HistoryRewoundError } from './errors.ts'
import type { Position } from './revision.ts'

/** The error of a place that is none in a store's history. */
export function rewound(position: Position): HistoryRewoundError {
  return new HistoryRewoundError(
    `position ${position} is no place in this store's history: the event that was seen there is not there. The store ` +
      'was restored to an earlier point, or the position is of another store',
  )
}
