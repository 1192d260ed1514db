import { nextRevision } from '../adapter/append-rules.ts'
import { unlessAborted } from '../base/abort.ts'
import { checkLimit, checkOptions, checkSignal } from '../base/arguments.ts'
import { ConflictError } from '../base/errors.ts'
import type { Revision } from '../base/revision.ts'
import type { ReadonlyState, StatesOf, Streams } from '../model/command.ts'
import { type AnyStream, isStream, type Stream } from '../model/stream.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { checkBoundary, listStreams, StateSet } from './boundary.ts'
import { routerOf } from './execute.ts'
import { type FoldedState, foldStream, see } from './fold.ts'
import type { ExecutionContext } from './context.ts'

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
 * @throws ConflictError if one of several streams is deleted or restored again and again while it is read.
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
  const loading = loadStates(routerOf(core).context, named, signal).finally(() => {
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
 * Reads the streams up to the heads that they had at one moment. Events never change, so however fast the streams change,
 * this is what was there at that moment. A single stream is read to its end.
 */
async function loadStates(
  context: ExecutionContext,
  streams: readonly AnyStream[],
  signal: AbortSignal | undefined,
): Promise<StateSet> {
  const { core, cache } = context
  const distinct = streams.filter(
    (stream, i) => streams.findIndex((other) => isSameFold(stream, other)) === i,
  )
  const names = distinct.length < 2 ? [] : [...new Set(distinct.map(({ stream }) => stream))]
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    // Before the heads are asked for, so that none of these is beyond them.
    const known = distinct.map((stream) => cache.get(stream))
    const heads = names.length === 0 ? [] : await core.heads(names)
    const headOf = new Map(names.map((name, i) => [name, heads[i]!] as const))
    const folding = distinct.map((stream, i) =>
      foldStream(core, stream, { known: known[i], upTo: headOf.get(stream.stream), signal }),
    )
    const states = new StateSet()
    for (const folded of await Promise.all(folding)) {
      keep(context, folded)
      states.add(folded)
    }
    const changed = [...headOf].find(([name, head]) => states.revisions().get(name) !== head)
    if (!changed) return states
    const [stream, expected] = changed
    if (attempt === MAX_ATTEMPTS)
      throw new ConflictError({ stream, expected, actual: states.revisions().get(stream)! })
  }
}

/** How often several streams are read if one of them is deleted, or restored to an earlier point, while it is read. */
const MAX_ATTEMPTS = 10

function isSameFold(a: AnyStream, b: AnyStream): boolean {
  return a.stream === b.stream && a.fold === b.fold
}

/** Caches a state, unless a command has cached a later one meanwhile. */
function keep(context: ExecutionContext, folded: FoldedState): void {
  const cached = context.cache.get(folded.stream)
  if (cached === undefined || nextRevision(cached.revision) <= nextRevision(folded.revision))
    context.keep(folded)
}
