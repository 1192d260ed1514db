import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Clock } from '../base/clock.ts'
import type { Position } from '../base/revision.ts'
import type { RetryPolicy } from '../base/retry.ts'
import type { Checkpoint } from '../store/event-store.ts'
import type { Build, Failure, FollowerKind } from './builds.ts'
import type { Selection } from './sources.ts'

/** What follows a log: a projection, a reaction or a relay, as far as its worker has to know it. */
export interface Followed {
  readonly kind: FollowerKind
  readonly name: string
  readonly version: number
  /** The database that holds its checkpoint. */
  readonly target: ProjectionTarget<unknown>
  readonly selection: Selection
  readonly onError: 'block' | 'park'
  readonly retry: RetryPolicy
  readonly clock: Clock
}

/** Events that are handled together, and the place up to which the log was read with them. */
export interface Batch {
  readonly events: readonly StoredEvent[]
  readonly through: Checkpoint
}

/** The worker that handles a batch, and its lease. */
export interface Holder {
  readonly owner: string
  /** In milliseconds. */
  readonly lease: number
}

/** An event to set aside, and the place up to which the log was read with it. */
export interface Parking {
  readonly event: StoredEvent
  readonly through: Checkpoint
  readonly failure: Failure
}

/** What a worker does with events while it has the lease. */
export interface Handling {
  /** The maximum number of events of the next batch. Default: 1,000. */
  readonly maxEvents?: number | undefined
  /**
   * Handles a batch, or its first part, and moves the checkpoint.
   *
   * @returns the build with its new checkpoint.
   * @throws HandlerFailure, LostRace; one of Mneme's errors if the target or the store failed.
   */
  apply(build: Build, batch: Batch): Promise<Build>
  /** Sets an event aside, and moves the checkpoint past it. @throws LostRace */
  park(build: Build, parking: Parking): Promise<Build>
  /** Its work beside the events of the log, if it has such work. */
  readonly agenda?: Agenda | undefined
  /** The worker gives the lease back. */
  end?(): void
}

/** The build is blocked, or the worker was told to end while something was being retried. */
export class Ended extends Error {}

/** Stores why the work does not go on, and tells of it. */
export type Note = (state: 'retrying' | 'blocked', failure: Failure) => Promise<void>

/** Work that does not come from the log, done by the worker that has the lease, between two batches. */
export interface Agenda {
  /** Finishes what a worker before this one has begun. */
  begin(build: Build, note: Note): Promise<Build>
  /** Resolves when there is something to do, or when the signal is aborted. */
  due(signal: AbortSignal): Promise<void>
  /**
   * Does what is due.
   *
   * @param read up to where the log was handled.
   * @throws Ended if it blocks the build.
   */
  work(build: Build, read: Position | undefined, note: Note): Promise<Build>
}
