import { type EventStore, limits } from 'mneme'
import { compareNames } from 'mneme/adapter'

import type { Categories, StreamRow, StreamsPage } from './api.ts'
import { type CallContext, CallError, limitIn, optionalTextIn } from './call.ts'

/** A page of the streams, in the order of their names. */
export async function streamsPage({ store, signal }: CallContext, input: unknown): Promise<StreamsPage> {
  ensureListed(store)
  const most = limitIn(input)
  const category = optionalTextIn(input, 'category')
  const prefix = optionalTextIn(input, 'prefix')
  const after = optionalTextIn(input, 'after') ?? (prefix === undefined ? undefined : before(prefix))
  const limit = prefix === undefined ? most + 1 : undefined
  const streams: StreamRow[] = []
  for await (const { stream, revision, events } of store.streams({ category, after, limit, signal })) {
    if (prefix === undefined || stream.startsWith(prefix)) streams.push({ stream, revision, events })
    // Names come in their order: behind those with the prefix there is none.
    else if (compareNames(stream, prefix) > 0) break
    if (streams.length > most) break
  }
  const isMore = streams.length > most
  if (isMore) streams.pop()
  return { streams, ...(isMore && { next: streams.at(-1)!.stream }) }
}

/** The categories, in the order of their names, found by leaping from one to the next. */
export async function categoriesPage({ store, signal }: CallContext, input: unknown): Promise<Categories> {
  ensureListed(store)
  const categories = new Set<string>()
  let after = optionalTextIn(input, 'after')
  while (categories.size < MAX_CATEGORIES) {
    const first = await firstOf(store.streams({ after, limit: 1, signal }))
    if (!first) return { categories: [...categories] }
    const dash = first.stream.indexOf('-')
    categories.add(dash < 0 ? first.stream : first.stream.slice(0, dash))
    after = dash < 0 ? first.stream : behind(first.stream.slice(0, dash + 1))
  }
  return { categories: [...categories], ...(after !== undefined && { next: after }) }
}

const MAX_CATEGORIES = 200

function ensureListed({ capabilities }: EventStore): void {
  if (capabilities.listsStreams) return
  throw new CallError('this store has no index of its streams', { code: 'NOT_LISTED', status: 501 })
}

/** A name behind which all names with a prefix come; `undefined`: all names do. */
function before(prefix: string): string | undefined {
  const characters = Array.from(prefix)
  const last = characters.pop()!.codePointAt(0)!
  const start = characters.join('')
  // Between U+D7FF and U+E000 there are only halves of pairs.
  const previous = last === 0xe0_00 ? 0xd7_ff : last - 1
  const isAllowed = previous > 0x20 && (previous < 0x7f || previous > 0x9f)
  if (isAllowed) return behind(`${start}${String.fromCodePoint(previous)}`)
  return start === '' ? undefined : start
}

/** The name behind all that begin with a text, as far as a name may be so long. */
function behind(start: string): string {
  return Buffer.byteLength(start) + 4 > limits.streamNameBytes ? start : `${start}\u{10ffff}`
}

async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item
  return undefined
}
