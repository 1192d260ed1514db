import { createHash } from 'node:crypto'
import { placeEvents } from '../../adapter/append-rules.ts'
import { StoreFailedError } from '../../base/errors.ts'
import { RESERVED_STREAMS } from '../../model/names.ts'
import type { Revision } from '../../base/revision.ts'
import type { AppendRequest, KeyClaim, KeyUse, StoredEvent } from '../../adapter/store-adapter.ts'
import { EVERYTHING, type Reader } from './read.ts'
import { toStored } from './rows.ts'

/**
 * What is kept of an idempotency key: one event in a stream of the key's own, written under the condition that there
 * is no such stream, in the same append as the events that it covers and just before them.
 */
export interface Marker {
  readonly key: string
  readonly fingerprint: string
  /** How many events the append has, and the ids of the first and the last. */
  readonly total: number
  readonly ends: readonly (string | undefined)[]
  /** Which of them the key covers. */
  readonly first: number
  readonly count: number
  /** The streams of the append's conditions, and where each was expected, if that is known. */
  readonly streams: readonly (readonly [stream: string, expected: Revision | null])[]
}

/** The type of the event that keeps a key. */
export const MARKER_TYPE = 'mneme:Key'

/** The stream that keeps a key. Any text can be a key, and names of streams are not told apart by case alone. */
export function markerStream(key: string): string {
  return `${RESERVED_STREAMS}key-${createHash('sha256').update(key).digest('hex')}`
}

/** What is kept of a key. */
export function markerOf({ conditions, events }: AppendRequest, claim: KeyClaim): Marker {
  const streams = conditions.map(({ stream, expected }) => {
    const isExact = expected !== 'any' && expected !== 'exists'
    return [stream, isExact ? expected : null] as const
  })
  return { ...claim, total: events.length, ends: [events[0]?.id, events.at(-1)?.id], streams }
}

/** What earlier appends with these keys gave. */
export async function findUses(reader: Reader, keys: readonly KeyClaim[]): Promise<KeyUse[]> {
  const uses = await Promise.all(keys.map(({ key }) => findUse(reader, key)))
  return uses.filter((use) => use !== undefined)
}

/** What an earlier append with the key gave; `undefined` where there was none. */
async function findUse(reader: Reader, key: string): Promise<KeyUse | undefined> {
  const page = await reader.page(markerStream(key), { direction: 'forwards', from: 0, count: 1 })
  const [kept] = page?.records ?? []
  if (!kept) return undefined
  const stored = toStored(kept)
  const marker = JSON.parse(stored.data) as Marker
  const events: StoredEvent[] = []
  for await (const found of reader.all({
    ...EVERYTHING,
    direction: 'forwards',
    after: stored.position,
    limit: marker.total,
  })) {
    events.push(...found)
  }
  const isWhole = events[0]?.id === marker.ends[0] && events[marker.total - 1]?.id === marker.ends[1]
  if (!isWhole) {
    throw new StoreFailedError('events of an append with an idempotency key are gone, or may not be read')
  }
  const { fingerprint, first, count } = marker
  const before = marker.streams.map(([stream, expected]): Revision => {
    const written = events.find((event) => event.stream === stream)
    if (!written) return expected ?? 'none'
    return written.revision === 0 ? 'none' : written.revision - 1
  })
  const conditions = marker.streams.map(([stream]) => ({ stream, expected: 'any' as const }))
  const upTo = events.slice(0, first + count)
  const { heads } = placeEvents({ conditions, events: upTo }, before)
  return {
    key,
    fingerprint,
    events: events.slice(first, first + count),
    heads: conditions.map(({ stream }, i) => [stream, heads[i]!] as const),
  }
}
