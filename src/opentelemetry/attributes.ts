import type { Attributes, Span } from '@opentelemetry/api'
import { SpanStatusCode } from '@opentelemetry/api'
import { categoryOf } from '../model/names.ts'

/** The categories of streams, each once, in order: few values, whereas the names of streams are many. */
export function categoriesOf(streams: readonly string[]): string {
  const [first] = streams
  if (first === undefined) return ''
  if (streams.length === 1) return categoryOf(first)
  return [...new Set(streams.map(categoryOf))].sort().join(',')
}

/** What kind of error it was: the code of one of Mneme's errors or of a driver's, else the name of its class. */
export function errorType(error: unknown): string {
  const { code, name } = Object(error) as { readonly code?: unknown; readonly name?: unknown }
  if (typeof code === 'string') return code
  return typeof name === 'string' ? name : typeof error
}

/** Marks a span as failed. */
export function fail(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error))
  if (error instanceof Error) span.recordException(error)
  const message = error instanceof Error ? error.message : undefined
  span.setStatus({ code: SpanStatusCode.ERROR, ...(message !== undefined && { message }) })
}

/** Attributes without those that are undefined. */
export function attributes(
  given: Readonly<Record<string, string | number | boolean | undefined>>,
): Attributes {
  const result: Attributes = {}
  for (const key in given) if (given[key] !== undefined) result[key] = given[key]
  return result
}
