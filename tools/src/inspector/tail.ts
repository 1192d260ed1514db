import type { Recorded } from 'mneme'

import type { Tail } from './api.ts'
import { type CallContext, filterIn, objectIn, optionalTextIn } from './call.ts'
import { rowOf } from './events.ts'

/**
 * What was appended behind a position: the last events, and how many there were in all. Without a position, the last events
 * of the store. However much was appended, one answer stays small, and one call reads a bounded number of events.
 */
export async function tail({ store, signal }: CallContext, input: unknown): Promise<Tail> {
  const filter = { ...filterIn(input), signal }
  const isFromStart = objectIn(input).after === null
  const start = isFromStart ? undefined : optionalTextIn(input, 'after')
  if (start === undefined && !isFromStart) {
    const { head, events } = await store.readAllPage({ ...filter, direction: 'backwards', limit: MAX_ROWS })
    return { after: head ?? null, events: events.map(rowOf).reverse(), passed: 0, isBehind: false }
  }
  const last: Recorded[] = []
  let after = start
  let passed = 0
  for (;;) {
    const { events, head, next } = await store.readAllPage({ ...filter, after, limit: EVENTS_PER_PAGE })
    passed += events.length
    last.push(...events)
    last.splice(0, last.length - MAX_ROWS)
    after = next ?? head
    if (next !== undefined && passed < MAX_EVENTS_PER_CALL) continue
    return { after: after ?? null, events: last.map(rowOf), passed, isBehind: next !== undefined }
  }
}

/** The page shows no more. */
const MAX_ROWS = 100
const EVENTS_PER_PAGE = 2_000
const MAX_EVENTS_PER_CALL = 20_000
