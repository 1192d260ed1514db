import { INVALID_SPANID, INVALID_TRACEID, type Link, type Span, TraceFlags } from '@opentelemetry/api'

/**
 * Links to the spans in which events were produced, each once: for the span in which you handle events of a subscription.
 * There are none for events without `traceparent` in their metadata.
 *
 * @example
 * ```ts
 * import { trace } from '@opentelemetry/api'
 *
 * const tracer = trace.getTracer('mails')
 * for await (const event of store.subscribe({ categories: ['Door'] })) {
 *   tracer.startActiveSpan('mail', { links: linksTo(event) }, (span) => {
 *     console.log('a mail about', event.type)
 *     span.end()
 *   })
 * }
 * ```
 */
export function linksTo(...events: readonly { readonly metadata: object }[]): Link[] {
  return linksOf(events.map(({ metadata }) => (metadata as { readonly traceparent?: unknown }).traceparent))
}

/** Links to the spans that stored events name; their metadata is JSON text. */
export function linksToStored(events: readonly { readonly metadata: string }[]): Link[] {
  return linksOf(events.map(({ metadata }) => traceparentIn(metadata)))
}

/** A span as the header `traceparent` of W3C names it; `undefined` if nothing is traced. */
export function traceparentOf(span: Span): string | undefined {
  const { traceId, spanId, traceFlags } = span.spanContext()
  if (traceId === INVALID_TRACEID || spanId === INVALID_SPANID) return undefined
  const flags = traceFlags & 0xff
  return `00-${traceId}-${spanId}-${flags < 16 ? '0' : ''}${flags.toString(16)}`
}

function linksOf(traceparents: readonly unknown[]): Link[] {
  const links: Link[] = []
  for (const traceparent of new Set(traceparents)) {
    if (links.length === MAX_LINKS) break
    const found = typeof traceparent === 'string' ? TRACEPARENT.exec(traceparent) : null
    const [, version, traceId = '', spanId = '', flags = ''] = found ?? []
    if (version === undefined || version === 'ff' || traceId === INVALID_TRACEID || spanId === INVALID_SPANID)
      continue
    const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
    links.push({ context: { traceId, spanId, traceFlags, isRemote: true } })
  }
  return links
}

/** Parses only metadata that can hold one: most batches are large, and most of their events may have none. */
function traceparentIn(metadata: string): unknown {
  if (!metadata.includes('"traceparent"')) return undefined
  return (JSON.parse(metadata) as { readonly traceparent?: unknown }).traceparent
}

/** As many as a span of the SDK keeps by default. */
const MAX_LINKS = 128

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/
