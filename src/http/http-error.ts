import { InvalidArgumentError } from '../base/errors.ts'
import type { DataIssue } from '../index.ts'

/** Members of a problem document. */
export interface ProblemMembers {
  /** A URI that names the kind of problem. Default: `about:blank`, which says no more than the status. */
  readonly type?: string | undefined
  /** A summary of the kind of problem. Default: the phrase of the status. */
  readonly title?: string | undefined
  /** What happened this time, and what to do. */
  readonly detail?: string | undefined
  /** A URI that names this occurrence. */
  readonly instance?: string | undefined
  /** The code of the error: an `ErrorCode`, or one of these helpers, like `PRECONDITION_FAILED`. */
  readonly code?: string | undefined
  /** The reason of a rejection. */
  readonly reason?: string | undefined
  /** The rejection with its details. */
  readonly rejection?: object | undefined
  /** What is wrong with the request's data, and where. */
  readonly issues?: readonly DataIssue[] | undefined
  readonly [extension: string]: unknown
}

/** A problem document, as RFC 9457 defines it: `application/problem+json`. */
export interface Problem extends ProblemMembers {
  readonly type: string
  readonly title: string
  readonly status: number
}

/**
 * An error with an HTTP status: thrown by the helpers for a request that they refuse, and by your own callbacks for one
 * that you refuse.
 *
 * @example
 * ```ts
 * throw new HttpError(403, { detail: 'only the owner may cancel an order' })
 * ```
 */
export class HttpError extends Error {
  readonly status: number
  readonly problem: ProblemMembers
  readonly headers: Readonly<Record<string, string>>

  /** @throws InvalidArgumentError */
  constructor(status: number, problem: ProblemMembers = {}, headers: Readonly<Record<string, string>> = {}) {
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new InvalidArgumentError('status', 'the status of an error, from 400 to 599')
    }
    super(problem.detail ?? problem.title ?? `HTTP ${String(status)}`)
    this.name = 'HttpError'
    this.status = status
    this.problem = problem
    this.headers = headers
  }
}
