export { aggregateFromClass, defineAggregate } from './model/aggregate.ts'
export type {
  Aggregate,
  AggregateDefinition,
  AggregateStream,
  AnyAggregate,
  ClassAggregateDefinition,
  EventsOf,
  MutableState,
  RecordedIn,
  StateOf,
  StreamEventIn,
} from './model/aggregate.ts'
export type {
  Boundary,
  CommandContext,
  ContextOf,
  Decision,
  EventsIn,
  OnClaim,
  RecordOn,
  OnStream,
  RejectionsIn,
  ReadonlyState,
  StatesOf,
  Streams,
} from './model/command.ts'
export type { ExecuteOptions, ExpectedRevisions, Retry } from './execution/call.ts'
export { defineClaim } from './model/claim.ts'
export type {
  Claim,
  ClaimDefinition,
  ClaimEvents,
  ClaimSecret,
  ClaimState,
  ClaimType,
} from './model/claim.ts'
export { defineCommand } from './model/command.ts'
export type { Command, CommandDefinition, CommandType, RejectionOf } from './model/command.ts'
export { createStore } from './store/create-store.ts'
export type {
  AppendMessage,
  ConflictMessage,
  ExecuteMessage,
  ReadMessage,
  SnapshotMessage,
  SubscriptionInterruptedMessage,
  SubscriptionPageMessage,
} from './store/diagnostics.ts'
export type { CallMessage } from './base/diagnostics.ts'
export {
  CheckpointFromAnotherStoreError,
  ConflictError,
  FoldError,
  HistoryRewoundError,
  ImportConflictError,
  InvalidArgumentError,
  InvalidDataError,
  isMnemeError,
  KeyReusedError,
  KeyStoreError,
  LimitError,
  MnemeError,
  NotCaughtUpError,
  OpenError,
  OutcomeUnknownError,
  OverloadedError,
  ProjectionBlockedError,
  ProjectionVersionError,
  RejectedError,
  SealBrokenError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
  StoreFullError,
  StoreTimeoutError,
  StoreUnavailableError,
  StreamDeletedError,
  StreamTruncatedError,
  SubjectErasedError,
  UnknownEventError,
  UnsupportedError,
} from './base/errors.ts'
export type { AnyMnemeError, DataIssue, ErrorCode, OpenFailure } from './base/errors.ts'
export { erasures } from './model/erasures.ts'
export { executor } from './execution/executor.ts'
export type {
  CommandOutcome,
  Executor,
  ExecutorArguments,
  ExecutorCall,
  ExecutorDefaults,
} from './execution/executor.ts'
export { event } from './model/event-spec.ts'
export type { EventSpec, EventSpecBase, SchemaEventSpec } from './model/event-spec.ts'
export { defineEvents } from './model/event-type.ts'
export type {
  AnyEventType,
  EventType,
  EventTypeBase,
  EventTypes,
  Parsed,
  ParsedEventType,
} from './model/event-type.ts'
export { execute, tryExecute } from './execution/execute.ts'
export type { Executed, NotExecuted, Outcome, ExecuteArguments } from './execution/execute.ts'
export { load } from './execution/load.ts'
export type { Loaded, LoadedStreams, LoadOptions } from './execution/load.ts'
export type { Event, NoData, Recorded, RecordedAs, RecordedFacts, StreamEvent } from './model/event.ts'
export type { Json, JsonObject } from './model/json.ts'
export { limits } from './base/limits.ts'
export type { Limits } from './base/limits.ts'
export type { Metadata } from './model/metadata.ts'
export { subject } from './model/sealed.ts'
export type { Sealed, Subject } from './model/sealed.ts'
export type { PersonalFields, WithPersonal, WithSealed } from './model/personal.ts'
export type { KeyRing } from './store/key-ring.ts'
export { openStore } from './open-store.ts'
export { reject } from './model/command.ts'
export type { Rejection } from './model/command.ts'
export type { RetryOptions } from './base/retry.ts'
export type { ExpectedRevision, Position, Revision } from './base/revision.ts'
export { ofType } from './base/standard-schema.ts'
export type {
  InferInput,
  InferOutput,
  SchemaIssue,
  SchemaResult,
  StandardSchemaV1,
} from './base/standard-schema.ts'
export type {
  AppendOptions,
  AppendResult,
  Checkpoint,
  DeleteOptions,
  Erasure,
  EventPage,
  EventStore,
  EventToAppend,
  LogPage,
  PagesOptions,
  SubscribeFrom,
  ReadAllOptions,
  ReadOptions,
  StoreOptions,
  StreamsOptions,
  StreamWrite,
  SubscribeOptions,
  Subscription,
  TruncateOptions,
} from './store/event-store.ts'
export { storePool } from './store/store-pool.ts'
export type { LeaseOptions, StoreLease, StorePool, StorePoolOptions } from './store/store-pool.ts'
export type { Capabilities, Direction, StreamSummary } from './adapter/store-adapter.ts'
export type { ConvertedSnapshots, PlainSnapshots, SnapshotOptions } from './model/snapshot.ts'
export type { AnyStream, Fold, SnapshotPlan, Stream } from './model/stream.ts'
