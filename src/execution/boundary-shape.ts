import type { Boundary, Streams } from '../model/boundary.ts'
import { RETURNED, type Place } from './call.ts'
import { InvalidArgumentError, quote } from '../base/errors.ts'
import type { Event } from '../model/event.ts'
import { checkStreamName } from '../model/names.ts'
import { isStream, type AnyStream } from '../model/stream.ts'

/** Something for every stream of a boundary, in the boundary's shape. @throws InvalidArgumentError */
export function mapStreams(streams: Streams, map: (stream: AnyStream) => unknown): Record<string, unknown> {
  const entries = Object.entries(streams).map(([key, entry]) => [key, mapEntry(entry, `reads.${key}`, map)])
  return Object.fromEntries(entries) as Record<string, unknown>
}

/** The streams of a boundary; one that is named twice is there twice. @throws InvalidArgumentError, LimitError */
export function listStreams(streams: Streams): AnyStream[] {
  const list: AnyStream[] = []
  mapStreams(streams, (stream) => list.push(stream))
  for (const { stream } of list) checkStreamName(stream, 'the stream')
  return list
}

/** What a boundary must be. @throws InvalidArgumentError, LimitError */
export function checkBoundary(boundary: unknown): Boundary {
  if (typeof boundary !== 'object' || boundary === null || Array.isArray(boundary) || 'then' in boundary) {
    throw new InvalidArgumentError('reads', 'a stream, like BankAccount(id), or a record of streams')
  }
  if (isStream(boundary)) checkStreamName(boundary.stream, 'the stream')
  return boundary as Boundary
}

/** `on`: for every key of the boundary a function that says on which stream events are recorded. */
export function onStreams(streams: Streams): Record<string, unknown> {
  const entries = Object.entries(streams).map(([key, entry]) => {
    if (entry === undefined) return [key, undefined]
    if (isStream(entry)) return [key, (...events: Event[]) => ({ stream: entry.stream, events })]
    const list = entry as Readonly<Record<string | number, AnyStream>>
    return [
      key,
      (which: string | number, ...events: Event[]) => {
        const stream = Object.hasOwn(list, which) ? list[which] : undefined
        if (!stream)
          throw new InvalidArgumentError(`on.${key}(which, ...)`, `called with one of reads.${key}`)
        return { stream: stream.stream, events }
      },
    ]
  })
  return Object.fromEntries(entries) as Record<string, unknown>
}

/** The events of a command over one stream. */
export function placeOnOne(stream: AnyStream): Place {
  return (item) => {
    if (typeof item === 'object' && item !== null && 'type' in item) return [{ stream, event: item }]
    throw new InvalidArgumentError(
      RETURNED,
      `an event, an array of events, or reject(...); for ${quote(stream.stream)} it was ${kindOf(item)}`,
    )
  }
}

/** The events of a command over several streams. */
export function placeOnSeveral(streams: readonly AnyStream[]): Place {
  return (item) => {
    const { stream: name, events } = (item ?? {}) as { stream?: unknown; events?: unknown }
    const candidates = streams.filter(({ stream }) => stream === name)
    const [first] = candidates
    if (!first || !Array.isArray(events)) {
      throw new InvalidArgumentError(
        RETURNED,
        'on.<key>(event, ...) of a stream that was read, an array of these, or reject(...)',
      )
    }
    return events.map((event: Event | undefined | null) => {
      const knowing = event && candidates.find(({ fold }) => fold.eventTypes.has(event.type))
      return { stream: knowing ?? first, event }
    })
  }
}

function mapEntry(entry: Streams[string], path: string, map: (stream: AnyStream) => unknown): unknown {
  if (entry === undefined) return undefined
  if (typeof entry !== 'object' || (entry as unknown) === null) throw notStreams(path)
  if (isStream(entry)) return map(entry)
  if (Array.isArray(entry)) return entry.map((item, i) => mapItem(item, `${path}[${String(i)}]`, map))
  const items = Object.entries(entry).map(([key, item]) => [key, mapItem(item, `${path}.${key}`, map)])
  return Object.fromEntries(items)
}

function mapItem(item: unknown, path: string, map: (stream: AnyStream) => unknown): unknown {
  if (typeof item !== 'object' || item === null || !isStream(item)) throw notStreams(path)
  return map(item)
}

function notStreams(path: string): InvalidArgumentError {
  return new InvalidArgumentError(path, 'a stream, like BankAccount(id), an array or a record of streams')
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  return typeof value === 'object' ? 'something else' : `a ${typeof value}`
}
