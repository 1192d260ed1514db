export { catalogue } from './catalogue.ts'
export type {
  CatalogueCommandType,
  Catalogue,
  CatalogueCommand,
  CatalogueEvent,
  CatalogueFollower,
  CatalogueReaction,
  CatalogueSource,
  ProgramModel,
} from './catalogue.ts'
export { describeCommand } from './describe.ts'
export type { CheckDescription, CommandDescription, DescribedCommand, HasCategory } from './describe.ts'
export { diffCatalogues } from './diff.ts'
export type { BreakDirection, BreakingChange, CatalogueChangeKind } from './diff.ts'
export type { JsonSchema, SchemaSide, ShownSchema, ToJsonSchema } from './json-schema.ts'
export { asyncapi } from './asyncapi.ts'
export type { AsyncApiDocument, AsyncApiOptions } from './asyncapi.ts'
export { eventCatalogFiles } from './event-catalog.ts'
export type { EventCatalogOptions } from './event-catalog.ts'
