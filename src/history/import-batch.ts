import { nextRevision } from '../adapter/append-rules.ts'
import type { AppendRequest, Condition, KeyClaim } from '../adapter/store-adapter.ts'
import { ImportConflictError, InvalidArgumentError, quote } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Position, Revision } from '../base/revision.ts'
import type { ExportedKey, Imported } from './recorded.ts'

/**
 * Events that are imported in one append. The events of one append of the source stay together, so that no other writer's
 * events come between them: those that share a key, and those with the same time, as long as they fit into one append.
 */
export class ImportBatch {
  readonly events: Imported[] = []
  readonly keys: (KeyClaim & { readonly streams: readonly string[] })[] = []
  readonly #severalStreams: boolean
  /** The revision of the last event of each stream. */
  readonly #heads = new Map<string, number>()
  /** Streams that were only read by the appends of its keys. */
  #read: readonly string[] = []
  #folded = new Set<string>()
  #bytes = 0
  /** Keys whose last event is still to come. */
  #open: { readonly key: ExportedKey; readonly first: number }[] = []

  constructor(severalStreams: boolean) {
    this.#severalStreams = severalStreams
  }

  /** Whether events of the same stream are missing between the batch and an event. */
  lacksEventsBefore({ stream, revision }: Imported): boolean {
    const last = this.#heads.get(stream)
    return last !== undefined && revision > last + 1
  }

  /** Whether events can be added that must not be parted. */
  fits(added: readonly Pick<Imported, 'stream' | 'bytes'>[]): boolean {
    const streams = new Set([...this.#heads.keys(), ...this.#read, ...added.map(({ stream }) => stream)])
    const folded = new Set([...streams].map((stream) => stream.toLowerCase()))
    return (
      this.events.length + added.length <= limits.appendEvents &&
      this.#bytes + added.reduce((sum, { bytes }) => sum + bytes, 0) <= limits.appendBytes &&
      streams.size <= (this.#severalStreams ? limits.appendStreams : 1) &&
      folded.size === streams.size
    )
  }

  /** Everything up to a position has come: keys that end there are complete, also if their last events were left out. */
  pass(position: Position): void {
    this.#open = this.#open.filter(({ key, first }) => {
      const isOver = key.through <= position
      if (isOver) this.#keep(key, first)
      return !isOver
    })
  }

  /** Takes the events out that must stay with the next one, because a key covers them: none, if the batch begins with them. */
  takeOpen(): Imported[] {
    const first = Math.min(...this.#open.map((open) => open.first))
    if (this.#open.length === 0 || first === 0) return []
    this.#open = []
    const kept = this.keys.filter((key) => key.first < first)
    this.keys.splice(0, this.keys.length, ...kept)
    return this.events.splice(first)
  }

  /** The keys cover no more than what has come of their events. */
  endKeys(): void {
    for (const { key, first } of this.#open) this.#keep(key, first)
    this.#open = []
  }

  /** Whether an event belongs into another batch. */
  isFullFor(event: Imported): boolean {
    const { events } = this
    const last = events.at(-1)
    if (!last) return false
    const isTooLarge = events.length >= limits.appendEvents || this.#bytes + event.bytes > limits.appendBytes
    if (isTooLarge) return true
    if (!this.#heads.has(event.stream)) {
      if (!this.#severalStreams || this.#streamsWith(event.stream) > limits.appendStreams) return true
      // Names that differ only in case never come together.
      if (this.#folded.has(event.stream.toLowerCase())) return true
    }
    if (this.#open.length > 0) return false
    // What an append with a key read is kept with the key, so it shares its append only with others that read the same.
    if (!isSame(this.#readWith(event), this.#read)) return true
    const isOpening = event.keys.some(({ through }) => through !== event.position)
    const isOfOneAppend = last.time === event.time && !(isOpening && events.length >= EVENTS_PER_BATCH)
    return !isOfOneAppend && (events.length >= EVENTS_PER_BATCH || this.#bytes >= BYTES_PER_BATCH)
  }

  /** The input has come to a position: the events of keys that end before it are complete, also if the last ones were erased. */
  reach(position: Position): void {
    this.#open = this.#open.filter(({ key, first }) => {
      const isOver = key.through < position
      if (isOver) this.#keep(key, first)
      return !isOver
    })
  }

  /** @throws ImportConflictError if a stream of the input lacks a revision. */
  add(event: Imported): void {
    const { stream, revision } = event
    const before = this.#heads.get(stream)
    if (before !== undefined && revision !== before + 1) {
      throw new ImportConflictError(stream, revision, `the input goes on from revision ${String(before)}`)
    }
    if (this.#open.length === 0) this.#read = this.#readWith(event)
    this.#heads.set(stream, revision)
    this.#folded.add(stream.toLowerCase())
    this.#bytes += event.bytes
    const first = this.events.push(event) - 1
    for (const key of event.keys) this.#open.push({ key, first })
    this.#open = this.#open.filter(({ key, first }) => {
      const isOver = event.position !== undefined && event.position >= key.through
      if (isOver) this.#keep(key, first)
      return !isOver
    })
  }

  /** The batch as an append. */
  request(): AppendRequest {
    const [open] = this.#open
    if (open) {
      throw new InvalidArgumentError('events', {
        message: `the events end before the last one of idempotency key ${quote(open.key.key)}; give all of them`,
      })
    }
    return requestOf(this.events, this.keys, this.#read)
  }

  #keep({ key, fingerprint, streams }: ExportedKey, first: number): void {
    this.keys.push({ key, fingerprint, first, count: this.events.length - first, streams })
  }

  /** How many streams the batch names, one more included. Those that a key names may still be written to. */
  #streamsWith(stream: string): number {
    return this.#heads.size + 1 + this.#onlyRead(stream).length
  }

  /** The streams that the batch names and that no event is on, nor the next one. */
  #onlyRead(stream: string): readonly string[] {
    if (this.#read.length === 0) return this.#read
    return this.#read.filter((name) => name !== stream && !this.#heads.has(name))
  }

  /** The streams that the append of an event's keys read and that no event of the batch is on. */
  #readWith({ keys, stream }: Imported): readonly string[] {
    if (keys.length === 0) return NOTHING
    const read = keys.flatMap(({ streams }) => streams)
    return [...new Set(read)].filter((name) => name !== stream && !this.#heads.has(name))
  }
}

/** An append of imported events, each stream under the exact revision that comes before. */
export function requestOf(
  events: readonly Imported[],
  keys: readonly KeyClaim[],
  read: readonly string[] = [],
): AppendRequest {
  const written = new Map<string, Revision>()
  for (const { stream, revision } of events) {
    if (!written.has(stream)) written.set(stream, revision === 0 ? 'none' : revision - 1)
  }
  const conditions: Condition[] = [...written].map(([stream, expected]) => ({ stream, expected }))
  for (const stream of read) if (!written.has(stream)) conditions.push({ stream, expected: 'any' })
  const stored = events.map(({ stream, id, type, version, data, metadata, time }) => {
    return { stream, id, type, version, data, metadata, time }
  })
  const claims = keys.map(({ key, fingerprint, first, count, streams }) => {
    return { key, fingerprint, first, count, streams }
  })
  return { conditions, events: stored, keys: claims, ids: 'given' }
}

/** The revision before which a stream has to stand for its first event of a batch. */
export function isBehind(head: Revision, { revision }: Imported): boolean {
  return nextRevision(head) > revision
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i])
}

const NOTHING: readonly string[] = []
/** Events, and bytes of them, after which a batch ends with its append. */
const EVENTS_PER_BATCH = 1_000
const BYTES_PER_BATCH = 1024 * 1024
