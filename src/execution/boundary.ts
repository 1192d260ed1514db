import { type Boundary, isRejection, type Streams } from '../model/command.ts'
import { InvalidArgumentError, quote } from '../base/errors.ts'
import { isGenerator } from '../base/functions.ts'
import { type ClaimChange, claiming, isClaimChange, settleClaims } from './claiming.ts'
import { type Claim, type ClaimState, isClaim, ownerIn } from '../model/claim.ts'
import { evolve, type FoldedState, see } from './fold.ts'
import { type AnyStream, isStream } from '../model/stream.ts'
import { type Call, type Place, type Placed, RETURNED } from './call.ts'
import type { Event, StreamEvent } from '../model/event.ts'
import { checkStreamName } from '../model/names.ts'
import type { Revision } from '../base/revision.ts'
import type { TimeOf } from '../model/upcast.ts'

/** What a command read: its streams, including those that it follows, and their states. */
export interface Reading {
  readonly boundary: Boundary
  readonly states: StateSet
  /** What `follow` threw. It counts as a decision: it is verified against the states that were read. */
  readonly threw?: { readonly error: unknown }
}

/**
 * Reads the states of a command's streams: first those in `reads`, then those that it follows.
 *
 * @param load folds a stream, up to the revision of an earlier fold of the same stream if there is one.
 */
export async function readBoundary(
  { command, context }: Pick<Call, 'command' | 'context'>,
  boundary: Boundary,
  load: (stream: AnyStream, known?: FoldedState) => Promise<FoldedState>,
): Promise<Reading> {
  const states = new StateSet()
  const read = async (streams: readonly AnyStream[]) => {
    const missing = new Map<string, AnyStream[]>()
    for (const stream of streams) {
      const same = missing.get(stream.stream) ?? []
      if (states.get(stream) || same.some(({ fold }) => fold === stream.fold)) continue
      missing.set(stream.stream, [...same, stream])
    }
    const loaded = await Promise.all(
      [...missing].map(async ([name, folds]) => {
        const own: FoldedState[] = []
        for (const stream of folds) own.push(await load(stream, states.of(name)[0] ?? own[0]))
        return own
      }),
    )
    // In the order of the boundary, in which a store keeps the heads with an idempotency key.
    for (const folded of loaded.flat()) states.add(folded)
  }
  if (isStream(boundary)) {
    await read([boundary])
    return { boundary, states }
  }
  await read(listStreams(boundary))
  if (!command.follow) return { boundary, states }
  let followed: Streams
  try {
    const named = states.shape(boundary) as never
    followed = checkBoundary(
      context.runInAsyncScope(() => command.follow?.(named)),
      'follow',
    ) as Streams
    for (const key of Object.keys(followed)) {
      if (Object.hasOwn(boundary, key))
        throw new InvalidArgumentError(`follow.${key}`, {
          message: `follow.${key}: reads has the key '${key}' already; choose another`,
        })
    }
    listStreams(followed)
  } catch (error) {
    return { boundary, states, threw: { error } }
  }
  await read(listStreams(followed))
  return { boundary: { ...boundary, ...followed }, states }
}

/** The boundary with other streams of the same aggregates. */
export function renameStreams(boundary: Boundary, nameOf: (stream: string) => string): Boundary {
  const rename = (stream: AnyStream): AnyStream => ({ ...stream, stream: nameOf(stream.stream) })
  const join: JoinClaim = (streams, { claim }) => ({ claim, streams })
  return isStream(boundary) ? rename(boundary) : (mapStreams(boundary, rename, { join }) as Streams)
}

type MapStream = (stream: AnyStream) => unknown
/** What becomes of a claim, whose streams were mapped. */
type JoinClaim = (mapped: readonly unknown[], claim: Claim) => unknown

/** Maps every stream of a boundary, in the boundary's shape. @throws InvalidArgumentError */
function mapStreams(
  streams: Streams,
  map: MapStream,
  { argument = 'reads', join = (mapped) => mapped }: { argument?: string | undefined; join?: JoinClaim } = {},
): Record<string, unknown> {
  const entries = Object.entries(streams).map(([key, entry]) => {
    return [key, mapEntry(entry, `${argument}.${key}`, map, join)]
  })
  return Object.fromEntries(entries) as Record<string, unknown>
}

/** The streams of a boundary. A stream that is named twice is listed twice. @throws InvalidArgumentError, LimitError */
export function listStreams(streams: Streams, argument?: string): AnyStream[] {
  const list: AnyStream[] = []
  mapStreams(streams, (stream) => list.push(stream), { argument })
  for (const { stream } of list) checkStreamName(stream, 'the stream')
  return list
}

/** Checks a boundary. @throws InvalidArgumentError, LimitError */
export function checkBoundary(boundary: unknown, argument = 'reads'): Boundary {
  const isObject = typeof boundary === 'object' && boundary !== null && !Array.isArray(boundary)
  if (!isObject || 'then' in boundary || isGenerator(boundary)) {
    throw new InvalidArgumentError(argument, 'a stream, like BankAccount(id), or a record of streams')
  }
  if (isStream(boundary)) checkStreamName(boundary.stream, 'the stream')
  return boundary as Boundary
}

/** Makes `on`: for every key of the boundary, a function that records events on its stream, or what a claim has. */
export function onStreams(streams: Streams, states: StateSet): Record<string, unknown> {
  const owners = new Map<string, string | undefined>()
  const called: ClaimChange[] = []
  const entries = Object.entries(streams).map(([key, entry]) => {
    if (entry === undefined) return [key, leftOut(key)]
    if (isStream(entry)) return [key, (...events: Event[]) => ({ stream: entry.stream, events })]
    if (isClaim(entry)) {
      for (const stream of entry.streams)
        owners.set(stream.stream, (states.get(stream)?.state as ClaimState).owner)
      return [key, claiming(entry, owners, called)]
    }
    const list = entry as Readonly<Record<string | number, AnyStream>>
    return [
      key,
      (which: string | number, ...events: Event[]) => {
        const stream = Object.hasOwn(list, which) ? list[which] : undefined
        if (!stream)
          throw new InvalidArgumentError(`on.${key}`, {
            message: `on.${key}(which, ...): reads.${key} has no stream with that index or key`,
          })
        return { stream: stream.stream, events }
      },
    ]
  })
  return new Proxy(Object.fromEntries(entries) as Record<string, unknown>, LEFT_OUT)
}

/** For streams that `follow` named another time, but not this time. */
const LEFT_OUT: ProxyHandler<Record<string, unknown>> = {
  get: (on, key) => {
    if (typeof key === 'symbol' || key in on || key === 'then' || key === 'toJSON') return on[key as string]
    return leftOut(key)
  },
}

/** What `on` has for a stream that the decision does not read: fails when it is called. */
function leftOut(key: string): object {
  const fail = () => {
    throw new InvalidArgumentError(`on.${key}`, {
      message:
        `on.${key}(...): this decision reads no stream under '${key}', because reads or follow left it out; ` +
        `record events only if the state has '${key}'`,
    })
  }
  return Object.assign(fail, { claim: fail, release: fail })
}

/** Places the events of a command over one stream. */
export function placeOnOne(stream: AnyStream): Place {
  return (items) =>
    items.map((item) => {
      if (typeof item === 'object' && item !== null && 'type' in item) return { stream, event: item }
      throw new InvalidArgumentError(
        RETURNED,
        `an event, an array of events, or reject(...); for ${quote(stream.stream)} it was ${kindOf(item)}`,
      )
    })
}

/** Places the events of a command over several streams. */
export function placeOnSeveral(streams: readonly AnyStream[]): Place {
  const place = (item: unknown): Placed[] => {
    const { stream: name, events } = (item ?? {}) as { readonly stream?: unknown; readonly events?: unknown }
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
  return (items) => {
    const settled = settleClaims(items.filter(isClaimChange))
    const pending = new Map(isRejection(settled) ? [] : settled)
    const placed = items.flatMap((item) => {
      if (isRejection(item)) return []
      if (!isClaimChange(item)) return place(item)
      return item.of.streams.flatMap(({ stream }) => {
        const events = pending.get(stream) ?? []
        pending.delete(stream)
        return place({ stream, events })
      })
    })
    return items.find(isRejection) ?? (isRejection(settled) ? settled : placed)
  }
}

function mapEntry(entry: Streams[string], path: string, map: MapStream, join: JoinClaim): unknown {
  if (entry === undefined) return undefined
  if (typeof entry !== 'object' || (entry as unknown) === null) throw notStreams(path)
  if (isStream(entry)) return map(entry)
  if (isClaim(entry)) {
    return join(
      entry.streams.map((item, i) => mapItem(item, `${path}.streams[${String(i)}]`, map)),
      entry,
    )
  }
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
  if (isGenerator(value)) return 'a generator, of which nothing runs'
  return typeof value === 'object' ? 'something else' : `a ${typeof value}`
}

/** The folded states of a boundary: one for each stream and each fold of it. */
export class StateSet {
  readonly #states = new Map<string, FoldedState[]>()

  get({ stream, fold }: AnyStream): FoldedState | undefined {
    return this.#states.get(stream)?.find((folded) => folded.stream.fold === fold)
  }

  /** The states of one stream: several if different aggregates fold it. */
  of(stream: string): readonly FoldedState[] {
    return this.#states.get(stream) ?? []
  }

  add(folded: FoldedState): void {
    this.#states.set(folded.stream.stream, [...this.of(folded.stream.stream), folded])
  }

  /** One state of each stream. */
  byStream(): FoldedState[] {
    return [...this.#states.values()].flatMap(([first]) => first ?? [])
  }

  /** The head of each stream, by name. */
  revisions(): Map<string, Revision> {
    return new Map(this.byStream().map(({ stream, revision }) => [stream.stream, revision]))
  }

  all(): FoldedState[] {
    return [...this.#states.values()].flat()
  }

  /** The states after further events, each applied to the states of its stream; `timeOf` gives their time if they are stored. @throws FoldError */
  evolve(events: readonly StreamEvent[], timeOf?: TimeOf): StateSet {
    const byStream = new Map<string, StreamEvent[]>()
    for (const event of events) {
      const own = byStream.get(event.stream)
      if (own) own.push(event)
      else byStream.set(event.stream, [event])
    }
    const result = new StateSet()
    for (const folded of this.all()) {
      result.add(evolve(folded, byStream.get(folded.stream.stream) ?? [], timeOf))
    }
    return result
  }

  /** The states in the shape of the boundary, as `handle` gets them. */
  shape(boundary: Boundary): unknown {
    const seen = (stream: AnyStream) => see(this.get(stream)!)
    const join: JoinClaim = (states) => ownerIn(states as ClaimState[])
    return isStream(boundary) ? seen(boundary) : mapStreams(boundary, seen, { join })
  }
}
