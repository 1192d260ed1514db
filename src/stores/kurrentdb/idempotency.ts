import { sha256 } from '../../base/hash.ts'
import { placeEvents, streamsOf } from '../../adapter/append-rules.ts'
import { StoreFailedError } from '../../base/errors.ts'
import { RESERVED_STREAMS } from '../../model/names.ts'
import type { Position, Revision } from '../../base/revision.ts'
import type { AppendRequest, KeptKey, KeyClaim, KeyUse, StoredEvent } from '../../adapter/store-adapter.ts'
import type { KurrentRecorded } from './driver.ts'
import { isSamePosition, parseLogPosition } from './position.ts'
import { bytesOf, FIRST_PAGE_EVENTS } from './page.ts'
import { EVERYTHING, type Reader } from './read.ts'
import { Semaphore } from './semaphore.ts'
import { toStored } from './rows.ts'

/**
 * The stored form of an idempotency key: one event in a stream of its own, written under the condition that there
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
  /** The streams of the append's conditions, and the expected revision of each, if it was exact. */
  readonly streams: readonly (readonly [stream: string, expected: Revision | null])[]
}

/** The type of the event that keeps a key. */
export const MARKER_TYPE = 'mneme:Key'

/** The prefix of the streams that keep keys. */
const KEY_STREAMS = `${RESERVED_STREAMS}key-`

/** The stream that keeps a key. Any text can be a key, and names of streams are not told apart by case alone. */
export function markerStream(key: string): string {
  return `${KEY_STREAMS}${sha256(key, 'hex')}`
}

/** The marker of a key. */
export function markerOf({ conditions, events }: AppendRequest, claim: KeyClaim): Marker {
  const expectations = new Map(conditions.map(({ stream, expected }) => [stream, expected]))
  const streams = streamsOf(claim, expectations).map((stream) => {
    const expected = expectations.get(stream)!
    const isExact = expected !== 'any' && expected !== 'exists'
    return [stream, isExact ? expected : null] as const
  })
  return { ...claim, total: events.length, ends: [events[0]?.id, events.at(-1)?.id], streams }
}

/**
 * The answers to keys that were used before. A program that repeats its calls usually does so in their first order, in which
 * they lie in the log: from the second repeat in a row on, one read brings the answers to the next keys as well, and a key
 * is looked up before its append is tried.
 */
export class UsedKeys {
  readonly #reader: Reader
  /** The answers to keys that were read along with another one, by their streams; the latest last. */
  readonly #known = new Map<string, KeyUse>()
  /** Whether the last key that was looked up had been used before. */
  #isRepeating = false
  /** How many answers were there already since the last read. If none, keys do not come in the order of the log. */
  #hits = 0
  #isInOrder = true
  /** In order, one read at a time brings what the callers that wait ask for. */
  readonly #turn = new Semaphore(1)
  /** Records to read at once while keys are repeated. */
  #recordsPerRead = MAX_RECORDS_PER_READ

  constructor(reader: Reader) {
    this.#reader = reader
  }

  /** Whether keys are worth a look before their append is tried. */
  get isRepeating(): boolean {
    return this.#isRepeating
  }

  /** What earlier appends with these keys gave. */
  async find(keys: readonly KeyClaim[]): Promise<KeyUse[]> {
    const found = await Promise.all(keys.map(({ key }) => this.#find(markerStream(key))))
    const uses = found.filter((use) => use !== undefined)
    if (keys.length > 0) this.#expect(uses.length > 0)
    return uses
  }

  /** Takes note of whether repeats are to be expected. */
  #expect(isRepeating: boolean): void {
    if (isRepeating === this.#isRepeating) return
    this.#isRepeating = isRepeating
    this.#isInOrder = true
    this.#hits = 1
  }

  async #find(stream: string): Promise<KeyUse | undefined> {
    const known = this.#hit(stream)
    if (known) return known
    if (!this.#isRepeating || !this.#isInOrder) return this.#read(stream)
    return this.#turn.run(1, async () => this.#hit(stream) ?? this.#read(stream))
  }

  #hit(stream: string): KeyUse | undefined {
    const use = this.#known.get(stream)
    if (use) {
      this.#hits++
      this.#isInOrder = true
    }
    return use
  }

  async #read(stream: string): Promise<KeyUse | undefined> {
    const page = await this.#reader.page(stream, { direction: 'forwards', from: 0, count: 1 })
    const [kept] = page?.records ?? []
    if (!kept?.position) return undefined
    const { total } = markerIn(toStored(kept))
    // Several keys of one append have their markers one behind the other: there may be more records than events.
    const count = 1 + (this.#isRepeating ? Math.max(total, this.#recordsPerRead) : total)
    if (this.#isRepeating) this.#isInOrder = this.#hits > 0
    this.#hits = 0
    const { records } = await this.#reader.recordsFrom(kept.position, count)
    this.#learnSize(records)
    const stored = records.map(toStored)
    const use = useAt(stored, 0) ?? (await this.#readWhole(toStored(kept)))
    for (let i = 1; i < stored.length; i++) this.#keep(stored, i)
    return use
  }

  /** Reads the events of an append that did not come with its marker: there are too many, or more keys. */
  async #readWhole(kept: StoredEvent): Promise<KeyUse> {
    const events: StoredEvent[] = []
    const { total: limit } = markerIn(kept)
    const request = { ...EVERYTHING, direction: 'forwards', after: kept.position, limit } as const
    for await (const page of this.#reader.all(request)) events.push(...page)
    const use = useAt([kept, ...events], 0)
    if (!use) {
      throw new StoreFailedError('events of an append with an idempotency key are gone, or may not be read')
    }
    return use
  }

  #keep(stored: readonly StoredEvent[], index: number): void {
    const { stream, type } = stored[index]!
    if (type !== MARKER_TYPE || !stream.startsWith(KEY_STREAMS)) return
    const use = useAt(stored, index)
    if (!use) return
    this.#known.delete(stream)
    this.#known.set(stream, use)
    if (this.#known.size > MAX_KNOWN_KEYS) this.#known.delete(this.#known.keys().next().value!)
  }

  /** Large events are read in smaller numbers. */
  #learnSize(records: readonly KurrentRecorded[]): void {
    let bytes = 1
    for (const record of records) bytes += bytesOf(record)
    const fitting = Math.floor((records.length * WANTED_BYTES_PER_READ) / bytes)
    this.#recordsPerRead = Math.min(MAX_RECORDS_PER_READ, fitting)
  }
}

/** The idempotency keys that are kept, in pages; without those of which the events were scavenged. */
export async function* keysPages(
  reader: Reader,
  after: Position | undefined,
): AsyncGenerator<KeptKey[], undefined> {
  let last = after === undefined ? undefined : parseLogPosition(after)
  for (;;) {
    const { records } = await reader.recordsOf(KEY_STREAMS, last ?? 'start', MARKERS_PER_PAGE)
    const markers = records.filter(({ position }) => !isSamePosition(position, last))
    const end = markers.at(-1)
    if (!end?.position) return undefined
    const kept: KeptKey[] = []
    for (const { position, ...record } of markers) {
      const { total, streams } = markerIn(toStored({ ...record, position }))
      // There may be markers of other keys of the same append.
      const page = await reader.recordsFrom(position!, 1 + total + MARKERS_BEFORE_EVENTS)
      const use = useAt(page.records.map(toStored), 0)
      const [first, through] = [use?.events[0]?.position, use?.events.at(-1)?.position]
      if (!use || first === undefined || through === undefined) continue
      const { key, fingerprint } = use
      kept.push({ key, fingerprint, from: first, through, streams: streams.map(([stream]) => stream) })
    }
    if (kept.length > 0) yield kept
    last = end.position
  }
}

const MARKERS_PER_PAGE = 32
const MARKERS_BEFORE_EVENTS = 250

/** What the append of a marker gave, if all of its events are among the records behind it. */
function useAt(stored: readonly StoredEvent[], index: number): KeyUse | undefined {
  const { key, fingerprint, first, count, total, ends, streams } = markerIn(stored[index]!)
  const events: StoredEvent[] = []
  for (let i = index + 1; i < stored.length && events.length < total; i++) {
    const event = stored[i]!
    if (!event.stream.startsWith(RESERVED_STREAMS)) events.push(event)
  }
  if (events[0]?.id !== ends[0] || events[total - 1]?.id !== ends[1]) return undefined
  const before = streams.map(([stream, expected]): Revision => {
    const written = events.find((event) => event.stream === stream)
    if (!written) return expected ?? 'none'
    return written.revision === 0 ? 'none' : written.revision - 1
  })
  const conditions = streams.map(([stream]) => ({ stream, expected: 'any' as const }))
  const { heads } = placeEvents({ conditions, events: events.slice(0, first + count) }, before)
  return {
    key,
    fingerprint,
    events: events.slice(first, first + count),
    heads: conditions.map(({ stream }, i) => [stream, heads[i]!] as const),
  }
}

function markerIn({ data }: StoredEvent): Marker {
  return JSON.parse(data) as Marker
}

/** As many as the driver's JavaScript part reads at once, without the first. */
const MAX_RECORDS_PER_READ = FIRST_PAGE_EVENTS
const WANTED_BYTES_PER_READ = 1024 * 1024
const MAX_KNOWN_KEYS = 256
