/** The limits of every store: the smallest of all stores, so that history can be moved from any store to any other. */
export interface Limits {
  /** Bytes of a stream's name, in UTF-8. */
  readonly streamNameBytes: number
  /** Bytes of an event's type, in UTF-8. */
  readonly eventTypeBytes: number
  /** Bytes of an idempotency key, in UTF-8. */
  readonly keyBytes: number
  /** Bytes of one event: its data and metadata as JSON, in UTF-8. */
  readonly eventBytes: number
  /** Bytes of all events of one append. */
  readonly appendBytes: number
  /** Events in one append. */
  readonly appendEvents: number
  /** Streams in one append, including those that are only read. */
  readonly appendStreams: number
}

/** The limits of every store. */
export const limits: Limits = Object.freeze({
  streamNameBytes: 512,
  eventTypeBytes: 256,
  keyBytes: 256,
  eventBytes: 4 * 1024 * 1024,
  appendBytes: 15 * 1024 * 1024,
  appendEvents: 10_000,
  appendStreams: 256,
})

/** The length of a text in UTF-8, in bytes. Exact only above a third of `ceiling`: a shorter text cannot exceed it. */
export function bytesOf(text: string, ceiling: number): number {
  return text.length * 3 <= ceiling ? text.length : encoder.encode(text).length
}

/** The length of two texts together, as {@link bytesOf} gives it. */
export function bytesOfTwo(first: string, second: string, ceiling: number): number {
  const length = first.length + second.length
  return length * 3 <= ceiling ? length : bytesOf(first + second, ceiling)
}

const encoder = new TextEncoder()
