export type {
  HandlerResult,
  ProjectionTarget,
  TargetRow,
  TargetValue,
  TargetQuery,
  TargetStep,
  TargetSteps,
} from '../adapter/projection-target.ts'
export type { FailedEvent, FailedPage, Failure, FailureCause, FollowerKind } from './builds.ts'
export type { FailureOutcome, ProjectionBatchMessage, ProjectionFailedMessage } from './diagnostics.ts'
export type {
  EventHandlers,
  NewVersionPolicy,
  PageHandler,
  ProjectionContext,
  ProjectionDefinition,
  ProjectionSettings,
} from './define.ts'
export type { ParkedEvent, Retried } from './parked.ts'
export { parkedIn, projectionsIn, unblockIn } from './list.ts'
export type { StoredBuild, StoredProjection } from './list.ts'
export { defineProjection } from './projection.ts'
export type { CaughtUpOptions, Projection, RebuildOptions } from './projection.ts'
export { runProjections } from './run.ts'
export type { RunningProjections, RunOptions } from './run.ts'
export { runTenantProjections } from './run-tenants.ts'
export type { RunningTenantProjections, TenantProjections, TenantProjectionsOptions } from './run-tenants.ts'
export type { ByType, EventsFrom, Handlers, Source } from './sources.ts'
export type { Lag, ProjectionStatus, RebuildStatus } from './status.ts'
