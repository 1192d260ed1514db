import { decode } from '../model/upcast.ts'
import { FoldError, StreamTruncatedError } from '../base/errors.ts'
import type { StreamEvent } from '../model/event.ts'
import { freezeState, freezeStep } from './freeze.ts'
import { streamEventOf } from '../store/decode.ts'
import type { Revision } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { AnyStream, Fold } from '../model/stream.ts'

/** The state of a stream at a revision. */
export interface FoldedState {
  readonly stream: AnyStream
  readonly revision: Revision
  /** The id of the event at that revision: a revision is a number, not an identity. */
  readonly lastId: string | undefined
  /** Never handed out but through {@link see}. */
  readonly state: unknown
  /** Another instance, for who sees it, where the state cannot be isolated from who sees it. */
  readonly twin: { readonly state: unknown } | undefined
  /** Whether it was at hand already, so that it may be behind the store. */
  readonly cached: boolean
}

/** A state as it may be handed out. One that cannot be isolated is handed out once. */
export function see({ stream, state, twin }: FoldedState): unknown {
  if (twin) return twin.state
  return stream.fold.isolation === 'copy' ? (state as { clone(): unknown }).clone() : state
}

/** A state as a result: an instance that no decision has seen. */
export function seeAfter(folded: FoldedState): unknown {
  return folded.twin ? folded.state : see(folded)
}

/** Whether a state can be seen several times without one seeing what another did to it. */
export function isShareable({ twin }: FoldedState): boolean {
  return twin === undefined
}

/**
 * Folds a stream's state from its events, up to a revision where one is given.
 *
 * @param options `known`: an earlier state of it, to read on from; if the stream is not its continuation, all
 *   is read.
 * @throws StreamTruncatedError, UnknownEventError, FoldError
 */
export async function foldStream(
  core: StoreCore,
  stream: AnyStream,
  options: { known?: FoldedState | undefined; upTo?: Revision } = {},
): Promise<FoldedState> {
  const { known, upTo } = options
  if (known?.stream.fold === stream.fold && isShareable(known)) {
    const continued = await readOn(core, known, upTo)
    if (continued) return continued
  }
  const folding = new Folding(stream)
  if (upTo === 'none') return folding.result()
  const limit = upTo === undefined ? undefined : upTo + 1
  const request = { stream: stream.stream, direction: 'forwards', from: undefined, limit } as const
  for await (const page of core.read(request)) {
    if (page.length === 0) throw new StreamTruncatedError(stream.stream, undefined)
    for (const event of page) folding.add(event)
  }
  const result = folding.result()
  if (isShareable(result) || !folding.alone) return result
  unshareable.add(stream.fold)
  return foldStream(core, stream, options)
}

/** The state after further events, which are not stored yet. @throws FoldError */
export function evolve(folded: FoldedState, events: readonly StreamEvent[]): FoldedState {
  const last = events.at(-1)
  if (!last) return folded
  const { stream } = folded
  let state = stream.fold.isolation === 'copy' ? (folded.state as { clone(): unknown }).clone() : folded.state
  for (const event of events) state = step(stream.fold, state, event)
  const isolated = isolate(stream.fold, state)
  return {
    stream,
    revision: last.revision,
    lastId: last.id,
    state,
    twin: isolated ? undefined : { state },
    cached: false,
  }
}

/** Folds of whose states some could not be frozen: each decision gets instances of its own. */
const unshareable = new WeakSet<Fold<unknown>>()

/** A state that grows event by event; where it cannot be isolated, with a twin of other instances. */
class Folding {
  readonly #stream: AnyStream
  readonly #states: unknown[]
  #revision: Revision = 'none'
  #lastId: string | undefined

  constructor(stream: AnyStream) {
    const { fold } = stream
    this.#stream = stream
    const twins = fold.isolation === 'none' || unshareable.has(fold)
    this.#states = twins ? [initial(fold), initial(fold)] : [initial(fold)]
  }

  /** Whether there is no twin. */
  get alone(): boolean {
    return this.#states.length === 1
  }

  add(stored: StoredEvent): void {
    const { stream, fold } = this.#stream
    const expected = this.#revision === 'none' ? 0 : this.#revision + 1
    if (stored.revision !== expected) throw new StreamTruncatedError(stream, stored.revision)
    for (let i = 0; i < this.#states.length; i++) {
      this.#states[i] = step(fold, this.#states[i], streamEventOf(stored))
    }
    this.#revision = stored.revision
    this.#lastId = stored.id
  }

  result(): FoldedState {
    const [state, twin] = this.#states
    const shareable = this.alone && isolate(this.#stream.fold, state)
    return {
      stream: this.#stream,
      revision: this.#revision,
      lastId: this.#lastId,
      state,
      twin: shareable ? undefined : { state: twin },
      cached: false,
    }
  }
}

/** The same state, moved on by the events after it; `undefined` where the stream is not its continuation. */
async function readOn(
  core: StoreCore,
  known: FoldedState,
  upTo: Revision = Infinity,
): Promise<FoldedState | undefined> {
  const { stream } = known.stream
  const from = known.revision
  if (from === 'none' || upTo === 'none' || upTo < from) return undefined
  const limit = upTo === Infinity ? undefined : upTo - from + 1
  let folded: FoldedState | undefined
  for await (const page of core.read({ stream, direction: 'forwards', from, limit })) {
    const [first] = page
    const isNext = folded !== undefined || (first?.revision === from && first.id === known.lastId)
    if (!isNext) return undefined
    folded = evolve(folded ?? known, page.slice(folded ? 0 : 1).map(streamEventOf))
    if (!isShareable(folded)) return undefined
  }
  return folded && { ...folded, cached: false }
}

function initial(fold: Fold<unknown>): unknown {
  const state = fold.initial()
  if (fold.isolation === 'freeze') freezeState(state)
  return state
}

function step(fold: Fold<unknown>, state: unknown, event: StreamEvent): unknown {
  const decoded = decode(fold, event)
  try {
    const next = fold.evolve(state as never, decoded)
    // At every step, so that an apply that changes its argument fails wherever the folding began.
    if (fold.isolation === 'freeze') freezeStep(next)
    return next
  } catch (error) {
    throw new FoldError(event, error)
  }
}

function isolate(fold: Fold<unknown>, state: unknown): boolean {
  return fold.isolation === 'copy' || (fold.isolation === 'freeze' && freezeState(state))
}
