import type { EventStore, ReadAllOptions } from 'mneme'

import type { Path } from './api.ts'

/** What a call works with. */
export interface CallContext {
  readonly store: EventStore
  /** Aborted when the client has gone, when the inspector is closed, or when the call has taken too long. */
  readonly signal: AbortSignal
}

/** A call cannot be answered, and the page says why. */
export class CallError extends Error {
  readonly code: string
  readonly status: number

  constructor(message: string, { code = 'INVALID_CALL', status = 400 } = {}) {
    super(message)
    this.code = code
    this.status = status
  }
}

/** What was sent, which has to be an object. @throws CallError */
export function objectIn(input: unknown): Readonly<Record<string, unknown>> {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input as never
  throw new CallError('the body of a call has to be a JSON object')
}

/** A text of the input. @throws CallError */
export function textIn(input: unknown, name: string): string {
  const value = objectIn(input)[name]
  if (typeof value === 'string' && value.length <= MAX_TEXT) return value
  throw new CallError(`'${name}' has to be a text of at most ${String(MAX_TEXT)} characters`)
}

/** A text of the input, if it is there and not empty. @throws CallError */
export function optionalTextIn(input: unknown, name: string): string | undefined {
  const value = objectIn(input)[name]
  return value === undefined || value === '' ? undefined : textIn(input, name)
}

/** A list of texts of the input, if it is there and not empty. @throws CallError */
function textsIn(input: unknown, name: string): readonly string[] | undefined {
  const value = objectIn(input)[name]
  if (value === undefined) return undefined
  if (Array.isArray(value) && value.length <= MAX_ITEMS && value.every((text) => typeof text === 'string')) {
    return value.length === 0 ? undefined : value
  }
  throw new CallError(`'${name}' has to be a list of at most ${String(MAX_ITEMS)} texts`)
}

/** Which events of the log are asked for. @throws CallError */
export function filterIn(input: unknown): Pick<ReadAllOptions, 'streams' | 'categories' | 'types'> {
  return {
    streams: textsIn(input, 'streams'),
    categories: textsIn(input, 'categories'),
    types: textsIn(input, 'types'),
  }
}

/** A whole number from 0 of the input, if it is there. @throws CallError */
export function wholeIn(input: unknown, name: string): number | undefined {
  const value = objectIn(input)[name]
  if (value === undefined) return undefined
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new CallError(`'${name}' has to be a whole number from 0`)
}

/** How many rows a page may have. */
export function limitIn(input: unknown): number {
  return Math.min(Math.max(wholeIn(input, 'limit') ?? ROWS_PER_PAGE, 1), MAX_ROWS_PER_PAGE)
}

/** A path in a value. @throws CallError */
export function pathIn(input: unknown, name: string): Path {
  const path = objectIn(input)[name]
  const isKey = (key: unknown) => typeof key === 'string' || Number.isSafeInteger(key)
  if (Array.isArray(path) && path.length <= MAX_PATH && path.every(isKey)) return path as Path
  throw new CallError(`'${name}' has to be a list of keys and indexes`)
}

const MAX_TEXT = 10_000
const MAX_ITEMS = 100
const MAX_PATH = 10_000
const ROWS_PER_PAGE = 50
const MAX_ROWS_PER_PAGE = 500
