export { archiveStream, eventsInArchive } from './archive.ts'
export type { Archived, ArchiveOptions } from './archive.ts'
export { checkHistory } from './check.ts'
export type { CheckOptions, CheckProgress, HistoryReport } from './check.ts'
export type { EventPlace, FindingKind, HistoryFinding } from './findings.ts'
export type { Dictionaries } from './paths.ts'
export { checkShapes, recordShapes } from './shapes.ts'
export type {
  CheckShapesOptions,
  RecordedShape,
  RecordedShapes,
  RecordShapesOptions,
  ShapeFinding,
  ShapeFindingKind,
} from './shapes.ts'
export { exportEvents } from './export.ts'
export type { ExportOptions } from './export.ts'
export { compareHistories } from './compare.ts'
export type { CompareOptions, HistoryComparison, HistoryDifference } from './compare.ts'
export { copyHistory, followHistory } from './copy.ts'
export type { CopyOptions, FollowOptions } from './copy.ts'
export type { CopyProgress, CopyReport, CopySample, FollowedCopy } from './copy-report.ts'
export { moveCheckpoints } from './move-checkpoints.ts'
export type { MoveCheckpointsOptions, MovedCheckpoint } from './move-checkpoints.ts'
export type { CopyTransform, TransformedEvent } from './transform.ts'
export { exportOcel } from './ocel.ts'
export type { OcelOptions, OcelRelation } from './ocel.ts'
export { importEvents } from './import.ts'
export type { ImportOptions, ImportReport } from './import.ts'
export type { ExportedEvent, ExportedKey } from './recorded.ts'
export { copySnapshots } from './copy-snapshots.ts'
export type { CopiedSnapshots, CopySnapshotsOptions } from './copy-snapshots.ts'
export { verifySnapshots } from './verify-snapshots.ts'
export type {
  DifferentSnapshots,
  NoSnapshots,
  SameSnapshots,
  SkippedStreams,
  SnapshotDifference,
  VerifiedSnapshots,
  VerifySnapshotsOptions,
} from './verify-snapshots.ts'
