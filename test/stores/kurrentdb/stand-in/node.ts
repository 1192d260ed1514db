import type { Faults } from './faults.ts'
import type { Log } from './log.ts'
import type { Limits } from './proposed-events.ts'
import type { Writer } from './writer.ts'

/** What the services serve. */
export interface Node extends Limits {
  readonly log: Log
  readonly writer: Writer
  readonly faults: Faults
  /** How long an append of many messages may take, in milliseconds. */
  readonly writeTimeout: number
}
