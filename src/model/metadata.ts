import { InvalidArgumentError, InvalidDataError, type DataIssue } from '../base/errors.ts'
import { isPlain } from './json.ts'

/**
 * Facts about events beside their data, the same for all events of one command or one `append`. Values are strings, so
 * that every store keeps them alike.
 */
export interface Metadata {
  /** The id of a conversation: the same for everything that one request caused. */
  readonly correlation?: string
  /** The id of the event or command that caused this one. */
  readonly causation?: string
  /** The user or system that acted. */
  readonly actor?: string
  readonly [key: string]: string | undefined
}

/** The metadata of an append without metadata. */
export const NO_METADATA: Metadata = Object.freeze({})

/** Checked metadata as JSON. */
export function textOf(metadata: Metadata): string {
  return metadata === NO_METADATA ? '{}' : JSON.stringify(metadata)
}

/** A checked copy of metadata, without undefined values. */
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
