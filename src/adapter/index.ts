export { anchorOf, conflictOf, nextRevision, placeEvents, repeatOf } from './append-rules.ts'
export { matcherOf } from './log-filter.ts'
export { compareNames } from '../model/names.ts'
export type { KeyEntry, KeyStore, Tombstone, WrappedKey } from './key-store.ts'
export { formatPosition, parsePosition } from './position.ts'
export type {
  Appended,
  AppendRequest,
  AppendVerdict,
  Condition,
  Conflict,
  EventsErased,
  EraseRequest,
  EraseVerdict,
  KeptKey,
  KeyClaim,
  KeyUse,
  KeyUsed,
  LogFilter,
  LogPlace,
  NamedSnapshot,
  NewEvent,
  ReadAllRequest,
  ReadRequest,
  Repeated,
  SkipRequest,
  SkipVerdict,
  Snapshot,
  SnapshotKeeper,
  SnapshotsRequest,
  StoreAdapter,
  StoredEvent,
  StreamsRequest,
  SubscribedPage,
  SubscribeRequest,
} from './store-adapter.ts'
export { tailLog } from './subscription-hub.ts'
export type { BeginningWatch, LogSource, ScannedPage, ScanRequest } from './subscription-hub.ts'
