import type { EventStore, Recorded } from 'mneme'

import type { Direction, EventDetail, EventRow, LogPage, Shown, StreamPage } from './api.ts'
import {
  type CallContext,
  CallError,
  filterIn,
  limitIn,
  objectIn,
  optionalTextIn,
  pathIn,
  textIn,
  wholeIn,
} from './call.ts'
import { preview, show, valueAt } from './shown.ts'

/** An event as a list shows it. */
export function rowOf(event: Recorded): EventRow {
  const { stream, revision, position, id, type, version, time, metadata, data } = event
  const { correlation, causation } = metadata
  return {
    ...{ stream, revision, position, id, type, version, time },
    preview: preview(data),
    ...(correlation !== undefined && { correlation: correlation.slice(0, MAX_CONTEXT) }),
    ...(causation !== undefined && { causation: causation.slice(0, MAX_CONTEXT) }),
  }
}

/** Characters of a correlation or a causation that a row has. */
const MAX_CONTEXT = 500

/** A page of a stream's events. */
export async function streamPage({ store, signal }: CallContext, input: unknown): Promise<StreamPage> {
  const page = await store.readPage(textIn(input, 'stream'), {
    direction: directionIn(input),
    from: wholeIn(input, 'from'),
    limit: limitIn(input),
    signal,
  })
  return {
    head: page.head,
    events: page.events.map(rowOf),
    ...(page.next !== undefined && { next: page.next }),
  }
}

/** A page of all events, or of those that pass the filters. A filter by time looks at a bounded number of events. */
export async function logPage({ store, signal }: CallContext, input: unknown): Promise<LogPage> {
  const filter = { ...filterIn(input), direction: directionIn(input), signal }
  const since = timeIn(input, 'since')
  const until = timeIn(input, 'until')
  const limit = limitIn(input)
  const isTimed = since !== undefined || until !== undefined
  const events: EventRow[] = []
  let after = optionalTextIn(input, 'after')
  let scanned = 0
  for (;;) {
    const page = await store.readAllPage({ ...filter, after, limit: isTimed ? EVENTS_PER_SCAN : limit })
    for (const event of page.events) {
      scanned++
      after = event.position
      const time = Date.parse(event.time)
      if (since !== undefined && time < since) continue
      if (until !== undefined && time >= until) continue
      events.push(rowOf(event))
      if (events.length === limit) break
    }
    const isMore =
      page.next !== undefined || (page.events.length > 0 && after !== page.events.at(-1)?.position)
    if (!isMore || events.length >= limit || scanned >= MAX_EVENTS_PER_SCAN) {
      const next = isMore && after !== undefined ? { next: after } : {}
      return { head: page.head ?? null, events, scanned, ...next }
    }
  }
}

const EVENTS_PER_SCAN = 1_000
/** Events that one call looks at for a filter that the store does not have. */
const MAX_EVENTS_PER_SCAN = 20_000

/** One event, with its data as far as it is shown. */
export async function eventDetail({ store, signal }: CallContext, input: unknown): Promise<EventDetail> {
  const event = await findEvent(store, input, signal)
  const { data, metadata } = event
  return {
    ...rowOf(event),
    data: show(data),
    metadata: show(metadata),
    characters: JSON.stringify(data).length,
    head: await store.head(event.stream),
  }
}

/** More of a value of which only a part was shown. */
export async function valueOf({ store, signal }: CallContext, input: unknown): Promise<Shown> {
  const { of } = objectIn(input)
  const event = await findEvent(store, of, signal)
  const whole = textIn(of, 'part') === 'metadata' ? event.metadata : event.data
  return show(valueAt(whole, pathIn(input, 'path')), wholeIn(input, 'skip'))
}

/** The event at a place of a stream. @throws CallError if there is none. */
export async function findEvent(store: EventStore, place: unknown, signal: AbortSignal): Promise<Recorded> {
  const stream = textIn(place, 'stream')
  const revision = wholeIn(place, 'revision') ?? 0
  for await (const event of store.read(stream, { from: revision, to: revision, signal })) return event
  throw new CallError(`'${stream}' has no event of revision ${String(revision)}`, {
    code: 'NO_EVENT',
    status: 404,
  })
}

function directionIn(input: unknown): Direction {
  const direction = optionalTextIn(input, 'direction') ?? 'forwards'
  if (direction === 'forwards' || direction === 'backwards') return direction
  throw new CallError("'direction' has to be 'forwards' or 'backwards'")
}

function timeIn(input: unknown, name: string): number | undefined {
  const text = optionalTextIn(input, name)
  const time = text === undefined ? undefined : Date.parse(text)
  if (time !== undefined && Number.isNaN(time)) throw new CallError(`'${name}' has to be a time of ISO 8601`)
  return time
}
