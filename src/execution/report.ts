import type { EncodedEvent } from '../store/encode.ts'
import { fromVerdict } from '../store/decode.ts'
import type { Revision } from '../base/revision.ts'
import type { Appended, Repeated } from '../adapter/store-adapter.ts'
import type { Call, Decided } from './call.ts'

/** A decision that stands. */
export interface Standing {
  readonly decided: Decided
  readonly events: readonly EncodedEvent[]
  /** The index of its first event among those of the append. */
  readonly first: number
  /** The state as the caller gets it. */
  readonly result: unknown
  /** Where each of its streams stands with its events. */
  readonly revisions: ReadonlyMap<string, Revision>
}

/** Tells the caller what came of its command, now that all it stands on is committed. */
export function report(call: Call, standing: Standing, verdict: Appended | Repeated | undefined): void {
  const { decided, events, first, result, revisions } = standing
  const { attempts, metadata } = call
  if (decided.kind === 'threw') call.reject(decided.error)
  else if (decided.kind === 'rejected') call.resolve({ ok: false, rejection: decided.rejection, attempts })
  else {
    const stored = verdict ? fromVerdict(events, verdict, metadata, first) : []
    call.resolve({
      ok: true,
      events: stored,
      state: result,
      revisions,
      position: stored.at(-1)?.position,
      attempts,
      repeated: verdict?.kind === 'repeated',
    })
  }
}
