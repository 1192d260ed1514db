import type { Position } from '../base/revision.ts'
import type { Recorded } from '../model/event.ts'
import type { HistoryComparison } from './compare.ts'
import type { TransformedEvent } from './transform.ts'

/** What a run of a copy has done so far. */
export interface CopyProgress {
  /** Events that were read from the source. */
  readonly read: number
  /** Events that were appended to the target. */
  readonly appended: number
  /** Events that were read, and found in the target. */
  readonly present: number
  /** Events that a transform changed, or made several of. */
  readonly changed: number
  /** Events of which a transform left nothing. */
  readonly dropped: number
  /** Idempotency keys that were copied. */
  readonly keys: number
  /** Truncations and deletions that were repeated. */
  readonly erasures: number
  /** The position in the source of the last event that is done. */
  readonly position: Position | undefined
  /** About how much of the source is done, from 0 to 1. */
  readonly fraction: number
}

/** What `copyHistory` resolves with. */
export interface CopyReport extends CopyProgress {
  /** The position in the source behind which this run began: how far an earlier one had come. */
  readonly resumedAfter: Position | undefined
  /** Events that a transform changed, before and after. */
  readonly samples: readonly CopySample[]
  /** What `verify` found. */
  readonly comparison: HistoryComparison | undefined
}

/** An event before and after a transform. */
export interface CopySample {
  readonly before: Recorded
  readonly after: readonly Required<TransformedEvent>[]
}

/** A copy that goes on with what is appended to the source. Made by `followHistory`. */
export interface FollowedCopy {
  /**
   * Resolves when every event that the source showed before this call is durable in the target. Once all writers have
   * stopped, that is the whole history.
   *
   * @throws the error that ended the copy.
   */
  caughtUp(): Promise<CopyReport>
  /** Ends the copy after the batch that is on its way. Resolves with what it did. @throws the error that ended it before */
  stop(): Promise<CopyReport>
  /** Settles when the copy has ended, with the error if there was one. */
  readonly ended: Promise<CopyReport>
  [Symbol.asyncDispose](): Promise<void>
}
