export { createInspector } from './inspector/inspector.ts'
export type { Inspector, InspectorOptions } from './inspector/inspector.ts'
export type { Authorize } from './inspector/guard.ts'
export type { Definitions, InspectedCommand, ProgramOptions } from './inspector/program.ts'
