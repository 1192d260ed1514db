import { nextRevision } from '../adapter/append-rules.ts'
import { unlessAborted } from '../base/abort.ts'
import { checkLimit, checkOptions, checkSignal } from '../base/arguments.ts'
import { ConflictError } from '../base/errors.ts'
import type { Revision } from '../base/revision.ts'
import type { ReadonlyState, StatesOf, Streams } from '../model/command.ts'
import { type AnyStream, isStream, type Stream } from '../model/stream.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { checkBoundary, listStreams, StateSet } from './boundary.ts'
import { routerOf } from './execute.ts'
import { type FoldedState, foldStream, see } from './fold.ts'
import type { StateCache } from './state-cache.ts'

/** Options of `load`. */
export interface LoadOptions {
  /** Stops loading. */
  readonly signal?: AbortSignal | undefined
}

/** The state of a stream, and the revision at which it was read. */
export interface Loaded<State> {
  /** The state, read-only. The initial state if the stream has no event. */
  readonly state: ReadonlyState<State>
  /** The head of the stream, or `'none'`. */
  readonly revision: Revision
}

/** The states of several streams, as they stood at one moment. */
export interface LoadedStreams<S> {
  /** The states in the shape of the given streams, read-only. */
  readonly state: StatesOf<S>
  /** The head of each stream, by name. */
  readonly revisions: ReadonlyMap<string, Revision>
}

/**
 * Loads the state of a stream without a command, as committed: frozen, from the same cache, and verified against the store.
 *
 * Given a record of streams (of arrays, of records), it loads them as they stood at one moment.
 *
 * @throws StreamTruncatedError, UnknownEventError, FoldError if the state cannot be folded; the signal's reason.
 * @throws ConflictError if several streams change faster than they can be read.
 * @throws InvalidArgumentError, LimitError, OverloadedError, StoreClosedError, and the errors of the store's `read`.
 * @example
 * ```ts
 * const { state, revision } = await load(store, Door('front'))
 * ```
 */
export function load<State>(
  store: EventStore,
  stream: Stream<State>,
  options?: LoadOptions,
): Promise<Loaded<State>>
export function load<S extends Streams>(
  store: EventStore,
  streams: S,
  options?: LoadOptions,
): Promise<LoadedStreams<S>>
export async function load(
  store: EventStore,
  streams: AnyStream | Streams,
  options: LoadOptions = {},
): Promise<Loaded<unknown> | LoadedStreams<unknown>> {
  const core = coreOf(store)
  const signal = checkSignal(checkOptions(options, 'options', ['signal']).signal)
  const boundary = checkBoundary(streams, 'streams')
  const named = isStream(boundary) ? [boundary] : listStreams(boundary, 'streams')
  checkLimit('load', 'appendStreams', new Set(named.map(({ stream }) => stream)).size)
  core.enter()
  const loading = loadStates(core, routerOf(core).context.cache, named, signal).finally(() => {
    core.leave()
  })
  const states = await unlessAborted(loading, signal)
  if (isStream(boundary)) {
    const folded = states.get(boundary)!
    return { state: see(folded) as object, revision: folded.revision }
  }
  return { state: states.shape(boundary) as object, revisions: states.revisions() }
}

/**
 * Reads the streams again and again, each from its known state on, until none of them has changed since the reading before:
 * then all of them stood so at the moment between the two. A single stream is read once.
 */
async function loadStates(
  core: StoreCore,
  cache: StateCache,
  streams: readonly AnyStream[],
  signal: AbortSignal | undefined,
): Promise<StateSet> {
  signal?.throwIfAborted()
  let known = new StateSet()
  const distinct = streams.filter(
    (stream, i) => streams.findIndex((other) => isSameFold(stream, other)) === i,
  )
  for (const stream of distinct) {
    const cached = cache.get(stream)
    if (cached) known.add(cached)
  }
  for (let attempt = 1; ; attempt++) {
    const states = new StateSet()
    await Promise.all(
      distinct.map(async (stream) => {
        states.add(await foldStream(core, stream, { known: known.get(stream), signal }))
      }),
    )
    const all = states.all()
    const changed = all.find((folded) => !isSame(folded, known.get(folded.stream)))
    if (all.length < 2 || !changed) {
      for (const folded of states.byStream()) keep(cache, folded)
      return states
    }
    if (attempt === MAX_ATTEMPTS) {
      const expected = known.get(changed.stream)!.revision
      throw new ConflictError({ stream: changed.stream.stream, expected, actual: changed.revision })
    }
    known = states
  }
}

/** How often several streams are read before they count as changing too fast. */
const MAX_ATTEMPTS = 100

function isSameFold(a: AnyStream, b: AnyStream): boolean {
  return a.stream === b.stream && a.fold === b.fold
}

function isSame(folded: FoldedState, known: FoldedState | undefined): boolean {
  return folded.revision === known?.revision && folded.lastId === known.lastId
}

/** Caches a state, unless a command has cached a later one meanwhile. */
function keep(cache: StateCache, folded: FoldedState): void {
  const cached = cache.get(folded.stream)
  if (cached === undefined || nextRevision(cached.revision) <= nextRevision(folded.revision))
    cache.set(folded)
}
