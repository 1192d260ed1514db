import type { Value } from 'google-protobuf/google/protobuf/struct_pb.js'

import { sizeOnDisk } from './record-size.ts'

/** The last revision of a tombstoned stream, and what a soft-deleted one is truncated before. */
export const deletedStream = 2n ** 63n - 1n

/** What is to be written. */
export interface NewRecord {
  readonly stream: string
  readonly id: string
  readonly type: string
  readonly isJson: boolean
  readonly data: Uint8Array
  readonly metadata: Uint8Array
  /** What the metadata are, where a record of v2 brought them as properties. */
  readonly properties?: ReadonlyMap<string, Value>
}

/** A record as the log has it. */
export interface LogRecord extends NewRecord {
  readonly position: bigint
  /** Where the next one begins. */
  readonly end: bigint
  /** `undefined`: takes room and is never read, as an append of nothing does. */
  readonly revision: bigint | undefined
  /** In 100 ns since 1970. */
  readonly created: bigint
}

/** A record that is an event. */
export type EventRecord = LogRecord & { readonly revision: bigint }

/** The transaction log, with the index of its streams. Whoever reads it follows `records`, which only grows. */
export class Log {
  readonly records: LogRecord[] = []
  /** Called when there is more. */
  readonly followers = new Set<() => void>()
  /** Up to where it was scavenged. */
  scavengedTo = 0n
  #streams = new Map<string, EventRecord[]>()
  #tombstones = new Map<string, EventRecord>()

  constructor() {
    this.#pushEpoch(548n)
  }

  /** Where the next record begins: the writer checkpoint. */
  get end(): bigint {
    return this.records.at(-1)?.end ?? 0n
  }

  /** The events of a stream by their revision, also of one that was deleted. */
  eventsOf(stream: string): readonly EventRecord[] {
    return this.#streams.get(stream) ?? []
  }

  isTombstoned(stream: string): boolean {
    return this.#tombstones.has(stream)
  }

  append(record: NewRecord, revision?: bigint): LogRecord {
    const position = this.end
    const end = position + BigInt(sizeOnDisk(record))
    const written = { ...record, position, end, revision, created: now() }
    this.#push(written)
    for (const follow of this.followers) follow()
    return written
  }

  /** What a server writes when it starts again. */
  beginEpoch(): void {
    this.#pushEpoch(642n)
  }

  /** The index of the first record that begins at the position or later. */
  indexAt(position: bigint): number {
    let [low, high] = [0, this.records.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.records[middle]!.position < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Forgets what was written at the position and later, as a backup does. */
  truncate(position: bigint): void {
    const kept = this.records.slice(0, this.indexAt(position))
    this.records.length = 0
    this.#streams = new Map()
    this.#tombstones = new Map()
    for (const record of kept) this.#push(record)
  }

  /** Removes all records of a stream from the log so far, but for its tombstone: those that are left keep their positions. */
  scavenge(stream: string): void {
    const kept = this.records.filter(
      (record) => record.stream !== stream || record.revision === deletedStream,
    )
    this.scavengedTo = this.end
    this.records.length = 0
    this.records.push(...kept)
  }

  /** Records of the cluster's own, in one piece: they take room, and nobody reads them. */
  #pushEpoch(size: bigint): void {
    const position = this.end
    const records = nothing('$epoch-information')
    this.#push({ ...records, position, end: position + size, revision: undefined, created: now() })
  }

  #push(record: LogRecord): void {
    this.records.push(record)
    if (!isEvent(record)) return
    if (record.revision === deletedStream) {
      this.#tombstones.set(record.stream, record)
      return
    }
    const events = this.#streams.get(record.stream)
    if (events) events.push(record)
    else this.#streams.set(record.stream, [record])
  }
}

export function isEvent(record: LogRecord): record is EventRecord {
  return record.revision !== undefined
}

/** What an append without events leaves in the log. */
export function nothing(stream: string): NewRecord {
  const empty = new Uint8Array()
  return {
    stream,
    id: crypto.randomUUID(),
    type: '',
    isJson: false,
    data: empty,
    metadata: empty,
  }
}

/** The server's clock, in 100 ns since 1970. */
export function now(): bigint {
  return BigInt(Math.trunc((performance.timeOrigin + performance.now() + passed) * 10)) * 1000n
}

/** Lets so many milliseconds pass at once, for all stand-ins of this process. */
export function passTime(milliseconds: number): void {
  passed += milliseconds
}

let passed = 0
