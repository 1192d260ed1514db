import { anchorOf, repeatOf } from '../../adapter/append-rules.ts'
import { OutcomeUnknownError } from '../../base/errors.ts'
import type { Revision } from '../../base/revision.ts'
import type { Appended, AppendRequest, Repeated, StoredEvent } from '../../adapter/store-adapter.ts'
import type { Batch } from './batch.ts'
import { EVERYTHING, type Reader } from './read.ts'
import { appendOf, toStored } from './rows.ts'

/**
 * Whether events that the server says are written were written by this very append: an earlier one with the same ids
 * it takes for a success, too.
 */
export async function isOfAppend(
  reader: Reader,
  batch: Batch,
  verdict: Appended,
  append: string,
): Promise<boolean> {
  const [event] = batch.requests[0]!.events
  const from = verdict.revisions[0]!
  const page = await reader
    .page(event!.stream, { direction: 'forwards', from, count: 1 })
    .catch((cause: unknown) => {
      throw new OutcomeUnknownError('the events are stored, but by which append could not be read', { cause })
    })
  const [record] = page?.records ?? []
  return record?.id === event!.id && appendOf(record) === append
}

/** The answer to an append whose events are stored already, which lie together in the log. */
export async function findRepeat(reader: Reader, request: AppendRequest): Promise<Repeated | undefined> {
  const anchor = anchorOf(request)
  if (!anchor) return undefined
  const { conditions, events } = request
  const { id, stream } = events[anchor.index]!
  const page = await reader.page(stream, { direction: 'forwards', from: anchor.revision, count: 1 })
  const [record] = page?.records ?? []
  if (record?.id !== id || Number(record.revision) !== anchor.revision) return undefined
  const known = toStored(record)
  const stored = [
    ...(await neighbours(reader, 'backwards', known, anchor.index)).reverse(),
    known,
    ...(await neighbours(reader, 'forwards', known, events.length - anchor.index - 1)),
  ]
  const written = new Set(events.map((event) => event.stream))
  const now = await Promise.all(
    conditions.map(async ({ stream, expected }): Promise<Revision> => {
      const isRead = (expected === 'any' || expected === 'exists') && !written.has(stream)
      return isRead ? reader.head(stream) : 'none'
    }),
  )
  return repeatOf(request, stored, now)
}

async function neighbours(
  reader: Reader,
  direction: 'forwards' | 'backwards',
  { position }: StoredEvent,
  limit: number,
): Promise<StoredEvent[]> {
  const found: StoredEvent[] = []
  if (limit === 0) return found
  for await (const page of reader.all({ ...EVERYTHING, direction, after: position, limit }))
    found.push(...page)
  return found
}
