import { nextRevision } from '../adapter/append-rules.ts'
import { decode, type TimeOf } from '../model/upcast.ts'
import {
  FoldError,
  InvalidArgumentError,
  quote,
  StoreFailedError,
  StreamTruncatedError,
} from '../base/errors.ts'
import type { StreamEvent } from '../model/event.ts'
import { freezeState, freezeStep } from './freeze.ts'
import { streamEventOf } from '../store/decode.ts'
import { findSnapshot, tellerOf } from './snapshots.ts'
import type { Revision } from '../base/revision.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { AnyStream, Fold } from '../model/stream.ts'

/** The state of a stream at a revision. */
export interface FoldedState {
  readonly stream: AnyStream
  readonly revision: Revision
  /** The id of the event at that revision, because another history can have another event there. */
  readonly lastId: string | undefined
  /** Handed out only by {@link see}. */
  readonly state: unknown
  /** Whether it comes from the cache, so that it may be out of date. */
  readonly cached: boolean
  /** The revision of the last snapshot of its stream that is known. */
  readonly snapshotAt: Revision
}

/** A state for one decision or one caller, who cannot change the state itself: it is frozen, or a copy. */
export function see({ stream, state }: FoldedState): unknown {
  return stream.fold.isolation === 'copy' ? (state as Cloneable).clone() : state
}

interface Cloneable {
  clone(): unknown
}

/**
 * Folds a stream's state from its events, up to a revision if one is given: from its snapshot on, if it has one that the
 * stream continues.
 *
 * @param options `upTo`: the last revision. `known`: an earlier state, to which only later events are added; if the stream does not continue it, the
 *   whole stream is read. `signal`: stops it between two pages. `fromBeginning`: without a snapshot.
 * @throws the signal's reason; StreamTruncatedError, UnknownEventError, FoldError
 */
export async function foldStream(
  core: StoreCore,
  stream: AnyStream,
  options: {
    known?: FoldedState | undefined
    upTo?: Revision | undefined
    signal?: AbortSignal | undefined
    fromBeginning?: boolean
  } = {},
): Promise<FoldedState> {
  const { known, upTo, signal, fromBeginning = false } = options
  if (known?.stream.fold === stream.fold) {
    const continued = await readOn(core, known, upTo, signal)
    if (continued) return continued
  }
  const kept = fromBeginning || !stream.fold.snapshot ? {} : await foldSnapshot(core, stream, upTo, signal)
  if (kept.folded) return kept.folded
  const folding = new Folding(stream, kept.later)
  if (upTo === 'none') return folding.result()
  const limit = upTo === undefined ? undefined : upTo + 1
  const request = {
    stream: stream.stream,
    direction: 'forwards',
    from: undefined,
    to: undefined,
    limit,
  } as const
  for await (const page of core.read(request)) {
    signal?.throwIfAborted()
    if (page.length === 0) throw new StreamTruncatedError(stream.stream, undefined)
    for (const event of page) {
      if (!folding.isNext(event)) throw await gapBefore(core, stream.stream, folding.next, event.revision)
      folding.add(event)
    }
  }
  return folding.result()
}

/**
 * The state that a stream's snapshot and the events after it give.
 *
 * @returns no state if there is no snapshot of use; `later`: the revision of a snapshot that is later than the events asked
 *   for, and must not be replaced by an earlier one.
 */
async function foldSnapshot(
  core: StoreCore,
  stream: AnyStream,
  upTo: Revision | undefined,
  signal: AbortSignal | undefined,
): Promise<{ readonly folded?: FoldedState | undefined; readonly later?: number }> {
  const found = await findSnapshot(core, stream)
  if (!found) return {}
  const { revision, id } = found
  const tell = tellerOf(stream, stream.fold.snapshot!, 'read')
  if (upTo !== undefined && nextRevision(upTo) <= revision) {
    tell({ outcome: 'unusable', reason: 'later', revision })
    return { later: revision }
  }
  try {
    const state = isolated(stream, found.state)
    const known = { stream, revision, lastId: id, state, cached: false, snapshotAt: revision }
    const folded = await readOn(core, known, upTo, signal)
    tell(folded ? { outcome: 'used', revision } : { outcome: 'unusable', reason: 'history', revision })
    return { folded }
  } catch (error) {
    // The state may be of another `apply` than this one, although its version says otherwise.
    if (!(error instanceof FoldError || error instanceof InvalidArgumentError)) throw error
    tell({ outcome: 'unusable', reason: 'fold', revision, error })
    return {}
  }
}

/**
 * The state after further events.
 *
 * @param timeOf their time, if they are stored.
 * @throws FoldError
 */
export function evolve(folded: FoldedState, events: readonly StreamEvent[], timeOf?: TimeOf): FoldedState {
  const last = events.at(-1)
  if (!last) return folded
  const { stream, snapshotAt } = folded
  let state = see(folded)
  for (const event of events) state = step(stream.fold, state, event, timeOf)
  const { revision, id: lastId } = last
  return { stream, revision, lastId, state: isolated(stream, state), cached: false, snapshotAt }
}

/** A state that is folded event by event. */
class Folding {
  readonly #stream: AnyStream
  #state: unknown
  #revision: Revision = 'none'
  #lastId: string | undefined
  /** The time of the event that is being folded. */
  #time = ''
  readonly #timeOf = () => this.#time
  readonly #snapshotAt: Revision

  constructor(stream: AnyStream, snapshotAt: Revision = 'none') {
    this.#stream = stream
    this.#snapshotAt = snapshotAt
    this.#state = stream.fold.initial()
    if (stream.fold.isolation === 'freeze') freezeStep(this.#state)
  }

  /** The revision of the next event. */
  get next(): number {
    return nextRevision(this.#revision)
  }

  isNext({ revision }: StoredEvent): boolean {
    return revision === this.next
  }

  add(stored: StoredEvent): void {
    this.#time = stored.time
    this.#state = step(this.#stream.fold, this.#state, streamEventOf(stored), this.#timeOf)
    this.#revision = stored.revision
    this.#lastId = stored.id
  }

  result(): FoldedState {
    const state = isolated(this.#stream, this.#state)
    return {
      stream: this.#stream,
      revision: this.#revision,
      lastId: this.#lastId,
      state,
      cached: false,
      snapshotAt: this.#snapshotAt,
    }
  }
}

/** The error of a stream whose revisions from `missing` to the one before `found` are not there. */
async function gapBefore(core: StoreCore, stream: string, missing: number, found: number): Promise<Error> {
  if (missing > 0) {
    // Its beginning may have been cut off while it was read.
    const request = { stream, direction: 'forwards', from: undefined, to: undefined, limit: 1 } as const
    for await (const [first] of core.read(request)) {
      if (first?.revision !== 0) break
      const gap =
        missing === found - 1
          ? `revision ${String(missing)}`
          : `revisions ${String(missing)} to ${String(found - 1)}`
      return new StoreFailedError(
        `stream ${quote(stream)} lacks ${gap}: events were removed, so restore the store from a backup`,
      )
    }
  }
  return new StreamTruncatedError(stream, found)
}

/**
 * The state with the events after it; `undefined` if the stream does not continue it, or was truncated while it was read.
 */
async function readOn(
  core: StoreCore,
  known: FoldedState,
  upTo: Revision = Infinity,
  signal?: AbortSignal,
): Promise<FoldedState | undefined> {
  const { stream } = known.stream
  const from = known.revision
  if (from === 'none' || upTo === 'none' || upTo < from) return undefined
  const limit = upTo === Infinity ? undefined : upTo - from + 1
  let folded: FoldedState | undefined
  for await (const page of core.read({ stream, direction: 'forwards', from, to: undefined, limit })) {
    signal?.throwIfAborted()
    const [first] = page
    const next = folded ? nextRevision(folded.revision) : from
    const isNext = first && page.every(({ revision }, i) => revision === next + i)
    if (!isNext || (!folded && first.id !== known.lastId)) return undefined
    const timeOf: TimeOf = ({ revision }) => page[revision - next]!.time
    folded = evolve(folded ?? known, page.slice(folded ? 0 : 1).map(streamEventOf), timeOf)
  }
  return folded && { ...folded, cached: false }
}

function step(fold: Fold<unknown>, state: unknown, event: StreamEvent, timeOf?: TimeOf): unknown {
  const decoded = decode(fold, event, timeOf)
  try {
    const next = fold.evolve(state as never, decoded)
    // At every step, so that an `apply` that changes its argument always fails, whatever state the fold began with.
    if (fold.isolation === 'freeze') freezeStep(next)
    return next
  } catch (error) {
    throw new FoldError(event, error)
  }
}

/** Freezes a state, unless it is copied. @throws InvalidArgumentError if it cannot be frozen. */
function isolated({ stream, fold }: AnyStream, state: unknown): unknown {
  const obstacle = fold.isolation === 'freeze' ? freezeState(state) : undefined
  if (obstacle === undefined) return state
  throw new InvalidArgumentError('the state', {
    message:
      `the state of stream ${quote(stream)} cannot be frozen, because it has ${obstacle}; keep plain objects, arrays, ` +
      'Maps, Sets and Dates in it, or use aggregateFromClass with a class that has clone()',
  })
}
