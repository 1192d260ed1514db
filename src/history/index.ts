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
