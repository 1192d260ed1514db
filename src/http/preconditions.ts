import type { Revision } from '../base/revision.ts'
import { parseTags, revisionIn, type TagList } from './etag.ts'
import { HttpError } from './http-error.ts'

/** The preconditions of a request, as RFC 9110 defines them: `If-Match` and `If-None-Match`. */
export class Preconditions {
  /** The revisions that `If-Match` names by strong tags; `'*'` for any; `undefined` without the header. */
  readonly #match: '*' | readonly number[] | undefined
  /** Whether `If-Match` has a weak tag, which never matches. */
  readonly #hasWeakMatch: boolean
  readonly #noneMatch: '*' | readonly number[] | undefined

  /** @throws HttpError, 400, if a header is malformed. */
  constructor(headers: Headers, representation: string) {
    const revisions = (tags: TagList | undefined, isWeakToo: boolean) => {
      if (tags === undefined || tags === '*') return tags
      return tags
        .filter(({ isWeak }) => isWeakToo || !isWeak)
        .flatMap((tag) => revisionIn(tag, representation) ?? [])
    }
    const match = tagsOf(headers, 'If-Match')
    this.#match = revisions(match, false)
    this.#hasWeakMatch = match !== undefined && match !== '*' && match.some(({ isWeak }) => isWeak)
    this.#noneMatch = revisions(tagsOf(headers, 'If-None-Match'), true)
  }

  /** Whether the request has a precondition. */
  get isEmpty(): boolean {
    return this.#match === undefined && this.#noneMatch === undefined
  }

  /** Whether `If-Match` holds for a resource at this revision. */
  matches(actual: Revision): boolean {
    const match = this.#match
    return match === undefined || (actual !== 'none' && (match === '*' || match.includes(actual)))
  }

  /** Whether `If-None-Match` holds for a resource at this revision. */
  differs(actual: Revision): boolean {
    const none = this.#noneMatch
    return none === undefined || actual === 'none' || (none !== '*' && !none.includes(actual))
  }

  /**
   * What to expect of a stream so that the preconditions hold. An append states one revision, so a list begins with one
   * that may be the current one; after a conflict it is asked again with the actual revision.
   *
   * @throws HttpError, 412, if they do not hold.
   */
  expectation(actual?: Revision): Revision | 'exists' | undefined {
    if (actual !== undefined) {
      if (this.matches(actual) && this.differs(actual)) return actual
      throw this.failed(actual)
    }
    const [match, none] = [this.#match, this.#noneMatch]
    if (typeof match === 'object') {
      const possible = match.filter((revision) => this.differs(revision))
      if (possible.length === 0) throw this.failed()
      return Math.max(...possible)
    }
    if (none === '*') {
      if (match === '*') throw this.failed()
      return 'none'
    }
    if (none !== undefined && none.length > 0) return Math.max(...none) + 1
    return match === '*' ? 'exists' : undefined
  }

  /** The error of a precondition that does not hold. */
  failed(actual?: Revision): HttpError {
    const header = actual !== undefined && this.matches(actual) ? 'If-None-Match' : 'If-Match'
    const weak =
      header === 'If-Match' && this.#hasWeakMatch
        ? '; a weak tag never matches here (a proxy that compresses answers may have weakened it)'
        : ''
    return new HttpError(412, {
      code: 'PRECONDITION_FAILED',
      detail: `${header} does not hold: read the resource again, then decide again${weak}`,
    })
  }
}

function tagsOf(headers: Headers, name: string): TagList | undefined {
  const value = headers.get(name)
  if (value === null) return undefined
  const tags = parseTags(value)
  if (tags) return tags
  const detail = `${name} is malformed; write entity tags in double quotes, as ETag has them: ${name}: "3"`
  throw new HttpError(400, { code: 'INVALID_HEADER', detail })
}
