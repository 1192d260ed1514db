import { environment } from '../base/environment.ts'
import { limits } from '../base/limits.ts'
import { nextRevision } from './append-rules.ts'
import type { NewEvent, SkipRequest, SkipVerdict, StoreAdapter } from './store-adapter.ts'

/**
 * Skips revisions of a stream by appending places of erased events. For stores in which an event of version 0 without a text is
 * what erasing leaves of it.
 */
export async function skipByAppending(
  append: StoreAdapter['append'],
  { stream, expected, before }: SkipRequest,
): Promise<SkipVerdict> {
  for (let next = nextRevision(expected); next < before; next += limits.appendEvents) {
    const count = Math.min(before - next, limits.appendEvents)
    const conditions = [{ stream, expected: next === 0 ? 'none' : next - 1 } as const]
    const events = Array.from({ length: count }, () => placeIn(stream))
    const verdict = await append({ conditions, events, keys: [], ids: 'made' })
    if (verdict.kind === 'conflict' || verdict.kind === 'erased') return verdict
  }
  return { kind: 'done' }
}

function placeIn(stream: string): NewEvent {
  return { stream, id: environment.uuid(), type: '', version: 0, data: '', metadata: '' }
}
