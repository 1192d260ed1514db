import { type CallMessage, WatchedCalls, WatchedEvents } from '../base/diagnostics.ts'
import type { Position } from '../base/revision.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { HandlerFailure, LostRace } from './batch.ts'
import type { Build, Failure, FollowerKind } from './builds.ts'

/** The message of `tracing:mneme.projection.batch:*`: events that are handled together, also by a reaction or a relay. */
export interface ProjectionBatchMessage extends CallMessage {
  /** Its name; also that of a reaction or a relay. */
  readonly projection: string
  readonly kind: FollowerKind
  /** The version of its read model. */
  readonly version: number
  /** `'building'`: a rebuild beside the live read model. */
  readonly build: 'live' | 'building'
  /** The events of the batch, as they are stored. None: only the checkpoint moves. */
  readonly events: readonly StoredEvent[]
  /** Set before `asyncEnd`. `'lost'`: nothing was written, because another worker was faster. */
  outcome?: 'ok' | 'failed' | 'lost'
  /** Why it failed: what a handler threw, or the error of the database. */
  thrown?: unknown
  /** Set before `asyncEnd`: how many events were handled. A batch that takes long ends early. */
  handled?: number
  /** Set before `asyncEnd`: up to where the log was handled. */
  position?: Position | undefined
}

/** The message of `mneme.projection.failed`: a projection's handler, its target or its store failed. */
export interface ProjectionFailedMessage {
  /** Its name; also that of a reaction or a relay. */
  readonly projection: string
  readonly kind: FollowerKind
  readonly failure: Failure
  readonly outcome: FailureOutcome
}

/**
 * What follows a failure: `'retrying'`: another attempt; `'blocked'`: nothing until `unblock`; `'parked'`: the event was
 * set aside; `'ended'`: this process does not run the projection any more.
 */
export type FailureOutcome = 'retrying' | 'blocked' | 'parked' | 'ended'

const batches = new WatchedCalls<ProjectionBatchMessage>('mneme.projection.batch')
export const failures = new WatchedEvents<ProjectionFailedMessage>('mneme.projection.failed')

/** Handles a batch, watched if anything watches. */
export function watchBatch(
  { kind, name, version, role, applied }: Build,
  events: readonly StoredEvent[],
  apply: () => Promise<Build>,
): Promise<Build> {
  if (!batches.isWatched) return apply()
  const build = role === 'building' ? 'building' : 'live'
  const message: ProjectionBatchMessage = { projection: name, kind, version, build, events }
  return batches.trace(message, apply, {
    returned(_, moved) {
      message.outcome = 'ok'
      message.handled = moved.applied - applied
      message.position = moved.checkpoint?.position
    },
    threw(_, error) {
      message.outcome = error instanceof LostRace ? 'lost' : 'failed'
      message.thrown = error instanceof HandlerFailure ? error.cause : error
    },
  })
}
