export { aggregateFromClass, defineAggregate } from './aggregate.ts'
export type {
  Aggregate,
  AggregateDefinition,
  AnyAggregate,
  ClassAggregateDefinition,
  EventsOf,
  MutableState,
  RecordedIn,
  StateOf,
  StreamEventIn,
} from './aggregate.ts'
export type {
  Boundary,
  Context,
  ContextOf,
  Decision,
  EventsIn,
  On,
  OnStream,
  RejectionsIn,
  Seen,
  StatesOf,
  Streams,
} from './boundary.ts'
export type { ExecuteOptions, Retry } from './execution/call.ts'
export { defineCommand } from './command.ts'
export type { Command, CommandType, RejectionOf } from './command.ts'
export { createStore } from './create-store.ts'
export {
  CheckpointFromAnotherStoreError,
  ConflictError,
  FoldError,
  HistoryRewoundError,
  InvalidArgumentError,
  InvalidDataError,
  isMnemeError,
  KeyReusedError,
  LimitError,
  MnemeError,
  NotCaughtUpError,
  OpenError,
  OutcomeUnknownError,
  OverloadedError,
  ProjectionBlockedError,
  ProjectionVersionError,
  Rejected,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
  StoreFullError,
  StoreTimeoutError,
  StoreUnavailableError,
  StreamDeletedError,
  StreamTruncatedError,
  UnknownEventError,
  UnsupportedError,
} from './errors.ts'
export type { AnyMnemeError, DataIssue, ErrorCode, OpenFailure } from './errors.ts'
export { event } from './event-spec.ts'
export type { EventSpec } from './event-spec.ts'
export { defineEvents } from './event-type.ts'
export type {
  AnyEventType,
  EventType,
  EventTypeBase,
  EventTypes,
  Parsed,
  ParsedEventType,
} from './event-type.ts'
export { execute, tryExecute } from './execute.ts'
export type { Executed, NotExecuted, Outcome, Rest } from './execute.ts'
export type { Event, NoData, Recorded, RecordedAs, StreamEvent } from './event.ts'
export type { Json, JsonObject } from './json.ts'
export { limits } from './limits.ts'
export type { Limits } from './limits.ts'
export { tailLog } from './log-tail.ts'
export type { LogSource, ScannedPage, ScanRequest } from './log-tail.ts'
export type { Metadata } from './metadata.ts'
export { openStore } from './open-store.ts'
export type { ProjectionTarget, Query, Returned, Row, Step, Steps, Value } from './projection-target.ts'
export { reject } from './rejection.ts'
export type { Rejection } from './rejection.ts'
export type { RetryOptions } from './retry.ts'
export type { ExpectedRevision, Position, Revision } from './revision.ts'
export { type } from './standard-schema.ts'
export type {
  InferInput,
  InferOutput,
  SchemaIssue,
  SchemaResult,
  StandardSchemaV1,
} from './standard-schema.ts'
export type {
  AppendOptions,
  AppendResult,
  Checkpoint,
  EventStore,
  EventToAppend,
  From,
  ReadAllOptions,
  ReadOptions,
  StoreOptions,
  StreamWrite,
  SubscribeOptions,
  Subscription,
} from './store.ts'
export type {
  Appended,
  AppendRequest,
  AppendVerdict,
  Capabilities,
  Condition,
  Conflict,
  Direction,
  KeyClaim,
  KeyUse,
  KeyUsed,
  LogFilter,
  LogPlace,
  NewEvent,
  ReadAllRequest,
  ReadRequest,
  StoreAdapter,
  StoredEvent,
  SubscribedPage,
  SubscribeRequest,
} from './store-adapter.ts'
export type { AnyStream, Fold, Stream } from './stream.ts'
