import { checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Revision } from '../base/revision.ts'

/**
 * The entity tag of a resource at a revision: strong, `"3"`; `undefined` for `'none'`.
 *
 * @param representation what a strong tag changes with besides the events: a name for the shape of the answers.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * console.log(etagOf(3), etagOf(3, 'v2')) // "3" "3.v2"
 * ```
 */
export function etagOf(revision: Revision, representation = ''): string | undefined {
  checkRepresentation(representation)
  if (revision === 'none') return undefined
  return quoted(
    checkWhole(revision, 'revision', 0, "a revision (a whole number from 0) or 'none'"),
    representation,
  )
}

/** @throws InvalidArgumentError */
export function checkRepresentation(representation: string): string {
  if (typeof (representation as unknown) === 'string' && REPRESENTATION.test(representation)) {
    return representation
  }
  throw new InvalidArgumentError('representation', "a name of letters, digits and '_.-', like 'v2'")
}

const REPRESENTATION = /^[\w.-]*$/

function quoted(revision: number, representation: string): string {
  return `"${String(revision)}${representation === '' ? '' : `.${representation}`}"`
}

/** One entity tag of a header. */
interface EntityTag {
  readonly isWeak: boolean
  /** What stands between its quotes. */
  readonly text: string
}

/** The value of `If-Match` or `If-None-Match`. */
export type TagList = '*' | readonly EntityTag[]

/** Parses the value of `If-Match` or `If-None-Match`; `undefined` if it is malformed. */
export function parseTags(value: string): TagList | undefined {
  if (value.trim() === '*') return '*'
  const tags: EntityTag[] = []
  const element = /[ \t]*(?:(W\/)?"([\x21\x23-\x7E\x80-\xFF]*)")?[ \t]*(,|$)/y
  for (let end = false; !end;) {
    const [match, weak, text, separator] = element.exec(value) ?? []
    if (match === undefined) return undefined
    if (text !== undefined) tags.push({ isWeak: weak !== undefined, text })
    end = separator === ''
  }
  return tags.length === 0 ? undefined : tags
}

/** The revision that a tag of ours names; `undefined` if no revision has this tag. */
export function revisionIn({ text }: EntityTag, representation: string): number | undefined {
  const revision = Number(/^\d{1,16}/.exec(text)?.[0])
  return `"${text}"` === quoted(revision, representation) ? revision : undefined
}
