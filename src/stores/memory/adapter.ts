import { ALL_CAPABILITIES } from '../../adapter/capabilities.ts'
import {
  anchorOf,
  conflictOf,
  placeEvents,
  repeatOf,
  streamsOf,
  unneededErasure,
} from '../../adapter/append-rules.ts'
import { currentTime } from '../../base/clock.ts'
import { matcherOf } from '../../adapter/log-filter.ts'
import { type LogSource, tailLog } from '../../adapter/subscription-hub.ts'
import { formatPosition, parsePosition } from '../../adapter/position.ts'
import { skipByAppending } from '../../adapter/skipping.ts'
import { categoryOf, compareNames } from '../../model/names.ts'
import { historyRewound, StreamDeletedError } from '../../base/errors.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type {
  AppendRequest,
  AppendVerdict,
  EventsErased,
  EraseRequest,
  EraseVerdict,
  KeptKey,
  KeyClaim,
  KeyUse,
  ReadAllRequest,
  ReadRequest,
  Repeated,
  Snapshot,
  SnapshotKeeper,
  StoreAdapter,
  StoredEvent,
  StreamsRequest,
  StreamSummary,
} from '../../adapter/store-adapter.ts'
import { environment } from '../../base/environment.ts'

/** The data of a memory store. Two adapters over the same data are like two processes over one database. */
export class MemoryData {
  readonly identity = environment.uuid()
  /** Every event; position n is at index n - 1. Of an erased event, its place and its id are left, and version 0. */
  readonly log: StoredEvent[] = []
  readonly streams = new Map<string, StoredEvent[]>()
  readonly keys = new Map<string, KeptClaim>()
  readonly deleted = new Set<string>()
  /** The snapshots of each stream, by their names. */
  readonly snapshots = new Map<string, Map<string, Snapshot>>()
  /** Called after each append. */
  readonly watchers = new Set<() => void>()
}

/** An idempotency key, with the index of the first of its events in the log. */
interface KeptClaim extends KeyClaim {
  readonly heads: KeyUse['heads']
}

/** The minimal reference of an adapter, and the model in property tests. */
export function memoryAdapter(data = new MemoryData()): StoreAdapter {
  const adapter: StoreAdapter = {
    capabilities: ALL_CAPABILITIES,
    identity: () => Promise.resolve(data.identity),
    append: (request) => {
      const verdict = append(data, request)
      if (verdict.kind === 'appended') for (const changed of data.watchers) changed()
      return Promise.resolve(verdict)
    },
    erase: (request) => {
      const verdict = erase(data, request)
      if (verdict.kind === 'done') for (const changed of data.watchers) changed()
      return Promise.resolve(verdict)
    },
    skip: (request) => skipByAppending((append) => adapter.append(append), request),
    read: (request) => pagesOfStream(data, request),
    readAll: (request) => pagesOfAll(data, request),
    streams: (request) => pagesOfStreams(data, request),
    keys: (after) => pagesOfKeys(data, after),
    // eslint-disable-next-line @typescript-eslint/require-await -- so that it rejects rather than throws
    heads: async (streams) => streams.map((stream) => headOf(data, ensureThere(data, stream))),
    logHead: () => Promise.resolve(data.log.at(-1)?.position),
    idAt: (position) => Promise.resolve(idAt(data, position)),
    subscribe: tailLog(sourceOf(data)),
    snapshots: snapshotsIn(data),
    close: () => Promise.resolve(),
  }
  return adapter
}

function snapshotsIn({ streams, snapshots }: MemoryData): Required<SnapshotKeeper> {
  return {
    get: (stream, name) => Promise.resolve(snapshots.get(stream)?.get(name)),
    put: ({ stream, name, revision, id, content }) => {
      const isThere =
        streams
          .get(stream)
          ?.some((event) => event.revision === revision && event.id === id && !isErased(event)) ?? false
      if (isThere) {
        const named = snapshots.get(stream) ?? new Map<string, Snapshot>()
        snapshots.set(stream, named.set(name, { revision, id, content }))
      }
      return Promise.resolve(isThere)
    },
    delete: (stream) => {
      snapshots.delete(stream)
      return Promise.resolve()
    },
    list: ({ name, after = '', limit }) => {
      const names = [...snapshots].flatMap(([stream, named]) =>
        named.has(name) && compareNames(stream, after) > 0 ? [stream] : [],
      )
      return Promise.resolve(names.sort(compareNames).slice(0, limit))
    },
  }
}

function append(data: MemoryData, request: AppendRequest): AppendVerdict {
  if (request.keys.length > 0) {
    const uses = request.keys.flatMap(({ key }) => useOf(data, key) ?? [])
    const erased = erasedIn(
      data,
      uses.flatMap(({ events }) => events),
    )
    if (erased) return erased
    if (uses.length > 0) return { kind: 'used', uses }
  }
  const deleted = request.conditions.find(({ stream }) => data.deleted.has(stream))
  if (deleted) return { kind: 'erased', stream: deleted.stream, firstRevision: undefined }
  const before = request.conditions.map(({ stream }) => headOf(data, stream))
  const repeated = firstAppendOf(data, request, before)
  if (repeated) return erasedIn(data, repeated.events) ?? repeated
  const conflict = conflictOf(request, before)
  if (conflict) return conflict
  const { revisions, heads } = placeEvents(request, before)
  const time = currentTime()
  const stored = request.events.map(
    ({ stream, id, type, version, data: json, metadata, time: recorded = time }, i): StoredEvent => ({
      stream,
      id,
      type,
      version,
      data: json,
      metadata,
      time: recorded,
      revision: revisions[i]!,
      position: formatPosition(data.log.length + i + 1),
    }),
  )
  for (const event of stored) {
    data.log.push(event)
    streamOf(data, event.stream).push(event)
  }
  for (const claim of request.keys) {
    const { key, fingerprint, first, count } = claim
    if (count === 0) continue
    const { heads } = placeEvents({ ...request, events: request.events.slice(0, first + count) }, before)
    const known = new Map(request.conditions.map(({ stream }, i) => [stream, heads[i]!]))
    const named = streamsOf(claim, known).map((stream) => [stream, known.get(stream)!] as const)
    const index = data.log.length - stored.length + first
    data.keys.set(key, { key, fingerprint, first: index, count, heads: named })
  }
  return {
    kind: 'appended',
    revisions,
    positions: stored.map(({ position }) => position),
    time,
    heads,
  }
}

function erase(data: MemoryData, request: EraseRequest): EraseVerdict {
  const { stream, before = Infinity, notice } = request
  if (data.deleted.has(stream)) return { kind: 'erased', stream, firstRevision: undefined }
  const unneeded = unneededErasure(request, headOf(data, stream), firstOf(data, stream))
  if (unneeded) return unneeded
  const events = streamOf(data, stream)
  for (const [revision, event] of events.entries()) {
    if (revision >= before) break
    const left = { ...event, version: ERASED, type: '', data: '', metadata: '' }
    events[revision] = data.log[parsePosition(event.position) - 1] = left
  }
  if (before === Infinity) data.deleted.add(stream)
  // A snapshot goes with its event.
  for (const [name, { revision }] of data.snapshots.get(stream) ?? [])
    if (revision < before) data.snapshots.get(stream)!.delete(name)
  const conditions = [{ stream: notice.stream, expected: 'any' }] as const
  const noted = append(data, { conditions, events: [notice], keys: [], ids: 'made' })
  return { kind: 'done', position: (noted as Extract<typeof noted, { kind: 'appended' }>).positions[0]! }
}

function useOf({ keys, log }: MemoryData, key: string): KeyUse | undefined {
  const kept = keys.get(key)
  if (!kept) return undefined
  const { fingerprint, first, count, heads } = kept
  return { key, fingerprint, events: log.slice(first, first + count), heads }
}

/** The verdict on an append that repeats these events, if one of them was erased. */
function erasedIn(data: MemoryData, events: readonly StoredEvent[]): EventsErased | undefined {
  const erased = events.find(isErased)
  if (!erased) return undefined
  const { stream } = erased
  const firstRevision = data.deleted.has(stream) ? undefined : firstOf(data, stream)
  return { kind: 'erased', stream, firstRevision }
}

function isErased({ version }: StoredEvent): boolean {
  return version === ERASED
}

/** The version of an erased event. */
const ERASED = 0

/** The first revision that a stream has, or that comes next. */
function firstOf({ streams }: MemoryData, stream: string): number {
  const events = streams.get(stream) ?? []
  const first = events.findIndex((event) => !isErased(event))
  return first < 0 ? events.length : first
}

/** @throws StreamDeletedError */
function ensureThere({ deleted }: MemoryData, stream: string): string {
  if (deleted.has(stream)) throw new StreamDeletedError(stream)
  return stream
}

/** The answer to an append whose events are stored already. */
function firstAppendOf(
  { streams, log }: MemoryData,
  request: AppendRequest,
  now: readonly Revision[],
): Repeated | undefined {
  const anchor = anchorOf(request)
  const stream = anchor && request.events[anchor.index]!.stream
  const known = stream === undefined ? undefined : streams.get(stream)?.[anchor!.revision]
  if (!known) return undefined
  const first = parsePosition(known.position) - 1 - anchor!.index
  return first < 0 ? undefined : repeatOf(request, log.slice(first, first + request.events.length), now)
}

function streamOf({ streams }: MemoryData, stream: string): StoredEvent[] {
  let events = streams.get(stream)
  if (!events) streams.set(stream, (events = []))
  return events
}

function headOf(data: MemoryData, stream: string): Revision {
  return data.streams.get(stream)?.at(-1)?.revision ?? 'none'
}

function idAt({ log }: MemoryData, position: Position): string | undefined {
  return log[parsePosition(position, 'from') - 1]?.id
}

/** The log of a memory store, for `tailLog`. */
export function sourceOf(data: MemoryData): LogSource {
  const { log, watchers } = data
  return {
    // eslint-disable-next-line @typescript-eslint/require-await -- all of it is at hand
    async *scan({ after, ...filter }) {
      if (after && idAt(data, after.position) !== after.id) throw historyRewound(after.position)
      const matches = matcherOf(filter)
      let next = after ? parsePosition(after.position) : 0
      for (const end = log.length; next < end; next += PAGE_EVENTS) {
        const looked = log.slice(next, Math.min(next + PAGE_EVENTS, end))
        // The decoded form of an event is kept with this object; a copy keeps it from living as long as the log.
        const events = looked
          .filter((event) => !isErased(event) && matches(event))
          .map((event) => ({ ...event }))
        yield { events, through: looked.at(-1)! }
      }
    },
    watch: (changed) => {
      watchers.add(changed)
      return () => watchers.delete(changed)
    },
  }
}

// The events are looked up when the first page is asked for, as in every store.
// eslint-disable-next-line @typescript-eslint/require-await -- all of it is at hand
async function* pagesOfStream(
  data: MemoryData,
  request: ReadRequest,
): AsyncGenerator<StoredEvent[], undefined> {
  const { stream, direction, from, to, limit = Infinity } = request
  const events = data.streams.get(ensureThere(data, stream)) ?? []
  yield* direction === 'forwards'
    ? pages(events, { start: from ?? 0, end: to ?? Infinity, limit }, 1)
    : pages(events, { start: Math.min(from ?? Infinity, events.length - 1), end: to ?? 0, limit }, -1)
  // It may have been erased before, or meanwhile.
  const last = data.streams.get(ensureThere(data, stream))?.at(-1)
  if (direction === 'forwards' && last && (from ?? 0) <= last.revision && isErased(last)) yield []
  return undefined
}

// eslint-disable-next-line @typescript-eslint/require-await -- as above
async function* pagesOfAll(
  { log }: MemoryData,
  request: ReadAllRequest,
): AsyncGenerator<StoredEvent[], undefined> {
  const { direction, after, to, limit = Infinity } = request
  const begin = after === undefined ? undefined : parsePosition(after)
  const end = to === undefined ? undefined : parsePosition(to, 'to') - 1
  const matches = matcherOf(request)
  yield* direction === 'forwards'
    ? pages(log, { start: begin ?? 0, end: end ?? Infinity, limit }, 1, matches)
    : pages(
        log,
        { start: Math.min((begin ?? Infinity) - 2, log.length - 1), end: end ?? 0, limit },
        -1,
        matches,
      )
  return undefined
}

// eslint-disable-next-line @typescript-eslint/require-await -- as above
async function* pagesOfStreams(
  data: MemoryData,
  { category, after = '', limit = Infinity }: StreamsRequest,
): AsyncGenerator<StreamSummary[], undefined> {
  const { streams } = data
  const names = [...streams.keys()]
    .filter((name) => !data.deleted.has(name) && firstOf(data, name) < streams.get(name)!.length)
    .filter(
      (name) => compareNames(name, after) > 0 && (category === undefined || categoryOf(name) === category),
    )
    .sort(compareNames)
    .slice(0, limit)
  for (let i = 0; i < names.length; i += PAGE_EVENTS) {
    yield names.slice(i, i + PAGE_EVENTS).map((stream) => {
      const { length } = streams.get(stream)!
      return { stream, revision: length - 1, events: length - firstOf(data, stream) }
    })
  }
  return undefined
}

// eslint-disable-next-line @typescript-eslint/require-await -- as above
async function* pagesOfKeys(
  { keys }: MemoryData,
  after: Position = '',
): AsyncGenerator<KeptKey[], undefined> {
  yield [...keys.values()]
    .sort((a, b) => a.first - b.first)
    .map(({ key, fingerprint, first, count, heads }) => ({
      ...{ key, fingerprint, streams: heads.map(([stream]) => stream) },
      ...{ from: formatPosition(first + 1), through: formatPosition(first + count) },
    }))
    .filter(({ from }) => from > after)
  return undefined
}

/** Which events to look at, by their indexes, and how many to give. */
interface Range {
  readonly start: number
  /** Inclusive. */
  readonly end: number
  readonly limit: number
}

function* pages(
  events: readonly StoredEvent[],
  { start, end, limit }: Range,
  step: 1 | -1,
  matches: (event: StoredEvent) => boolean = () => true,
): Generator<StoredEvent[], undefined> {
  let left = limit
  let page: StoredEvent[] = []
  const isInside = (i: number) => i >= 0 && i < events.length && (step > 0 ? i <= end : i >= end)
  for (let i = start; isInside(i) && left > 0; i += step) {
    const event = events[i]!
    if (isErased(event) || !matches(event)) continue
    left--
    if (page.push(event) < PAGE_EVENTS) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
  return undefined
}

/** Events in a page. */
const PAGE_EVENTS = 256
