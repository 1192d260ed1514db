import { InvalidArgumentError, InvalidDataError, type DataIssue } from '../base/errors.ts'
import { isPlain } from './json.ts'

/**
 * What is known of events beside their data: the same for every event of one command, or of one `append`.
 * Values are strings, so that every store keeps them alike.
 */
export interface Metadata {
  /** Which conversation this belongs to: the same for everything that one request set off. */
  readonly correlation?: string
  /** What caused it: the id of an event or of a command. */
  readonly causation?: string
  /** Who did it. */
  readonly actor?: string
  readonly [key: string]: string | undefined
}

/** What an append without metadata has. */
export const NO_METADATA: Metadata = Object.freeze({})

/** A copy of checked metadata, without what is undefined. */
export function checkMetadata(metadata: Metadata | undefined): Metadata {
  if (metadata === undefined) return NO_METADATA
  if (typeof (metadata as unknown) !== 'object' || (metadata as unknown) === null || !isPlain(metadata)) {
    throw new InvalidArgumentError('metadata', 'a plain object of strings')
  }
  const issues: DataIssue[] = []
  const copy: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata)) {
    if (value === undefined) continue
    const path = `metadata.${key}`
    if (typeof (value as unknown) !== 'string') issues.push({ path, message: 'must be a string' })
    else if (key === '' || key === '__proto__' || key.startsWith('$')) {
      issues.push({ path, message: "a key must not be empty, '__proto__' or begin with $" })
    } else copy[key] = value
  }
  if (issues.length > 0) throw new InvalidDataError('metadata', issues)
  return Object.freeze(copy)
}
