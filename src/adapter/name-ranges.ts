import { compareNames } from '../model/names.ts'
import type { StreamsRequest, StreamSummary } from './store-adapter.ts'

/** Names from one on, inclusive, up to another, exclusive; `undefined`: up to the last. */
export interface NameRange {
  readonly from: string
  readonly before: string | undefined
}

/**
 * The ranges of names, in order, in which the streams lie that a request asks for. A category is its own name, and all names
 * that begin with it and a dash; between the two are names of other categories, like `Door!`.
 */
function nameRangesOf({ category, after }: StreamsRequest): NameRange[] {
  const from = after === undefined ? '' : behindName(after)
  // A dash ends a category, so none has one in it.
  if (category?.includes('-')) return []
  const ranges =
    category === undefined
      ? [{ from, before: undefined }]
      : [
          { from: category, before: behindName(category) },
          // '.' is the next character after '-'.
          { from: `${category}-`, before: `${category}.` },
        ]
  return ranges
    .map((range) => (compareNames(range.from, from) < 0 ? { ...range, from } : range))
    .filter((range) => range.before === undefined || compareNames(range.from, range.before) < 0)
}

/** A name that was found. */
export interface FoundStream extends StreamSummary {
  /** Whether the stream is left out, because it was deleted, or all of its events were erased. */
  readonly isErased: boolean
}

/**
 * The streams that a request asks for, in pages.
 *
 * @param take gives the first names of a range, in order, up to a number; fewer only if the range has no more.
 */
export async function* streamPages(
  request: StreamsRequest,
  maxPerPage: number,
  take: (range: NameRange, wanted: number) => Promise<FoundStream[]>,
): AsyncGenerator<StreamSummary[], undefined> {
  let left = request.limit ?? Infinity
  for (const { from, before } of nameRangesOf(request)) {
    for (let next: string | undefined = from; next !== undefined && left > 0;) {
      const wanted = Math.min(left, maxPerPage)
      const found = await take({ from: next, before }, wanted)
      const last = found.at(-1)
      const page = found.filter(({ isErased }) => !isErased).map(summaryOf)
      if (page.length > 0) yield page
      left -= page.length
      next = last && found.length === wanted ? behindName(last.stream) : undefined
    }
  }
  return undefined
}

function summaryOf({ stream, revision, events }: FoundStream): StreamSummary {
  return { stream, revision, events }
}

/** Where the names behind a name begin: they have no control characters, so nothing lies between. */
function behindName(name: string): string {
  return `${name}\u0001`
}
