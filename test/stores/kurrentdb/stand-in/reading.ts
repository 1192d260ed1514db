import { deletedStream, isEvent, now, type EventRecord, type Log } from './log.ts'
import { lastRevision, metadataOf } from './stream-metadata.ts'
import type { Filter } from './filters.ts'

export type Direction = 'forwards' | 'backwards'

/** What a read finds; the first and the last position are for those who ask for more than events. */
export type Found =
  | { readonly kind: 'event'; readonly event: EventRecord }
  | { readonly kind: 'first'; readonly revision: bigint }
  | { readonly kind: 'last'; readonly revision: bigint }

/** Why a read finds nothing. */
export type Unreadable = 'not-found' | 'tombstoned'

/** How many events the server looks for at a time; where the first ones are missing, it shows. */
const pageSize = 32n

export interface StreamRead {
  readonly stream: string
  readonly direction: Direction
  /** Backwards, -1: the end. */
  readonly from: bigint
  readonly count: bigint
}

/** The events of a stream, page by page, with those that come meanwhile. */
export function readStream(log: Log, read: StreamRead): Unreadable | Iterable<Found> {
  const problem = problemWith(log, read.stream)
  if (problem) return problem
  return read.direction === 'forwards' ? forwards(log, read) : backwards(log, read)
}

function problemWith(log: Log, stream: string): Unreadable | undefined {
  const last = lastRevision(log, stream)
  if (last === deletedStream) return 'tombstoned'
  return last < 0n || metadataOf(log, stream).truncateBefore === deletedStream ? 'not-found' : undefined
}

function* forwards(log: Log, { stream, from, count }: StreamRead): Generator<Found> {
  const size = count < pageSize ? count : pageSize
  let [next, left] = [from, count]
  for (;;) {
    const last = lastRevision(log, stream)
    const { first, isExpired } = bounds(log, stream)
    const isBefore = next + size <= first && !isExpired
    const page = visible(log, stream, next, next + size - 1n)
    const found = isBefore ? first : last + 1n
    if (left === count && page.length === 0 && found !== next) yield { kind: 'first', revision: found }
    for (const event of page) {
      if (left === 0n) break
      yield { kind: 'event', event }
      left--
    }
    const isAtEnd = isExpired || (next + size > last && !isBefore)
    if (isAtEnd || left === 0n) {
      yield { kind: 'last', revision: last }
      return
    }
    next = isBefore ? first : next + size
  }
}

function* backwards(log: Log, { stream, from, count }: StreamRead): Generator<Found> {
  const last = lastRevision(log, stream)
  const to = from < 0n || from > last ? last : from
  let left = count
  for (const event of visible(log, stream, 0n, to).toReversed()) {
    if (left-- === 0n) break
    yield { kind: 'event', event }
  }
  yield { kind: 'last', revision: last }
}

/** The first revision that is to be read, and whether all events are too old. */
function bounds(log: Log, stream: string): { first: bigint; isExpired: boolean } {
  const { maxCount, maxAge, truncateBefore = 0n } = metadataOf(log, stream)
  const events = log.eventsOf(stream)
  const counted = maxCount === undefined ? 0n : BigInt(events.length) - maxCount
  const since = maxAge === undefined ? 0n : now() - maxAge
  let first = counted > truncateBefore ? counted : truncateBefore
  while (first < events.length && events[Number(first)]!.created < since) first++
  return { first, isExpired: maxAge !== undefined && events.at(-1)!.created < since }
}

function visible(log: Log, stream: string, from: bigint, to: bigint): readonly EventRecord[] {
  const { first } = bounds(log, stream)
  return log.eventsOf(stream).slice(Number(from > first ? from : first), Number(to) + 1)
}

/** One event, as a link finds it; -1: the last one. */
export function readEvent(log: Log, stream: string, revision: bigint): EventRecord | undefined {
  if (revision < -1n || problemWith(log, stream)) return undefined
  const at = revision === -1n ? lastRevision(log, stream) : revision
  return visible(log, stream, at, at)[0]
}

export interface AllRead {
  readonly direction: Direction
  readonly from: bigint
  readonly count: bigint
  readonly filter: Filter
}

/** The events of all streams, and those that come meanwhile. What is deleted is still there. */
export function* readAll(log: Log, { direction, from, count, filter }: AllRead): Generator<EventRecord> {
  const step = direction === 'forwards' ? 1 : -1
  let left = count
  for (let i = log.indexAt(from) + (step === 1 ? 0 : -1); left > 0n; i += step) {
    const record = log.records[i]
    if (!record) return
    if (!isEvent(record) || !filter(record)) continue
    yield record
    left--
  }
}

/** What the server has to say of a position that no record begins, or ends, at; `undefined`: it is one. */
export function positionProblem(log: Log, direction: Direction, position: bigint): string | undefined {
  if (position > log.records.at(-1)!.position && direction === 'forwards') return undefined
  if (position > log.end) {
    return `Error >> Requested position ${String(position)} is greater than writer checkpoint ${String(log.end)} when requesting to read previous record from TF.`
  }
  if (position === log.end || log.records[log.indexAt(position)]?.position === position) return undefined
  // What was scavenged is passed over, wherever in it a read begins.
  if (position < log.scavengedTo) return undefined
  return `InvalidPosition >> Log record at actual pos ${String(position)} has non-positive length: 0.  in chunk #0-0 (chunk-000000.000000).`
}

/** What a link leads to; `event` is missing where that is not there any more. */
export function resolve(log: Log, record: EventRecord): { event?: EventRecord; link?: EventRecord } {
  if (record.type !== '$>') return { event: record }
  const [revision = '', ...stream] = Buffer.from(record.data).toString().split('@')
  if (!/^\s*[+-]?\d+\s*$/.test(revision)) return { event: record }
  const event = stream.length === 0 ? undefined : readEvent(log, stream.join('@'), BigInt(revision.trim()))
  return event ? { event, link: record } : { link: record }
}
