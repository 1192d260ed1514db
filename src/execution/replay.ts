import type { Boundary } from '../model/command.ts'
import { decode, type TimeOf } from '../model/upcast.ts'
import { KeyReusedError } from '../base/errors.ts'
import { fromUse, streamEventOf } from '../store/decode.ts'
import type { Revision } from '../base/revision.ts'
import type { KeyUse } from '../adapter/store-adapter.ts'
import { categoryOf } from '../model/names.ts'
import { isStream } from '../model/stream.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { Call } from './call.ts'
import { foldStream } from './fold.ts'
import { listStreams, readBoundary, renameStreams } from './boundary.ts'
import { StateCache } from './state-cache.ts'

/** Answers calls whose idempotency key was used before with the result of the first append. */
export class RepeatedCalls {
  readonly #core: StoreCore
  /** States right after the appends that were repeated last, because a repeat is often followed by the next one. */
  readonly #past: StateCache

  constructor(core: StoreCore) {
    this.#core = core
    this.#past = new StateCache(core.options.cachedStates)
  }

  /**
   * Settles a call. Its streams are read as they were right before the first append, so that `follow` names the same
   * streams, and the stored events are applied to them again.
   */
  async settle(call: Call, boundary: Boundary, use: KeyUse): Promise<void> {
    try {
      if (!this.#core.isFingerprint(use.fingerprint, call.fingerprint)) throw new KeyReusedError(use.key)
      const before = headsBefore(use)
      const first = call.command.keyedBy ? boundaryOfFirst(boundary, use) : boundary
      const reading = await readBoundary(call, first, async (stream) => {
        const upTo = before.get(stream.stream)
        if (upTo === undefined) return foldStream(this.#core, stream)
        const known = this.#past.get(stream)
        // A state right before an append that is repeated is as old as that append: no event can have come in between.
        return known?.revision === upTo ? known : foldStream(this.#core, stream, { known, upTo })
      })
      const { states } = reading
      const unread = call.unread([...namesOf(boundary), ...states.revisions().keys()])
      if (unread) throw unread
      // The key was used by another command with an equal input, which wrote to other streams.
      if (use.events.some(({ stream }) => states.of(stream).length === 0)) throw new KeyReusedError(use.key)
      const timeOf: TimeOf = (event) => use.events.find(({ id }) => id === event.id)!.time
      const after = states.evolve(use.events.map(streamEventOf), timeOf)
      for (const folded of after.all()) this.#past.set(folded)
      const { events, ...result } = fromUse(use)
      const decoded = events.map((event) => decode(states.of(event.stream)[0]!.stream.fold, event))
      const state = after.shape(reading.boundary)
      call.resolve({ ok: true, ...result, events: decoded, state, attempts: call.attempts })
    } catch (error) {
      call.reject(error)
    }
  }
}

/**
 * The boundary that the first append had, if the streams of this call have other names, because the key is not compared by
 * the ids in them: a store keeps the heads in the order of the boundary.
 */
function boundaryOfFirst(boundary: Boundary, { heads }: KeyUse): Boundary {
  const renamed = new Map([...new Set(namesOf(boundary))].map((name, i) => [name, heads[i]?.[0] ?? name]))
  const isSame = [...renamed].every(([name, first]) => categoryOf(name) === categoryOf(first))
  return isSame ? renameStreams(boundary, (name) => renamed.get(name)!) : boundary
}

function namesOf(boundary: Boundary): string[] {
  return isStream(boundary) ? [boundary.stream] : listStreams(boundary).map(({ stream }) => stream)
}

/** The head of each stream of the first append right before it. */
function headsBefore({ heads, events }: KeyUse): Map<string, Revision> {
  const before = new Map<string, Revision>(heads)
  for (const { stream, revision } of events.toReversed())
    before.set(stream, revision === 0 ? 'none' : revision - 1)
  return before
}
